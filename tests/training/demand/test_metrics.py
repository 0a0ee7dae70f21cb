import numpy as np
import pytest

from training.demand.metrics import (
    bias,
    gain_p_value,
    interval_coverage,
    ks_uniform,
    pinball,
    wmape,
    wrmsse,
)

ACTUAL = np.array([[2.0, 4.0], [0.0, 10.0]])
FORECAST = np.array([[3.0, 3.0], [1.0, 8.0]])


def test_known_answers() -> None:
    assert wmape(ACTUAL, FORECAST) == (1 + 1 + 1 + 2) / (2 + 4 + 0 + 10)
    assert bias(ACTUAL, FORECAST) == (3 + 3 + 1 + 8) / 16 - 1
    assert pinball(np.array([10.0]), np.array([8.0]), 0.9) == pytest.approx(0.9 * 2)
    assert pinball(np.array([8.0]), np.array([10.0]), 0.9) == pytest.approx(0.1 * 2)
    assert interval_coverage(ACTUAL, FORECAST - 1, FORECAST + 1) == 3 / 4
    assert ks_uniform(np.array([0.5])) == 0.5


def test_rmsse_scales_by_changes_since_the_first_sale_and_weighs_by_revenue() -> None:
    past = np.array([[0.0, 1.0, 3.0, 3.0], [5.0, 4.0, 5.0, 4.0]])
    first = np.sqrt(((1 + 1) / 2) / ((2**2 + 0) / 2))
    second = np.sqrt(((1 + 4) / 2) / ((1 + 1 + 1) / 3))
    assert wrmsse(ACTUAL, FORECAST, past, np.array([3.0, 1.0])) == pytest.approx(
        (3 * first + second) / 4
    )


def test_a_consistent_gain_is_significant_and_none_is_not() -> None:
    rng = np.random.default_rng(2)
    actual = rng.poisson(5, (200, 4)).astype(float)
    assert gain_p_value(actual, actual + 0.5, actual + 1 + rng.random((200, 4))) < 1e-6
    assert gain_p_value(actual, actual + 1, actual + 1) == 1.0
