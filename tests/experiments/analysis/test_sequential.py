"""Confidence sequences: known values, p-values that match the intervals, and order."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from experiments.analysis.moments import Moments
from experiments.analysis.relative import compare_relative
from experiments.analysis.sequential import (
    compare_always_valid,
    compute_multiple,
    compute_one_sided_multiple,
    compute_one_sided_p_value,
    compute_p_value,
    compute_standard_error,
)
from experiments.analysis.statistics import compare_means

SHARES = st.floats(0.001, 50)
LEVELS = st.floats(1e-4, 0.3)


def test_the_multiple_is_the_formula_of_the_paper() -> None:
    """sqrt(2 (t rho^2 + 1) / (t^2 rho^2) log(sqrt(t rho^2 + 1) / alpha)) times sqrt(t)."""
    planned, alpha = 1000, 0.05

    def compute_width(t: int, rho2: float) -> float:
        return math.sqrt(
            2 * (t * rho2 + 1) / (t**2 * rho2) * math.log(math.sqrt(t * rho2 + 1) / alpha)
        )

    best = minimize_scalar(
        lambda rho2: compute_width(planned, rho2),
        bounds=(1e-4, 1.0),
        method="bounded",
        options={"xatol": 1e-10},
    ).x
    for t in (10, 500, 1000, 5000):
        width = compute_width(t, best) * math.sqrt(t)
        assert compute_multiple(t / planned, alpha) == pytest.approx(width, rel=1e-5)


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
def test_the_interval_is_tightest_as_tuned_at_the_planned_size(alpha: float) -> None:
    """No other tuning gives a smaller multiple at a share of 1: scan the spread t rho^2."""
    spreads = np.geomspace(0.5, 100, 2000)
    multiples = np.sqrt(2 * (spreads + 1) / spreads * np.log(np.sqrt(spreads + 1) / alpha))
    assert compute_multiple(1.0, alpha) == pytest.approx(multiples.min(), abs=1e-6)


@given(share=SHARES, level=LEVELS)
def test_the_sequence_contains_the_fixed_interval(share: float, level: float) -> None:
    assert compute_multiple(share, level) > -invert_normal(level / 2)
    assert compute_one_sided_multiple(share, level) > -invert_normal(level)


@given(level=st.floats(1e-4, 0.2))
def test_one_side_is_shorter_at_the_planned_size(level: float) -> None:
    assert compute_one_sided_multiple(1.0, level) < compute_multiple(1.0, level)


@given(share=SHARES, level=LEVELS)
def test_a_p_value_equals_the_level_at_the_end_of_the_interval(share: float, level: float) -> None:
    multiple = compute_multiple(share, level)
    assert compute_p_value(multiple, share, level) == pytest.approx(level)
    assert compute_p_value(-multiple, share, level) == pytest.approx(level)
    one_sided = compute_one_sided_multiple(share, level)
    assert compute_one_sided_p_value(one_sided, share, level) == pytest.approx(level)


def test_extreme_scores() -> None:
    assert compute_p_value(0.0, 1.0) == 1
    assert compute_p_value(100.0, 1.0) == 0
    assert compute_one_sided_p_value(-5.0, 1.0) == 1
    assert compute_one_sided_p_value(100.0, 1.0) == 0


def test_a_comparison_by_hand() -> None:
    treatment, control = Moments(500, 12.0, 30.0), Moments(500, 10.0, 20.0)
    difference = compare_always_valid(treatment, control, planned_units=1000)
    assert difference is not None
    error = math.sqrt(30 / 500 + 20 / 500)
    assert difference.value == 2
    assert difference.high - 2 == pytest.approx(compute_multiple(1.0) * error)
    assert difference.p_value == compute_p_value(2 / error, 1.0)
    fixed = compare_means(treatment, control)
    assert fixed is not None
    assert difference.low < fixed.low < fixed.high < difference.high


def test_a_small_side_without_an_event_is_no_evidence() -> None:
    """None of 20 units converted where 2 were due: by their own variance of 0 the score is -4.7."""
    control, treatment = Moments(180, 0.1, 0.0905), Moments(20, 0.0, 0.0)
    pooled = (179 * 0.0905 + 19 * 0.0) / 198 * (1 / 180 + 1 / 20)
    assert compute_standard_error(treatment, control) == pytest.approx(math.sqrt(pooled))
    assert 0.1 / math.sqrt(0.0905 / 180) > compute_multiple(0.2) > 0.1 / math.sqrt(pooled)


@given(
    n=st.integers(2, 10**6),
    variances=st.tuples(st.floats(0.001, 100), st.floats(0.001, 100)),
)
def test_in_an_even_split_the_error_is_that_of_welch(
    n: int, variances: tuple[float, float]
) -> None:
    error = compute_standard_error(Moments(n, 0.0, variances[0]), Moments(n, 0.0, variances[1]))
    assert error == pytest.approx(math.sqrt(sum(variances) / n))


def test_nothing_is_known_without_a_spread() -> None:
    flat = Moments(3, 1.0, 0.0)
    assert compare_always_valid(flat, Moments(3, 0.0, 0.0), planned_units=10) is None
    assert compare_always_valid(flat, Moments(1, 0.0, None), planned_units=10) is None


def test_a_relative_sequence_excludes_zero_where_the_logarithm_does() -> None:
    def compare(treatment: Moments, control: Moments):
        return compare_always_valid(treatment, control, planned_units=20_000)

    relative = compare_relative(Moments(10_000, 1.1, 1.0), Moments(10_000, 1.0, 1.0), compare)
    assert relative is not None
    assert relative.value == pytest.approx(0.1)
    assert 0 < relative.low < 0.1 < relative.high
    assert relative.p_value < 0.05


def invert_normal(probability: float) -> float:
    return NormalDist().inv_cdf(probability)
