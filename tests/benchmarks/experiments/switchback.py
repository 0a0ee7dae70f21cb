"""A switchback whose customers follow a price slowly: what comparisons of its weeks measure.

`python -m tests.benchmarks.experiments.switchback [--repetitions N]`

Units of a zone follow its price at -1.5 at once, and at -0.9 more, in equal parts, over the three
weeks after. So a price that stays has -2.4.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from experiments.analysis.period_slopes import (
    PeriodTable,
    SlopeEstimate,
    WeeklySales,
    estimate_slope,
    estimate_with_carry_over,
    sum_periods,
)
from experiments.designs.price_designs import Periods, Switchback
from features.contracts.arrays import Float64Array
from features.contracts.seeds import generator
from tests.benchmarks.targets import Target, exit_with

AT_ONCE, LATER, LAGS = -1.5, -0.9, 3
TRUE_SLOPE = AT_ONCE + LATER
N_ZONES, N_PERIODS, PERIOD_WEEKS, BURN_IN = 6, 8, 5, 3
_DEPTH = 0.2  # log distance of the two prices
_NOISE, _COMMON_NOISE = 0.03, 0.05  # of a week's log units in a zone, in all zones
_TOLERANCE = 0.05  # of a mean slope
_COVERED = (0.90, 0.98)  # of 95 % intervals from eight periods


@dataclass(frozen=True)
class Measured:
    """Means over repetitions; `covered`: share of 95 % intervals that hold the true slope."""

    slope: float
    covered: float


def estimate_lasting_slope(table: PeriodTable) -> SlopeEstimate:
    """Return the slope of a price that stays, its carry-over estimated beside it."""
    estimates = estimate_with_carry_over(table)
    assert estimates is not None  # there are eight periods
    return estimates[0]


def draw_switchback(rng: np.random.Generator, burn_in_weeks: int) -> PeriodTable:
    """Return one switchback by period, the first weeks of each left out."""
    periods = Periods(N_PERIODS, PERIOD_WEEKS, burn_in_weeks)
    design = Switchback(tuple(map(str, range(N_ZONES))), periods)
    price = np.where(design.draw_assignment(rng), _DEPTH / 2, -_DEPTH / 2)
    weekly = np.repeat(price, PERIOD_WEEKS, axis=1)
    log_units = AT_ONCE * weekly + LATER * _average_weeks_before(weekly)
    log_units = 5 + log_units + _COMMON_NOISE * rng.normal(size=weekly.shape[1])
    log_units = log_units + _NOISE * rng.normal(size=weekly.shape)
    weeks = WeeklySales(np.exp(log_units), np.ones(weekly.shape, bool))
    values, weight = sum_periods(weeks, periods, _NOISE**2)
    zone = np.arange(N_ZONES)
    stratum = np.zeros(N_ZONES, np.int64)
    return PeriodTable(
        log_units=values,
        log_price=price,
        expected_price=np.zeros_like(price),
        weight=weight,
        unit=zone,
        stratum=stratum,
        is_drawn_by_period=True,
    )


def measure(
    estimate: Callable[[PeriodTable], SlopeEstimate], burn_in_weeks: int, repetitions: int
) -> Measured:
    """Return what an analysis measures over repeated switchbacks."""
    rng = generator(1, "switchbacks")
    estimates = [estimate(draw_switchback(rng, burn_in_weeks)) for _ in range(repetitions)]
    covered = [abs(one.slope - TRUE_SLOPE) <= one.margin for one in estimates]
    return Measured(float(np.mean([one.slope for one in estimates])), float(np.mean(covered)))


def list_targets(repetitions: int) -> list[Target]:
    """Return what a naive comparison misses, and what burn-in and carry-over recover."""
    naive = measure(estimate_slope, 0, repetitions)
    after = measure(estimate_slope, BURN_IN, repetitions)
    with_lag = measure(estimate_lasting_slope, 0, repetitions)
    low, high = _COVERED
    return [
        Target(
            f"switchback: all weeks compared misses the slope of {TRUE_SLOPE}",
            f"{naive.slope:.2f}, 95 % intervals hold it in {naive.covered:.0%}",
            naive.slope > TRUE_SLOPE + 3 * _TOLERANCE,
        ),
        Target(
            f"switchback: a burn-in of {BURN_IN} weeks recovers it within {_TOLERANCE}",
            f"{after.slope:.2f}",
            abs(after.slope - TRUE_SLOPE) <= _TOLERANCE,
        ),
        Target(
            f"switchback: with a burn-in 95 % intervals hold it in {low:.0%} to {high:.0%}",
            f"{after.covered:.1%}",
            low <= after.covered <= high,
        ),
        Target(
            f"switchback: an estimated carry-over recovers it within {_TOLERANCE}",
            f"{with_lag.slope:.2f}",
            abs(with_lag.slope - TRUE_SLOPE) <= _TOLERANCE,
        ),
    ]


def main() -> None:
    """Print the targets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=500)
    exit_with(list_targets(parser.parse_args(sys.argv[1:]).repetitions))


def _average_weeks_before(weekly: Float64Array) -> Float64Array:
    """Return the mean log price of the weeks before (Z, W); 0 before the test."""
    padded = np.pad(weekly, ((0, 0), (LAGS, 0)))
    n_weeks = weekly.shape[1]
    return np.asarray(
        sum(padded[:, LAGS - lag : LAGS - lag + n_weeks] for lag in range(1, LAGS + 1)) / LAGS
    )


if __name__ == "__main__":
    main()
