"""Splits and balance before exposure: known answers, and power as simulated."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from experiments.analysis.moments import Moments
from experiments.analysis.sample_ratio import (
    SAMPLE_RATIO_LEVEL,
    compute_imbalance_p_value,
    compute_sample_ratio_p_value,
    compute_sample_ratio_power,
    find_sample_ratio_size,
)


def test_the_p_value_is_that_of_scipy() -> None:
    counts, weights = [480, 320, 200], [0.5, 0.3, 0.2]
    expected = stats.chisquare(counts, [500, 300, 200]).pvalue
    assert compute_sample_ratio_p_value(counts, weights) == pytest.approx(expected)


def test_power_of_two_variants_is_that_of_a_normal_score() -> None:
    """The statistic is the square of a score whose mean is (share - .5) sqrt(n / .25)."""
    n, share = 40_000, 0.51
    mean = 0.01 * math.sqrt(n / 0.25)
    critical = -stats.norm.ppf(SAMPLE_RATIO_LEVEL / 2)
    expected = stats.norm.sf(critical - mean) + stats.norm.cdf(-critical - mean)
    power = compute_sample_ratio_power(n, [1, 1], [share, 1 - share])
    assert power == pytest.approx(expected, abs=1e-9)


def test_the_size_reaches_the_power() -> None:
    weights, shares = [0.5, 0.25, 0.25], [0.51, 0.24, 0.25]
    n = find_sample_ratio_size(weights, shares, power=0.95)
    assert n is not None
    assert compute_sample_ratio_power(n, weights, shares) >= 0.95
    assert compute_sample_ratio_power(n - 1, weights, shares) < 0.95
    assert find_sample_ratio_size(weights, weights) is None
    assert compute_sample_ratio_power(n, weights, weights) == SAMPLE_RATIO_LEVEL


def test_power_is_met_in_simulated_splits() -> None:
    """4,000 splits: the standard error of a rate near .8 is .0063; tolerance four of them."""
    weights, shares = [0.5, 0.5], [0.495, 0.505]
    n = find_sample_ratio_size(weights, shares, power=0.8)
    assert n is not None
    counts = np.random.default_rng(2).multinomial(n, shares, 4_000).tolist()
    called = [
        (compute_sample_ratio_p_value(split, weights) or 1.0) < SAMPLE_RATIO_LEVEL
        for split in counts
    ]
    assert np.mean(called) == pytest.approx(0.8, abs=0.026)


def test_imbalance_of_two_variants_is_the_two_sided_score() -> None:
    ours, theirs = Moments(400, 10.3, 9.0), Moments(600, 10.0, 12.0)
    score = 0.3 / math.sqrt(9 / 400 + 12 / 600)
    p_value = compute_imbalance_p_value([ours, theirs])
    assert p_value == pytest.approx(2 * stats.norm.sf(score))


def test_imbalance_of_three_variants() -> None:
    same = Moments(100, 1.0, 4.0)
    assert compute_imbalance_p_value([same, same, same]) == pytest.approx(1.0)
    # Precisions 25; means 0, 1, 2 around 1: 25 + 25 = 50 with two degrees: exp(-25).
    apart = [Moments(100, mean, 4.0) for mean in (0.0, 1.0, 2.0)]
    assert compute_imbalance_p_value(apart) == pytest.approx(math.exp(-25))


def test_without_a_past_nothing_is_tested() -> None:
    assert compute_imbalance_p_value([Moments(5, 0.0, 0.0), Moments(5, 0.0, 0.0)]) is None
    assert compute_imbalance_p_value([Moments(5, 1.0, 1.0), Moments(0, None, None)]) is None
