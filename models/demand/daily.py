"""Daily forecasts of series that sell on most days: the weekly forecast divided by weekday.

A series' share of each weekday is shrunk towards its category's, and that towards its zone's
(Dirichlet shrinkage), as strongly as makes the last known weeks likeliest given the weeks before.
Public holidays, the days before them and the first days of a month have a factor of their own. The
days of a week sum to its mean. The distribution of a day's units around its mean is fitted to days
after past origins. Reference: Minka (2000), Estimating a Dirichlet distribution.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from features.contracts.arrays import BoolArray, Float64Array, Int8Array, Int64Array
from models.demand.uncertainty.aggregates import NEAR
from models.demand.uncertainty.counts import CountDistribution, fit_count_distribution

WEEKDAYS = 7
# Kinds of day: a usual one, a public holiday, the day before one, one of the first of a month.
USUAL, HOLIDAY, EVE, MONTH_BEGINS = KINDS = range(4)
_MEMORY = 26  # weeks that profiles are fitted to
_HELD_OUT = 4  # weeks that choose how strongly profiles are shrunk
# Units that a profile needs to count as much as the one it is shrunk towards.
_STRENGTHS = (30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0)
_MIN_FAR_DAYS = 1_000  # days after the near weeks that get a distribution of their own
_PRIOR_DAYS = 2.0  # usual days that count as observed before a kind's factor is fitted


@dataclass(frozen=True)
class DayConfig:
    """Which series are dense, and so forecast by day.

    They are those sold on `min_share_days` of the days of the last `weeks` weeks.
    """

    min_share_days: float = 0.5
    weeks: int = 8


@dataclass(frozen=True)
class DaySales:
    """Units sold by series and day: R rows, days without a sale left out.

    series    R, row of the weekly panel of `n_series`
    day       R, 0 is the first day of the panel's first week
    units     R
    kinds     Z × T × 7, the kind of each day of all weeks, known and to come, by zone
    zones     N, row of each series' zone in `kinds`
    groups    N, code of each series' category within its zone
    is_open   Z × T × 7, days that are not closed; None: all
    """

    n_series: int
    n_known: int
    series: Int64Array
    day: Int64Array
    units: Float64Array
    kinds: Int8Array
    zones: Int64Array
    groups: Int64Array
    is_open: BoolArray | None = None

    def truncate(self, n_known: int) -> DaySales:
        """Return the sales of the first `n_known` weeks, with the kinds of all days."""
        rows = self.day < n_known * WEEKDAYS
        return replace(
            self,
            n_known=n_known,
            series=self.series[rows],
            day=self.day[rows],
            units=self.units[rows],
        )

    def sum_by_weekday(self, first: int, end: int) -> Float64Array:
        """Return N × 7 units by weekday of the weeks from `first` to before `end`."""
        rows = self._in_weeks(first, end)
        cell = self.series[rows] * WEEKDAYS + self.day[rows] % WEEKDAYS
        sums = np.bincount(cell, weights=self.units[rows], minlength=self.n_series * WEEKDAYS)
        return np.asarray(sums.reshape(self.n_series, WEEKDAYS), np.float64)

    def sum_by_zone(self) -> Float64Array:
        """Return Z × n_known × 7 units."""
        totals = np.zeros((len(self.kinds), self.n_known * WEEKDAYS))
        np.add.at(totals, (self.zones[self.series], self.day), self.units)
        return totals.reshape(len(self.kinds), self.n_known, WEEKDAYS)

    def by_day(self, series: Int64Array, first: int, end: int) -> Float64Array:
        """Return S × weeks × 7 units of some series, from week `first` to before `end`."""
        result_rows = np.full(self.n_series, -1)
        result_rows[series] = np.arange(len(series))
        rows = self._in_weeks(first, end) & (result_rows[self.series] >= 0)
        result = np.zeros((len(series), (end - first) * WEEKDAYS))
        cell = (result_rows[self.series[rows]], self.day[rows] - first * WEEKDAYS)
        np.add.at(result, cell, self.units[rows])
        return result.reshape(len(series), end - first, WEEKDAYS)

    def find_dense(self, config: DayConfig) -> Int64Array:
        """Return the series that sold on enough of the last days."""
        n_weeks = min(config.weeks, self.n_known)
        rows = (self.day >= (self.n_known - n_weeks) * WEEKDAYS) & (self.units > 0)
        n_days = np.bincount(self.series[rows], minlength=self.n_series)
        return np.flatnonzero(n_days >= max(config.min_share_days * n_weeks * WEEKDAYS, 1))

    def _in_weeks(self, first: int, end: int) -> BoolArray:
        return (self.day >= first * WEEKDAYS) & (self.day < end * WEEKDAYS)


@dataclass(frozen=True)
class DayProfiles:
    """Weekday shares of each series, N × 7, and factors by zone and kind of day, Z × KINDS."""

    shares: Float64Array
    factors: Float64Array

    def divide_weeks(
        self, sales: DaySales, series: Int64Array, weekly: Float64Array, weeks: Int64Array
    ) -> Float64Array:
        """Return S × weeks × 7 means of days from the S × weeks means of some weeks."""
        return np.asarray(
            weekly[:, :, None] * self.weekday_shares(sales, series, weeks), np.float64
        )

    def weekday_shares(
        self, sales: DaySales, series: Int64Array, weeks: Int64Array
    ) -> Float64Array:
        """Return S × weeks × 7: each day's share of its week, 0 on closed days; they sum to 1."""
        zone = sales.zones[series]
        factor = self.factors[zone[:, None, None], sales.kinds[zone][:, weeks]]
        if sales.is_open is not None:
            factor = factor * sales.is_open[zone][:, weeks]
        weight = self.shares[series][:, None] * factor
        total = weight.sum(axis=2, keepdims=True)
        return np.asarray(weight / np.where(total > 0, total, 1.0), np.float64)


