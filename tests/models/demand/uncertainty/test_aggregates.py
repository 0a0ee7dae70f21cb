"""Quantiles of aggregates: over weeks, and over items."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from models.demand.blend import METHODS, Segments
from models.demand.uncertainty.aggregate_errors import PastAggregates, fit_level_spreads
from models.demand.uncertainty.aggregate_rows import aggregate_forecasts
from models.demand.uncertainty.aggregates import (
    FIRST_GUESS,
    AggregateDistributions,
    AggregateSpread,
    ItemSpread,
    LevelSpreads,
    fit_aggregate_spread,
)
from models.demand.uncertainty.backtest_calibration import PastForecasts, calibrate
from models.demand.uncertainty.counts import CountDistribution
from training.demand.metrics import ks_uniform

ALPHAS = (0.4, 0.3, 0.2, 0.1)
LEVELS = ("total", "department", "category")


def make_counts(alpha: float) -> CountDistribution:
    return CountDistribution((1.0,), (alpha, alpha), ((), ()))


def ppf(level: float, mean: float, alpha: float) -> float:
    return float(stats.nbinom.ppf(level, 1 / alpha, 1 / (1 + alpha * mean)))


def item_ppf(level: float, mean: float, alpha: float) -> float:
    """Return `ppf` of a mean rounded to a step of 1 %, as items are looked up."""
    return ppf(level, np.exp(round(np.log(mean) / 0.01) * 0.01), alpha)


DISTRIBUTIONS = AggregateDistributions(
    tuple(ItemSpread(make_counts(2 * alpha), make_counts(alpha)) for alpha in ALPHAS),
    dict.fromkeys(
        LEVELS,
        LevelSpreads(
            tuple(AggregateSpread(2.0, alpha) for alpha in ALPHAS), AggregateSpread(2.0, 0.8)
        ),
    ),
)


def test_each_span_has_its_spread_and_time_between_two_lies_between() -> None:
    mean, dense = np.array([12.0, 12.0]), np.array([True, False])
    assert DISTRIBUTIONS.quantiles(mean, dense, 4, (0.9,)).tolist() == [
        [item_ppf(0.9, 12, 0.2)],
        [item_ppf(0.9, 12, 0.4)],
    ]
    share = np.log(3 / 2) / np.log(4 / 2)
    between = np.ceil((1 - share) * item_ppf(0.9, 12, 0.3) + share * item_ppf(0.9, 12, 0.2))
    assert DISTRIBUTIONS.quantiles(mean, dense, 3, (0.9,))[0, 0] == between
    for same, weeks in ((0.1, 13), (0.4, 0.5)):  # beyond the last span and within a week
        assert DISTRIBUTIONS.quantiles(mean, dense, weeks, (0.9,))[0, 0] == item_ppf(0.9, 12, same)


@given(st.floats(0.01, 1e4), st.floats(1.0, 13.0), st.floats(0.01, 0.98), st.booleans())
@settings(max_examples=50)
def test_quantiles_are_whole_units_and_rise_with_the_level(
    mean: float, weeks: float, level: float, dense: bool
) -> None:
    at = (level, level + 0.01)
    for quantiles in (
        DISTRIBUTIONS.quantiles(np.array([mean]), np.array([dense]), weeks, at),
        DISTRIBUTIONS.levels["total"].quantiles(np.array([mean]), weeks, at),
    ):
        assert 0 <= quantiles[0, 0] <= quantiles[0, 1]
        assert np.array_equal(quantiles, np.rint(quantiles))


def test_weeks_with_common_errors_make_a_wider_sum_than_independent_weeks() -> None:
    rng = np.random.default_rng(3)
    n = 20_000
    means = np.repeat(rng.gamma(4.0, 2.0, n)[:, None], 8, axis=1)
    together = rng.gamma(4.0, 1 / 4, (n, 1))  # one factor an item, of variance 1/4
    apart = rng.gamma(4.0, 1 / 4, (n, 8))
    widths = []
    for factors in (together, apart):
        actual = rng.poisson(means * factors).astype(float)
        past = PastForecasts(
            origin=20,
            steps=tuple(range(1, 9)),
            segments=Segments(np.full(n, 4), np.full(n, True)),
            means=np.stack([means] * len(METHODS), axis=2),
            actual=actual,
        )
        sums = AggregateDistributions(calibrate([past], 28, rng).spans, {})
        fresh = rng.poisson(means * factors).astype(float)[:, :4].sum(axis=1)
        mean, dense = means[:, :4].sum(axis=1), np.ones(n, bool)
        low, high = sums.quantiles(mean, dense, 4, (0.1, 0.9)).T
        assert ((fresh >= low) & (fresh <= high)).mean() == pytest.approx(
            0.8, abs=0.04
        )  # counts come in whole units
        assert ks_uniform(sums.pit(fresh, mean, dense, 4, rng)) < 0.03
        widths.append((high - low).mean())
    # standard deviations of the sum of four weeks of mean 8: sqrt(32 + 32² / 4) = 17.0 and sqrt(32
    # + 32² / 16) = 9.8
    assert widths[0] / widths[1] == pytest.approx(17.0 / 9.8, rel=0.1)


def draw_units(rng: np.random.Generator, mean: np.ndarray, own: float, common: float) -> np.ndarray:
    alpha = own / mean + common
    return rng.negative_binomial(1 / alpha, 1 / (1 + alpha * mean)).astype(float)


def test_own_and_common_errors_of_aggregates_are_fitted() -> None:
    rng = np.random.default_rng(4)
    mean = np.exp(rng.uniform(0, 9, 4_000))
    spread = fit_aggregate_spread(draw_units(rng, mean, 3.0, 0.02), mean, FIRST_GUESS, rng)
    assert spread.own == pytest.approx(3.0, rel=0.15)
    assert spread.common == pytest.approx(0.02, rel=0.15)
    assert (
        ks_uniform(spread.pit(draw_units(rng, mean, 3.0, 0.02), mean, rng)) < 0.03
    )  # 1.36 / sqrt(4,000) = .022


def test_a_shape_that_is_no_negative_binomial_is_recalibrated() -> None:
    rng = np.random.default_rng(5)
    mean = np.full(4_000, 200.0)
    sold = 50.0 * rng.poisson(4.0, 4_000)
    spread = fit_aggregate_spread(sold, mean, FIRST_GUESS, rng)
    fresh = 50.0 * rng.poisson(4.0, 4_000)
    plain = AggregateSpread(spread.own, spread.common)
    assert ks_uniform(spread.pit(fresh, mean, rng)) < 0.04 < ks_uniform(plain.pit(fresh, mean, rng))


def test_few_aggregates_are_shrunk_towards_the_level_below() -> None:
    rng = np.random.default_rng(6)
    levels = np.array(["total", *["department"] * 2, *["category"] * 300])
    mean = np.concatenate([[3000.0, 1500, 1500], np.exp(rng.uniform(1, 8, 300))])[:, None].repeat(
        4, axis=1
    )
    past = [PastAggregates(mean, draw_units(rng, mean, 2.0, 0.05)) for _ in range(3)]
    spreads = fit_level_spreads(past, levels, rng)
    assert list(spreads) == ["category", "department", "total"]
    assert spreads["category"].spans[0].common == pytest.approx(0.05, rel=0.15)
    assert spreads["total"].spans[0].common == pytest.approx(0.05, rel=0.6)
    assert spreads["total"].spans[3] == spreads["total"].spans[2]  # no backtest saw eight weeks
    assert spreads["total"].far == spreads["total"].spans[0]
    assert fit_level_spreads([], levels, rng) == {}


def test_distributions_are_stored_and_read(tmp_path: Path) -> None:
    DISTRIBUTIONS.save(tmp_path)
    assert AggregateDistributions.load(tmp_path) == DISTRIBUTIONS
    assert AggregateDistributions.load(tmp_path / "elsewhere") is None


ROWS = pa.table(
    {
        "unique_id": ["a", "a", "b", "b"],
        "zone": ["z"] * 4,
        "ds": [1, 2, 1, 2],
        "mean": [3.0, 4.0, 10.0, 20.0],
        "dense": [True, True, False, False],
    }
)
ITEMS = pa.table({"item_id": ["a", "b"], "category": ["Food > Tea", "Food > Milk"]})


def test_rows_of_items_over_all_weeks() -> None:
    rows = aggregate_forecasts(ROWS, ITEMS, "item", DISTRIBUTIONS, over_weeks=True).to_pylist()
    assert [(row["unique_id"], row["ds"], row["mean"]) for row in rows] == [
        ("a", 1, 7),
        ("b", 1, 30),
    ]
    assert [row["p90"] for row in rows] == [item_ppf(0.9, 7, 0.3), item_ppf(0.9, 30, 0.6)]


def test_rows_of_aggregates_by_week_and_over_all_weeks() -> None:
    by_week = aggregate_forecasts(
        ROWS, ITEMS, "department", DISTRIBUTIONS, over_weeks=False
    ).to_pylist()
    assert [(row["unique_id"], row["ds"], row["mean"]) for row in by_week] == [
        ("Food", 1, 13),
        ("Food", 2, 24),
    ]
    assert [row["p50"] for row in by_week] == [ppf(0.5, m, 2 / m + 0.4) for m in (13, 24)]
    (whole,) = aggregate_forecasts(ROWS, ITEMS, "total", DISTRIBUTIONS, over_weeks=True).to_pylist()
    assert (whole["unique_id"], whole["mean"], whole["p10"]) == (
        "total",
        37,
        ppf(0.1, 37, 2 / 37 + 0.3),
    )


def test_weeks_beyond_the_near_ones_have_a_spread_of_their_own() -> None:
    weeks = pa.table(
        {
            "unique_id": ["a"] * 5,
            "zone": ["z"] * 5,
            "ds": range(5),
            "mean": [9.0] * 5,
            "dense": [True] * 5,
        }
    )
    p90 = aggregate_forecasts(weeks, ITEMS, "total", DISTRIBUTIONS, over_weeks=False)[
        "p90"
    ].to_pylist()
    assert p90 == [ppf(0.9, 9, 2 / 9 + 0.4)] * 4 + [ppf(0.9, 9, 2 / 9 + 0.8)]
