"""Bounds of planned looks: published values, the error that they spend, and decisions."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from experiments.analysis.crossing import compute_crossing
from experiments.analysis.group_sequential import (
    Spending,
    compare_at_look,
    find_bounds,
    spend_level,
)
from experiments.analysis.moments import Moments
from features.contracts.errors import BadInput

SHAPES: tuple[Spending, ...] = ("obrien_fleming", "pocock")
FIFTHS = (0.2, 0.4, 0.6, 0.8, 1.0)


def test_bounds_are_the_published_ones() -> None:
    """Jennison and Turnbull 2000 and the program ld98: five looks, two-sided 5 %."""
    obrien_fleming = find_bounds(FIFTHS)
    assert obrien_fleming == pytest.approx((4.8769, 3.3569, 2.6803, 2.2898, 2.0310), abs=2e-4)
    pocock = find_bounds(FIFTHS, spending="pocock")
    assert pocock == pytest.approx((2.4380, 2.4268, 2.4101, 2.3966, 2.3859), abs=2e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_spending_ends_at_the_level_and_one_look_is_the_fixed_test(shape: Spending) -> None:
    for level in (0.01, 0.05, 0.1):
        assert spend_level(1.0, level, shape) == pytest.approx(level)
        assert find_bounds([1.0], level, shape)[0] == pytest.approx(-stats.norm.ppf(level / 2))


@given(
    steps=st.lists(st.floats(0.02, 1.0), min_size=1, max_size=8),
    shape=st.sampled_from(SHAPES),
    level=st.sampled_from([0.01, 0.05, 0.1]),
)
@settings(max_examples=40, deadline=None)
def test_the_bounds_spend_the_level_and_no_more(
    steps: list[float], shape: Spending, level: float
) -> None:
    shares = tuple(np.cumsum(steps) / sum(steps))
    crossing = compute_crossing(shares, find_bounds(shares, level, shape))
    spent = np.cumsum(crossing.upper + crossing.lower)
    assert spent == pytest.approx([spend_level(share, level, shape) for share in shares], abs=1e-7)
    assert spent[-1] == pytest.approx(level, abs=1e-6)


@given(n_looks=st.integers(2, 30))
@settings(max_examples=10, deadline=None)
def test_bounds_of_obrien_and_fleming_fall(n_looks: int) -> None:
    bounds = find_bounds([(look + 1) / n_looks for look in range(n_looks)])
    assert all(before >= after for before, after in pairwise(bounds))
    assert bounds[-1] > 1.959


def test_later_looks_do_not_change_earlier_bounds() -> None:
    assert find_bounds(FIFTHS)[:3] == pytest.approx(find_bounds(FIFTHS[:3]))


def test_crossing_with_a_drift_is_the_multivariate_normal() -> None:
    """Two looks: 1 - P(both scores inside), by scipy's integration of the joint density."""
    shares, bounds, drift = (0.5, 1.0), (2.5, 2.0), 1.5
    crossing = compute_crossing(shares, bounds, drift)
    covariance = [[1.0, math.sqrt(0.5)], [math.sqrt(0.5), 1.0]]
    means = drift * np.sqrt(shares)
    inside = stats.multivariate_normal.cdf(
        np.array(bounds), means, covariance, lower_limit=-np.array(bounds)
    )
    assert crossing.upper.sum() + crossing.lower.sum() == pytest.approx(1 - inside, abs=1e-5)
    assert crossing.upper[0] == pytest.approx(stats.norm.sf(bounds[0] - means[0]))
    mirrored = compute_crossing(shares, bounds, -drift)
    assert mirrored.lower == pytest.approx(crossing.upper)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("shares", "is_last"), [((0.3, 0.7), True), ((0.4, 0.8, 1.3), False)])
def test_an_experiment_that_ends_early_or_late_spends_the_level(
    shape: Spending, shares: tuple[float, ...], is_last: bool
) -> None:
    bounds = find_bounds(shares, spending=shape, is_last=is_last)
    crossing = compute_crossing(shares, bounds)
    assert crossing.upper.sum() + crossing.lower.sum() == pytest.approx(0.05, abs=1e-6)
    assert bounds[:-1] == find_bounds(shares[:-1], spending=shape)


def test_shares_must_rise() -> None:
    for shares in ((), (0.0, 1.0), (0.5, 0.5), (1.2, 1.4)):
        with pytest.raises(BadInput):
            find_bounds(shares)


CONTROL = Moments(500, 10.0, 25.0)
ERROR = math.sqrt(2 * 25 / 500)


@pytest.mark.parametrize(
    ("score", "shares", "decision"),
    [
        (3.4, (0.2, 0.4), "better"),
        (-3.4, (0.2, 0.4), "worse"),
        (3.3, (0.2, 0.4), "continue"),
        (2.1, FIFTHS, "better"),
        (2.0, FIFTHS, "no difference"),
    ],
)
def test_decisions_at_a_look(score: float, shares: tuple[float, ...], decision: str) -> None:
    treatment = Moments(500, 10.0 + score * ERROR, 25.0)
    look = compare_at_look(treatment, CONTROL, shares=shares)
    assert look is not None
    assert look.decision == decision
    excludes_zero = look.difference.low > 0 or look.difference.high < 0
    assert excludes_zero == (decision in ("better", "worse"))
    assert (look.difference.p_value < 0.05) == excludes_zero


def test_the_p_value_is_the_level_at_which_the_bound_is_the_score() -> None:
    look = compare_at_look(Moments(500, 10.0 + 2.5 * ERROR, 25.0), CONTROL, shares=(0.3, 0.7))
    assert look is not None
    assert find_bounds((0.3, 0.7), look.difference.p_value)[-1] == pytest.approx(2.5, abs=1e-3)


def test_the_last_look_decides_below_the_planned_size() -> None:
    treatment = Moments(500, 10.0 + 2.1 * ERROR, 25.0)
    decisions = [
        look.decision
        for is_last in (False, True)
        if (look := compare_at_look(treatment, CONTROL, shares=(0.3, 0.7), is_last=is_last))
    ]
    assert decisions == ["continue", "better"]


def test_no_spread_no_look() -> None:
    assert compare_at_look(Moments(3, 1.0, 0.0), Moments(3, 1.0, 0.0), shares=(1.0,)) is None