@dataclass(frozen=True)
class DayDistributions:
    """Distributions of a day's units around its mean, in near weeks and in those beyond."""

    near: CountDistribution
    far: CountDistribution

    def at_step(self, step: int) -> CountDistribution:
        """Return the distribution `step` weeks ahead."""
        return self.near if step <= NEAR else self.far

    def quantiles(self, means: Float64Array) -> Float64Array:
        """Return S × H × 7 × QUANTILES around the S × H × 7 means of the first H weeks ahead."""
        n_series, n_steps, _ = means.shape
        by_step = []
        for step in range(1, n_steps + 1):
            flat = self.at_step(step).quantiles(means[:, step - 1].ravel())
            by_step.append(flat.reshape(n_series, WEEKDAYS, flat.shape[1]))
        return np.stack(by_step, axis=1)

    def pit(
        self, actual: Float64Array, means: Float64Array, rng: np.random.Generator
    ) -> Float64Array:
        """Return the randomised PIT of S × H × 7 counts of the first H weeks ahead."""
        result = np.empty(actual.shape)
        for week in range(actual.shape[1]):
            distribution = self.at_step(week + 1)
            flat = distribution.pit(actual[:, week].ravel(), means[:, week].ravel(), rng)
            result[:, week] = flat.reshape(-1, WEEKDAYS)
        return result


def fit_profiles(sales: DaySales, dense: Int64Array) -> DayProfiles:
    """Fit profiles to the last known weeks, shrunk as suits the `dense` series best."""
    end = sales.n_known
    start, split = max(end - _MEMORY, 0), max(end - _HELD_OUT, 1)
    factors = _fit_factors(sales, start)
    strengths = _STRENGTHS[-1], _STRENGTHS[-1]
    if len(dense) and start < split < end:
        before = sales.sum_by_weekday(start, split)
        after = sales.sum_by_weekday(split, end)[dense]

        def log_likelihood(strengths: tuple[float, float]) -> float:
            return float((after * np.log(_fit_shares(sales, before, *strengths)[dense])).sum())

        strengths = max(product(_STRENGTHS, _STRENGTHS), key=log_likelihood)
    return DayProfiles(_fit_shares(sales, sales.sum_by_weekday(start, end), *strengths), factors)


def fit_day_distributions(
    actual: Float64Array, means: Float64Array, steps: Int64Array, rng: np.random.Generator
) -> DayDistributions:
    """Fit distributions to R days after past origins; `steps` R, how many weeks ahead they lay."""
    is_near = steps <= NEAR
    near = fit_count_distribution(actual[is_near], means[is_near], rng)
    if (~is_near).sum() < _MIN_FAR_DAYS:
        return DayDistributions(near, near)
    return DayDistributions(near, fit_count_distribution(actual[~is_near], means[~is_near], rng))


def _fit_shares(
    sales: DaySales, units: Float64Array, category_strength: float, series_strength: float
) -> Float64Array:
    """Return N × 7 shares of N × 7 units, each level shrunk towards the one above.

    A strength is the number of units that count as sold with the shares above.
    """
    n_zones, n_groups = int(sales.zones.max(initial=-1)) + 1, int(sales.groups.max(initial=-1)) + 1
    zone, group = np.zeros((n_zones, WEEKDAYS)), np.zeros((n_groups, WEEKDAYS))
    np.add.at(zone, sales.zones, units)
    np.add.at(group, sales.groups, units)
    zone_of_group = np.zeros(n_groups, np.int64)
    zone_of_group[sales.groups] = sales.zones
    even = np.full((1, WEEKDAYS), 1 / WEEKDAYS)
    zone_shares = _shrink(zone, even, 1.0)
    group_shares = _shrink(group, zone_shares[zone_of_group], category_strength)
    return _shrink(units, group_shares[sales.groups], series_strength)


def _shrink(units: Float64Array, towards: Float64Array, strength: float) -> Float64Array:
    """Return shares of units, shrunk towards others as if by `strength` more units."""
    total = units.sum(axis=1, keepdims=True)
    return np.asarray((units + strength * towards) / (total + strength), np.float64)


def _fit_factors(sales: DaySales, start: int) -> Float64Array:
    """Return Z × KINDS: units of such days over those expected by the usual days of their weeks.

    They are shrunk towards 1 as if two more such days had been usual.
    """
    n_zones, total = len(sales.kinds), sales.sum_by_zone()[:, start:]
    kinds = sales.kinds[:, start : sales.n_known]
    usual = kinds == USUAL
    usual_units = np.where(usual, total, 0.0)
    weekday = usual_units.sum(axis=1) / np.maximum(usual.sum(axis=1), 1)
    weekday_sums = (usual * weekday[:, None]).sum(axis=2)
    level = usual_units.sum(axis=2) / np.maximum(weekday_sums, 1e-9)
    expected = level[:, :, None] * weekday[:, None]
    ratio = total / np.maximum(expected, 1e-9)
    factors = np.ones((n_zones, len(KINDS)))
    for kind in (HOLIDAY, EVE, MONTH_BEGINS):
        days = (kinds == kind) & (expected > 0)  # a week without a usual day has no expectation
        sums, counts = (ratio * days).sum(axis=(1, 2)), days.sum(axis=(1, 2))
        factors[:, kind] = (sums + _PRIOR_DAYS) / (counts + _PRIOR_DAYS)
    return factors
