"""Shares of a bandit: probabilities against quadrature, the floor, and the choice of an arm."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from experiments.bandit import (
    BetaPosterior,
    NormalPosterior,
    allocate_shares,
    compute_best_chances,
)
from features.contracts.errors import BadInput

N_DRAWS = 40_000
TOLERANCE = 4 * math.sqrt(0.25 / N_DRAWS)


def test_the_probability_to_be_best_of_rates_is_that_of_the_integral():
    counts = [(20, 180), (30, 170), (26, 174)]
    posteriors = [BetaPosterior(*count) for count in counts]
    chances = compute_best_chances(posteriors, np.random.default_rng(2), N_DRAWS)
    rates = [stats.beta(1 + wins, 1 + losses) for wins, losses in counts]
    for arm, rate in enumerate(rates):
        others = [other for other in rates if other is not rate]
        expected, _ = integrate.quad(
            lambda x, rate=rate, others=others: rate.pdf(x) * np.prod([o.cdf(x) for o in others]),
            0,
            1,
            points=[0.1, 0.15],
        )
        assert abs(chances[arm] - expected) < TOLERANCE


def test_the_probability_to_be_best_of_two_means_is_that_of_the_normal():
    posteriors = [NormalPosterior(10.0, 1.0), NormalPosterior(11.0, 2.0)]
    chances = compute_best_chances(posteriors, np.random.default_rng(2), N_DRAWS)
    assert abs(chances[1] - stats.norm.cdf(1 / math.sqrt(1 + 4))) < TOLERANCE


def test_a_posterior_of_values():
    posterior = NormalPosterior.from_values(4, 1 + 2 + 3 + 6, 1 + 4 + 9 + 36)
    assert posterior.mean == 3
    assert posterior.error == pytest.approx(math.sqrt((50 - 12**2 / 4) / 3 / 4))
    assert NormalPosterior.from_values(1, 5.0, 25.0).error == math.inf


def test_nothing_is_known_before_every_arm_has_units():
    posteriors = [NormalPosterior(1.0, 0.1), NormalPosterior.from_values(0, 0.0, 0.0)]
    chances = compute_best_chances(posteriors, np.random.default_rng(1))
    assert chances.tolist() == [0.5, 0.5]


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6), st.floats(0, 1))
def test_every_arm_keeps_the_floor_and_all_traffic_is_given(values, part):
    chances = np.array(values) + 1e-3
    chances /= chances.sum()
    floor = part / len(values)
    shares = allocate_shares(chances, floor)
    assert shares.sum() == pytest.approx(1)
    assert shares.min() >= floor - 1e-12
    assert np.all(np.diff(shares[np.argsort(chances)]) >= -1e-12)


def test_a_floor_above_all_traffic_is_refused():
    with pytest.raises(BadInput, match=r"at most 0\.333"):
        allocate_shares(np.full(3, 1 / 3), 0.4)


def test_impossible_posteriors_are_refused():
    for make in (lambda: BetaPosterior(-1, 2), lambda: NormalPosterior(0.0, -1.0)):
        with pytest.raises(BadInput):
            make()
