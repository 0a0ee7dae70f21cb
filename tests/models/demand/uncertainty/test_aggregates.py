"""Quantiles of sums over weeks and over items."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from models.demand.uncertainty.aggregate_errors import NodeBacktest, fit_nodes
from models.demand.uncertainty.aggregate_rows import summed
from models.demand.uncertainty.aggregates import (
    FIRST_GUESS,
    NodeSpread,
    NodeSums,
    Spread,
    Sums,
    fit_node_spread,
)
from models.demand.uncertainty.backtest_calibration import Backtest, calibrate
from models.demand.uncertainty.counts import Counts
from training.demand.metrics import ks_uniform

ALPHAS = (0.4, 0.3, 0.2, 0.1)
LEVELS = ("total", "department", "category")


def of(alpha: float) -> Counts:
    return Counts((1.0,), (alpha, alpha), ((), ()))


def ppf(level: float, mean: float, alpha: float) -> float:
    return float(stats.nbinom.ppf(level, 1 / alpha, 1 / (1 + alpha * mean)))


def item(level: float, mean: float, alpha: float) -> float:
    """As `ppf`, of a mean rounded to a step of 1 %, as items are looked up."""
    return ppf(level, np.exp(round(np.log(mean) / 0.01) * 0.01), alpha)


SUMS = Sums(
    tuple(Spread(of(2 * alpha), of(alpha)) for alpha in ALPHAS),
    dict.fromkeys(
        LEVELS, NodeSums(tuple(NodeSpread(2.0, alpha) for alpha in ALPHAS), NodeSpread(2.0, 0.8))
    ),
)


def test_each_span_has_its_spread_and_time_between_two_lies_between() -> None:
    mean, dense = np.array([12.0, 12.0]), np.array([True, False])
    assert SUMS.quantiles(mean, dense, 4, (0.9,)).tolist() == [
        [item(0.9, 12, 0.2)],
        [item(0.9, 12, 0.4)],
    ]
    share = np.log(3 / 2) / np.log(4 / 2)
    between = np.ceil((1 - share) * item(0.9, 12, 0.3) + share * item(0.9, 12, 0.2))
    assert SUMS.quantiles(mean, dense, 3, (0.9,))[0, 0] == between
    for same, weeks in ((0.1, 13), (0.4, 0.5)):  # beyond the last span and within a week
        assert SUMS.quantiles(mean, dense, weeks, (0.9,))[0, 0] == item(0.9, 12, same)


@given(st.floats(0.01, 1e4), st.floats(1.0, 13.0), st.floats(0.01, 0.98), st.booleans())
@settings(max_examples=50)
def test_quantiles_are_whole_units_and_rise_with_the_level(
    mean: float, weeks: float, level: float, dense: bool
) -> None:
    at = (level, level + 0.01)
    for found in (
        SUMS.quantiles(np.array([mean]), np.array([dense]), weeks, at),
        SUMS.nodes["total"].quantiles(np.array([mean]), weeks, at),
    ):
        assert 0 <= found[0, 0] <= found[0, 1]
        assert np.array_equal(found, np.rint(found))


def test_weeks_that_err_together_make_a_wider_sum_than_weeks_apart() -> None:
    rng = np.random.default_rng(3)
    n = 20_000
    means = np.repeat(rng.gamma(4.0, 2.0, n)[:, None], 8, axis=1)
    together = rng.gamma(4.0, 1 / 4, (n, 1))  # one factor an item, of variance 1/4
    apart = rng.gamma(4.0, 1 / 4, (n, 8))
    widths = []
    for factors in (together, apart):
        actual = rng.poisson(means * factors).astype(float)
        seen = Backtest(
            20, tuple(range(1, 9)), np.full(n, 9), np.stack([means, means], axis=2), actual
        )
        sums = Sums(calibrate([seen], 28, rng).sums, {})
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


def nodes_sold(rng: np.random.Generator, mean: np.ndarray, own: float, common: float) -> np.ndarray:
    alpha = own / mean + common
    return rng.negative_binomial(1 / alpha, 1 / (1 + alpha * mean)).astype(float)


def test_what_nodes_err_alone_and_together_is_found() -> None:
    rng = np.random.default_rng(4)
    mean = np.exp(rng.uniform(0, 9, 4_000))
    found = fit_node_spread(nodes_sold(rng, mean, 3.0, 0.02), mean, FIRST_GUESS, rng)
    assert found.own == pytest.approx(3.0, rel=0.15)
    assert found.common == pytest.approx(0.02, rel=0.15)
    assert (
        ks_uniform(found.pit(nodes_sold(rng, mean, 3.0, 0.02), mean, rng)) < 0.03
    )  # 1.36 / sqrt(4,000) = .022


def test_a_shape_that_is_no_negative_binomial_is_bent() -> None:
    rng = np.random.default_rng(5)
    mean = np.full(4_000, 200.0)
    sold = 50.0 * rng.poisson(4.0, 4_000)
    found = fit_node_spread(sold, mean, FIRST_GUESS, rng)
    fresh = 50.0 * rng.poisson(4.0, 4_000)
    plain = NodeSpread(found.own, found.common)
    assert ks_uniform(found.pit(fresh, mean, rng)) < 0.04 < ks_uniform(plain.pit(fresh, mean, rng))


def test_few_nodes_are_drawn_to_the_level_below() -> None:
    rng = np.random.default_rng(6)
    levels = np.array(["total", *["department"] * 2, *["category"] * 300])
    mean = np.concatenate([[3000.0, 1500, 1500], np.exp(rng.uniform(1, 8, 300))])[:, None].repeat(
        4, axis=1
    )
    seen = [NodeBacktest(mean, nodes_sold(rng, mean, 2.0, 0.05)) for _ in range(3)]
    found = fit_nodes(seen, levels, rng)
    assert list(found) == ["category", "department", "total"]
    assert found["category"].spans[0].common == pytest.approx(0.05, rel=0.15)
    assert found["total"].spans[0].common == pytest.approx(0.05, rel=0.6)
    assert found["total"].spans[3] == found["total"].spans[2]  # no backtest saw eight weeks
    assert found["total"].far == found["total"].spans[0]
    assert fit_nodes([], levels, rng) == {}


def test_sums_are_stored_and_read(tmp_path: Path) -> None:
    SUMS.save(tmp_path)
    assert Sums.load(tmp_path) == SUMS
    assert Sums.load(tmp_path / "elsewhere") is None


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
    found = summed(ROWS, ITEMS, "item", SUMS, over_weeks=True).to_pylist()
    assert [(row["unique_id"], row["ds"], row["mean"]) for row in found] == [
        ("a", 1, 7),
        ("b", 1, 30),
    ]
    assert [row["p90"] for row in found] == [item(0.9, 7, 0.3), item(0.9, 30, 0.6)]


def test_rows_of_nodes_by_week_and_over_all_weeks() -> None:
    by_week = summed(ROWS, ITEMS, "department", SUMS, over_weeks=False).to_pylist()
    assert [(row["unique_id"], row["ds"], row["mean"]) for row in by_week] == [
        ("Food", 1, 13),
        ("Food", 2, 24),
    ]
    assert [row["p50"] for row in by_week] == [ppf(0.5, m, 2 / m + 0.4) for m in (13, 24)]
    (whole,) = summed(ROWS, ITEMS, "total", SUMS, over_weeks=True).to_pylist()
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
    found = summed(weeks, ITEMS, "total", SUMS, over_weeks=False)["p90"].to_pylist()
    assert found == [ppf(0.9, 9, 2 / 9 + 0.4)] * 4 + [ppf(0.9, 9, 2 / 9 + 0.8)]
