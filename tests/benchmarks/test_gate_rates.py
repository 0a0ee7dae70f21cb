"""The gate's error rates on simulated retrainings, few enough to take seconds."""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks.gate import Scores, find_least_refusals, measure_rates
from training.gate import GateConfig


def test_a_worse_model_rarely_passes_and_an_equal_one_is_rarely_refused() -> None:
    rates = measure_rates(2000, 0.95, 200, GateConfig())
    # The benchmark measures .8 % and 8.7 % in 2,000: three standard errors of 200 above them.
    assert rates.worse_passes <= 0.008 + 3 * (0.008 * 0.992 / 200) ** 0.5
    assert rates.equal_refused <= 0.087 + 3 * (0.087 * 0.913 / 200) ** 0.5


def test_the_scores_have_the_mean_the_spread_and_the_correlation_of_the_benchmark() -> None:
    first, second = Scores(100_000, 0.9, seed=3).draw((0.0, 0.02))
    assert first.mean() == pytest.approx(0.4, abs=0.005)
    assert first.std() == pytest.approx(0.3, abs=0.005)
    assert second.mean() == pytest.approx(0.98 * 0.4, abs=0.005)
    assert np.corrcoef(first, second)[0, 1] == pytest.approx(0.9, abs=0.01)


def test_fewer_users_cannot_have_both_rates() -> None:
    assert find_least_refusals(2000, 0.95) < 0.1 < find_least_refusals(300, 0.95)
