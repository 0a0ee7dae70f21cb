import numpy as np
import pytest

from models.demand.distribution import Dispersion, fit_dispersion
from training.demand_metrics import ks_uniform


def test_fit_finds_the_dispersion_and_pit_is_uniform() -> None:
    rng = np.random.default_rng(1)
    mean = np.full(20_000, 3.0)
    actual = rng.negative_binomial(1 / 0.5, 1 / (1 + 0.5 * mean)).astype(float)
    found = fit_dispersion(actual, mean)
    assert found.alpha(np.array([3.0]))[0] == pytest.approx(0.5, rel=0.15)
    assert ks_uniform(found.pit(actual, mean, rng)) < 0.02  # 1.63 / sqrt(20,000) = .0115 at p = .01


def test_quantiles_are_whole_units_and_zero_where_zeros_dominate() -> None:
    table = Dispersion((1.0,), (0.5, 0.5)).quantiles(np.array([0.05, 4.0]))
    assert table[0].tolist() == [0, 0, 0]
    assert np.all(np.diff(table, axis=1) >= 0)
    assert np.array_equal(table, np.rint(table))
