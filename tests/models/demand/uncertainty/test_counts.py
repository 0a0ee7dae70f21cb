import numpy as np
import pytest

from models.demand.uncertainty.counts import CountDistribution, fit_count_distribution
from training.demand.metrics import ks_uniform


def test_fit_finds_the_dispersion_and_pit_is_uniform() -> None:
    rng = np.random.default_rng(1)
    mean = np.full(20_000, 3.0)
    actual = rng.negative_binomial(1 / 0.5, 1 / (1 + 0.5 * mean)).astype(float)
    fitted = fit_count_distribution(actual, mean, rng)
    assert fitted.alpha(np.array([3.0]))[0] == pytest.approx(0.5, rel=0.15)
    assert (
        ks_uniform(fitted.pit(actual, mean, rng)) < 0.02
    )  # 1.63 / sqrt(20,000) = .0115 at p = .01


def test_quantiles_are_whole_units_and_zero_where_zeros_dominate() -> None:
    table = CountDistribution((1.0,), (0.5, 0.5), ((), ())).quantiles(np.array([0.05, 4.0]))
    assert table[0].tolist() == [0, 0, 0]
    assert np.all(np.diff(table, axis=1) >= 0)
    assert np.array_equal(table, np.rint(table))


def test_a_shape_that_is_no_negative_binomial_is_recalibrated() -> None:
    rng = np.random.default_rng(4)
    mean = np.full(20_000, 10.0)
    packs = 10.0 * rng.poisson(1.0, 20_000)  # bought by the ten
    fitted = fit_count_distribution(packs, mean, rng)
    plain = CountDistribution(fitted.edges, fitted.alphas, ((),) * len(fitted.alphas))
    fresh = 10.0 * rng.poisson(1.0, 20_000)
    assert ks_uniform(fitted.pit(fresh, mean, rng)) < 0.03 < ks_uniform(plain.pit(fresh, mean, rng))
    (low, high), share_zero = fitted.quantiles(mean[:1], (0.3, 0.95))[0], np.exp(-1.0)
    assert low == 0  # 0.3 lies below the share of zeros, .368
    assert share_zero > 0.3
    assert high >= 20  # P(N <= 2) = .920


def test_probabilities_and_quantiles_agree_at_any_level() -> None:
    counts = CountDistribution((1.0,), (0.5, 0.5), ((), ()))
    levels = (0.05, 0.25, 0.5, 0.8, 0.99)
    mean = np.full(len(levels), 4.0)
    quantiles = counts.quantiles(np.array([4.0]), levels)[0]
    assert np.all(counts.cdf(quantiles, mean) >= np.array(levels) - 1e-9)
    assert np.all(counts.cdf(quantiles - 1, mean) < np.array(levels))
