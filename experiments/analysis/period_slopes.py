"""Analysis of price tests: effect by period, clustered errors, randomisation test, checks.

N series (an item in a zone) that belong to U units, P periods, W weeks. Log units of a period are
explained by a level of the series, a common movement of its stratum in the period, and the slope on
the log price that the design drew, less what the design gives on average.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import stdtrit

from experiments.designs.price_designs import Periods, PriceDesign
from features.contracts.arrays import BoolArray, Float64Array, Int64Array

_SMOOTHING = 0.5  # units added to a period's sum, so that one without a sale has a logarithm
_SWEEPS = 60  # alternating projections; two-way means of a balanced test need two
_TOLERANCE = 1e-10
_LEAST_APART = 0.02  # 1 - r² of a price and the one before it; below, one stands for the other
_LEAST_FREE = 2  # clusters beyond the estimated numbers; with fewer an error says nothing
_NOTHING = 1e-8  # share of a sum of squares that is rounding


@dataclass(frozen=True)
class PeriodTable:
    """A test by period.

    log_units   (N, P) of the mean week
    log_price   (N, P) drawn by the design, against the price before the test; 0 for series that are
                not in the test and only measure what happens to their stratum
    weight      (N, P) inverse of the variance of log_units; 0 where no week is left
    expected_price   (N, P) mean log price over all assignments of the design. When a price comes by
                chance, but not how large it is: where the periods differ in this mean, as in a
                roll-out, it is a control (Borusyak and Hull, Nonrandom exposure to exogenous
                shocks, 2023)
    unit        (N,) codes: series of a unit change their prices together
    stratum     (N,) codes
    is_drawn_by_period   whether chance gave each period its prices, as in a switchback: errors are
                clustered by period then, else by unit
    """

    log_units: Float64Array
    log_price: Float64Array
    expected_price: Float64Array
    weight: Float64Array
    unit: Int64Array
    stratum: Int64Array
    is_drawn_by_period: bool = False

    def sum_by_cluster(self, values: Float64Array) -> Float64Array:
        """Return the sums (C,) of values (N, P) over the clusters of the errors."""
        if self.is_drawn_by_period:
            return np.asarray(values.sum(0))
        return np.bincount(self.unit, values.sum(1)).astype(np.float64)


@dataclass(frozen=True)
class SlopeEstimate:
    """d ln units / d ln price over all tested series, with its clustered standard error.

    error     infinite where the clusters are too few to estimate one
    n_units   clusters that the error rests on: units, or the periods of a switchback
    margin    half of the width of the 95 % interval, by Student's t
    """

    slope: float
    error: float
    n_units: int
    margin: float = np.inf


@dataclass(frozen=True)
class WeeklySales:
    """Weeks of a test (N, W).

    is_usable   weeks without a promotion or a short delivery
    """

    units: Float64Array
    is_usable: BoolArray


def sum_periods(weeks: WeeklySales, periods: Periods, noise: float) -> tuple[Float64Array, ...]:
    """Return log units of the mean week and their weights (N, P), after the burn-in.

    `noise` is the variance of weekly log units beyond the Poisson part.
    """
    usable = weeks.is_usable & periods.is_analysed
    shape = (len(usable), periods.n_periods, periods.period_weeks)
    n_weeks = usable.reshape(shape).sum(2)
    total = np.where(usable, weeks.units, 0.0).reshape(shape).sum(2) + _SMOOTHING
    counts = np.maximum(n_weeks, 1)
    variance = 1 / total + noise / counts
    return np.log(total / counts), np.where(n_weeks > 0, 1 / variance, 0.0)


def estimate_slope(table: PeriodTable) -> SlopeEstimate:
    """Return the slope that all series have in common, with a clustered error.

    Of the kind CR1, corrected for a slope and a level of the clusters (Cameron and Miller, A
    practitioner's guide to cluster-robust inference, 2015).
    """
    controls = _build_controls(table, [table.expected_price])
    price = _remove_explained(table, table.log_price, controls)
    units = _remove_explained(table, table.log_units, controls)
    information = float((table.weight * price**2).sum())
    if information <= _NOTHING * float((table.weight * table.log_price**2).sum()):
        return SlopeEstimate(np.nan, np.inf, 0)
    slope = float((table.weight * price * units).sum()) / information
    scores = table.sum_by_cluster(table.weight * price * (units - slope * price))
    n_units = _count_clusters(table)
    correction = n_units / max(n_units - 2, 1)
    variance = correction * float((scores**2).sum()) / information**2
    return _build_estimate(slope, variance, n_units, n_slopes=1)


def estimate_own_slopes(table: PeriodTable) -> tuple[Float64Array, Float64Array]:
    """Return each series' own slope and its standard error (N,); NaN and infinity without one.

    The noise is that of all series together: a single one has too few periods to tell.
    """
    price, units = _remove_levels(table, table.log_price), _remove_levels(table, table.log_units)
    information = (table.weight * price**2).sum(1)
    known = (table.log_price != 0).any(1) & (information > 1e-9)
    safe = np.where(known, information, 1.0)
    slope = np.where(known, (table.weight * price * units).sum(1) / safe, np.nan)
    fitted = np.where(known, slope, 0.0)[:, None] * price
    n_strata = int(table.stratum.max()) + 1
    n_free = float((table.weight > 0).sum() - (table.weight > 0).any(1).sum())
    n_free -= float(known.sum()) + n_strata * (table.weight.shape[1] - 1)
    misfit = float((table.weight * (units - fitted) ** 2).sum())
    # A test of few periods leaves little to measure the noise by: the stated one is the least.
    scale = max(misfit / n_free, 1.0) if n_free >= 1 else 1.0
    return slope, np.where(known, np.sqrt(scale / safe), np.inf)


def estimate_with_carry_over(table: PeriodTable) -> tuple[SlopeEstimate, SlopeEstimate] | None:
    """Return the slope of a price that stays, and what of it comes a period later.

    The price of the period before is a second explanation; the first period follows weeks at the
    price before the test. None where the two cannot be separated, as in a test of two periods, and
    where the clusters are too few to say how sure that is. The errors are of the kind CR3: of two
    slopes a single period may decide a large part.
    """
    n_units = _count_clusters(table)
    if table.log_price.shape[1] < 3 or n_units - 3 < _LEAST_FREE:
        return None
    expected = [table.expected_price, _shift(table.expected_price)]
    controls = _build_controls(table, expected)
    prices = (table.log_price, _shift(table.log_price))
    columns = np.stack([_remove_explained(table, values, controls) for values in prices])
    units = _remove_explained(table, table.log_units, controls)
    information = np.einsum("np,anp,bnp->ab", table.weight, columns, columns)
    apart = information[0, 0] * information[1, 1] - information[0, 1] ** 2
    if apart <= _LEAST_APART * information[0, 0] * information[1, 1]:
        return None
    inverse = np.linalg.inv(information)
    slopes = inverse @ np.einsum("np,anp,np->a", table.weight, columns, units)
    residual = units - np.einsum("a,anp->np", slopes, columns)
    scores = np.stack(
        [table.sum_by_cluster(table.weight * column * residual) for column in columns], axis=1
    )
    leverage = table.sum_by_cluster(
        table.weight * np.einsum("anp,ab,bnp->np", columns, inverse, columns)
    )
    scores /= np.maximum(1 - leverage, _LEAST_APART)[:, None]
    covariance = inverse @ (scores.T @ scores) @ inverse
    return (
        _build_estimate(float(slopes.sum()), float(covariance.sum()), n_units, n_slopes=2),
        _build_estimate(float(slopes[1]), float(covariance[1, 1]), n_units, n_slopes=2),
    )


def measure_periods(table: PeriodTable) -> list[SlopeEstimate]:
    """Return the slope of each period against all others: a test whose periods disagree is odd.

    Without an error where the periods are what chance drew: each is one observation.
    """
    estimates = []
    for period in range(table.log_price.shape[1]):
        weight = table.weight.copy()
        is_other = np.arange(table.log_price.shape[1]) != period
        # The period against the mean of the others: each of these counts by its share.
        weight[:, is_other] /= max(int(is_other.sum()), 1)
        estimate = estimate_slope(replace(table, weight=weight))
        if table.is_drawn_by_period:
            estimate = replace(estimate, error=np.inf, margin=np.inf)
        estimates.append(estimate)
    return estimates


def run_randomisation_test(
    table: PeriodTable,
    design: PriceDesign,
    price_of: Callable[[BoolArray], Float64Array],
    rng: np.random.Generator,
    n_draws: int = 999,
) -> float:
    """Return the share of the design's assignments with a slope as far from 0 as the one measured.

    Exact where no price has any effect, whatever the noise (Fisher, The design of experiments,
    1935). `price_of` returns the log prices (N, P) of an assignment (U, P).
    """
    measured = abs(estimate_slope(table).slope)
    controls = _build_controls(table, [table.expected_price])
    units = _remove_explained(table, table.log_units, controls)
    n_extreme = 1  # the assignment that was drawn is one of them
    for _ in range(n_draws):
        redrawn = price_of(design.draw_assignment(rng))
        price = _remove_explained(table, redrawn, controls)
        information = float((table.weight * price**2).sum())
        if information > 0:
            slope = float((table.weight * price * units).sum()) / information
            n_extreme += abs(slope) >= measured - _TOLERANCE
    return n_extreme / (n_draws + 1)


def check_interference(
    table: PeriodTable, neighbour_price: Float64Array, expected_price: Float64Array
) -> SlopeEstimate:
    """Return the slope of series that kept their price on the price of tested neighbours.

    `neighbour_price` (N, P): mean log price of the tested members of each series' family; 0 for
    series of the test; `expected_price` the same of the expected prices. Far from 0, the prices of
    the test moved units of items outside of it.
    """
    untested = (table.log_price == 0).all(1)
    return estimate_slope(
        replace(
            table,
            log_price=neighbour_price,
            expected_price=expected_price,
            weight=np.where(untested[:, None], table.weight, 0.0),
        )
    )


def _build_estimate(slope: float, variance: float, n_units: int, *, n_slopes: int) -> SlopeEstimate:
    """Return a slope with its error and its interval, as far as slopes and a level leave clusters
    to estimate them from."""
    n_free = n_units - 1 - n_slopes
    if n_free < _LEAST_FREE:
        return SlopeEstimate(slope, np.inf, n_units)
    error = float(np.sqrt(variance))
    return SlopeEstimate(slope, error, n_units, float(stdtrit(n_free, 0.975)) * error)


def _shift(values: Float64Array) -> Float64Array:
    """Return the values (N, P) of the period before; 0 before the first."""
    before = np.zeros_like(values)
    before[:, 1:] = values[:, :-1]
    return before


def _build_controls(table: PeriodTable, expected: Sequence[Float64Array]) -> Sequence[Float64Array]:
    """Return expected prices without levels, those that are more than levels."""
    controls = []
    for values in expected:
        rest = _remove_levels(table, values)
        if (table.weight * rest**2).sum() > _NOTHING * (table.weight * values**2).sum():
            controls.append(rest)
    return controls


def _remove_explained(
    table: PeriodTable, values: Float64Array, controls: Sequence[Float64Array]
) -> Float64Array:
    """Return values (N, P) less levels, and less what the controls explain of the rest."""
    rest = _remove_levels(table, values)
    if not controls:
        return rest
    root = np.sqrt(table.weight)
    columns = np.stack([(root * control).ravel() for control in controls], axis=1)
    slopes = np.linalg.lstsq(columns, (root * rest).ravel(), rcond=None)[0]
    return np.asarray(rest - np.einsum("k,knp->np", slopes, np.stack(controls)))


def _count_clusters(table: PeriodTable) -> int:
    """Return the number of clusters with a price of the test in a period that counts."""
    moved = table.sum_by_cluster(table.weight * table.log_price**2) > 0
    return int(moved.sum())


def _remove_levels(table: PeriodTable, values: Float64Array) -> Float64Array:
    """Return values (N, P) less weighted levels of series, and of strata in each period."""
    weight = table.weight
    n_strata = int(table.stratum.max()) + 1
    one_hot = np.zeros((n_strata, len(weight)))
    one_hot[table.stratum, np.arange(len(weight))] = 1.0
    of_series = np.maximum(weight.sum(1), 1e-12)[:, None]
    of_stratum = np.maximum(one_hot @ weight, 1e-12)
    rest = values.astype(np.float64)
    for _ in range(_SWEEPS):
        before = rest
        rest = rest - (weight * rest).sum(1)[:, None] / of_series
        rest = rest - ((one_hot @ (weight * rest)) / of_stratum)[table.stratum]
        if np.abs(rest - before).max(initial=0.0) < _TOLERANCE:
            break
    return np.where(weight > 0, rest, 0.0)
