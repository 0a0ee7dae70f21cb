"""Quantiles of values that units have in common: by hand, and coverage as simulated."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from experiments.analysis.quantiles import (
    QuantileEstimate,
    compare_quantiles,
    describe_by_moments,
    estimate_quantile,
)
from experiments.analysis.statistics import compare_means
from features.contracts.errors import BadInput


def test_one_value_a_unit_gives_the_binomial_interval() -> None:
    """The share below has the error sqrt(p q / (n - 1)); the interval is read at those ranks."""
    n = 10_001
    values = np.random.default_rng(1).permutation(n).astype(float)
    estimate = estimate_quantile(values, np.arange(n), 0.9)
    assert estimate is not None
    assert estimate.value == 9_000
    margin = stats.norm.ppf(0.975) * math.sqrt(0.9 * 0.1 / (n - 1)) * (n - 1)
    assert estimate.low == pytest.approx(9_000 - margin, abs=1)
    assert estimate.high == pytest.approx(9_000 + margin, abs=1)


def test_copies_of_a_value_add_no_information() -> None:
    """A unit whose value is repeated ten times knows as much as with one value."""
    values = np.random.default_rng(2).exponential(1.0, 500)
    units = np.arange(500)
    single = estimate_quantile(values, units, 0.5)
    copies = estimate_quantile(np.repeat(values, 10), np.repeat(units, 10), 0.5)
    pretended = estimate_quantile(np.repeat(values, 10), np.arange(5_000), 0.5)
    assert single is not None
    assert copies is not None
    assert pretended is not None
    width = single.high - single.low
    assert copies.high - copies.low == pytest.approx(width, rel=0.1)
    assert pretended.high - pretended.low < 0.5 * width


def test_the_difference_by_hand() -> None:
    difference = compare_quantiles(
        QuantileEstimate(10, 20.0, 17.0, 25.0), QuantileEstimate(10, 10.0, 7.0, 14.0)
    )
    assert difference.value == 10
    assert difference.low == 10 - math.hypot(3, 4)
    assert difference.high == 10 + math.hypot(5, 3)
    assert difference.p_value == pytest.approx(2 * stats.norm.sf(10 / 5 * 1.959964), abs=1e-6)


def test_moments_have_the_error_of_the_interval() -> None:
    """Symmetric intervals: Welch's interval of the moments is that of the difference."""
    slow, usual = (
        QuantileEstimate(4_000, 30.0, 27.0, 33.0),
        QuantileEstimate(4_000, 20.0, 16.0, 24.0),
    )
    difference = compare_means(describe_by_moments(slow), describe_by_moments(usual))
    assert difference is not None
    expected = compare_quantiles(slow, usual)
    assert expected.low == 10 - math.hypot(3, 4)
    assert difference.low == pytest.approx(expected.low, rel=1e-3)
    assert difference.p_value == pytest.approx(expected.p_value, rel=0.01)


def test_equal_values_have_no_width() -> None:
    flat = estimate_quantile([5.0] * 8, list("aabbccdd"), 0.5)
    assert flat == QuantileEstimate(4, 5.0, 5.0, 5.0)
    assert compare_quantiles(flat, flat).p_value == 1
    assert compare_quantiles(QuantileEstimate(4, 6.0, 6.0, 6.0), flat).p_value == 0


def test_one_unit_has_no_interval_and_a_probability_is_inside() -> None:
    assert estimate_quantile([1.0, 2.0], ["a", "a"], 0.5) is None
    assert estimate_quantile([], [], 0.5) is None
    with pytest.raises(BadInput):
        estimate_quantile([1.0, 2.0], ["a", "b"], 1.0)


def test_intervals_of_clustered_latencies_cover() -> None:
    """500 simulated pairs of variants, p90 of visitors with a latency of their own.

    The standard error of a rate of .95 is .01; tolerance three of them.
    """
    rng = np.random.default_rng(5)
    covered = []
    for _ in range(500):
        estimates = []
        for shift in (0.0, 0.1):
            counts = rng.geometric(0.2, 300)
            units = np.repeat(np.arange(300), counts)
            own = rng.normal(0.0, 0.4, 300)[units]
            latencies = np.exp(4 + shift + own + rng.normal(0.0, 0.3, len(units)))
            estimate = estimate_quantile(latencies, units, 0.9)
            assert estimate is not None
            estimates.append(estimate)
        truth = math.exp(4 + 0.5 * stats.norm.ppf(0.9)) * (math.exp(0.1) - 1)
        difference = compare_quantiles(estimates[1], estimates[0])
        covered.append(difference.low <= truth <= difference.high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.03)
