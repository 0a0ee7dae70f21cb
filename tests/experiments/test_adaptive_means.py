"""Means under adaptive shares: a known answer, and coverage where the plain mean is biased."""

import numpy as np
import pytest

from experiments.analysis.adaptive_means import AdaptiveOutcomes, compare_arms, estimate_arms
from experiments.bandit import BetaPosterior, allocate_shares, compute_best_chances
from features.contracts.errors import BadInput

RATES = np.array([0.3, 0.3])
N_BATCHES, N_UNITS = 5, 100


def run_bandit(rng):
    """Two equal arms, whose shares follow their results, with a floor of a tenth."""
    wins, losses = np.zeros(2, int), np.zeros(2, int)
    batches, arms, rewards, shares = [], [], [], []
    for batch in range(N_BATCHES):
        posteriors = [BetaPosterior(*counts) for counts in zip(wins, losses, strict=True)]
        share = allocate_shares(compute_best_chances(posteriors, rng, 400), 0.1)
        arm = rng.choice(2, N_UNITS, p=share)
        reward = (rng.random(N_UNITS) < RATES[arm]).astype(float)
        wins += np.bincount(arm, reward, minlength=2).astype(int)
        losses += np.bincount(arm, 1 - reward, minlength=2).astype(int)
        batches.append(np.full(N_UNITS, batch))
        arms.append(arm)
        rewards.append(reward)
        shares.append(share)
    return AdaptiveOutcomes(
        np.concatenate(batches), np.concatenate(arms), np.concatenate(rewards), np.array(shares)
    )


def test_two_batches_by_hand():
    outcomes = AdaptiveOutcomes(
        batch=np.array([0, 0, 1, 1]),
        arm=np.array([0, 1, 0, 0]),
        reward=np.array([1.0, 0.0, 1.0, 0.0]),
        shares=np.array([[0.5, 0.5], [0.8, 0.2]]),
    )
    # Scores of arm 0: in the first batch 1 / .5 and 0, then 1 + (1 - 1) / .8 and 1 + (0 - 1) / .8.
    scores = np.array([2.0, 0.0, 1.0, 1 - 1 / 0.8])
    weights = np.sqrt([0.5, 0.5, 0.8, 0.8])
    expected = (weights * scores).sum() / weights.sum()
    first, second = estimate_arms(outcomes)
    assert first.value == pytest.approx(expected)
    error = np.sqrt((weights**2 * (scores - expected) ** 2).sum()) / weights.sum()
    assert first.high - first.value == pytest.approx(1.959964 * error)
    assert (first.n_units, second.n_units) == (3, 1)
    assert second.value == 0.0


def test_equal_shares_give_the_plain_difference():
    rng = np.random.default_rng(6)
    n = 4_000
    arm = rng.integers(0, 2, n)
    reward = (rng.random(n) < np.array([0.2, 0.3])[arm]).astype(float)
    outcomes = AdaptiveOutcomes(np.repeat(np.arange(4), n // 4), arm, reward, np.full((4, 2), 0.5))
    difference = compare_arms(outcomes, 1, 0)
    plain = reward[arm == 1].mean() - reward[arm == 0].mean()
    assert difference.value == pytest.approx(plain, abs=0.01)
    assert difference.low < 0.1 < difference.high
    assert difference.p_value < 1e-6


def test_intervals_hold_where_the_plain_mean_is_biased():
    rng = np.random.default_rng(9)
    n_runs, n_covered, errors, plain_errors = 400, 0, [], []
    for _ in range(n_runs):
        outcomes = run_bandit(rng)
        first = estimate_arms(outcomes)[0]
        n_covered += first.low <= RATES[0] <= first.high
        errors.append(first.value - RATES[0])
        plain_errors.append(outcomes.reward[outcomes.arm == 0].mean() - RATES[0])
    # Four standard deviations: of a binomial share, and of the mean of the errors.
    assert abs(n_covered / n_runs - 0.95) < 4 * np.sqrt(0.95 * 0.05 / n_runs)
    assert abs(np.mean(errors)) < 4 * np.std(errors) / np.sqrt(n_runs)
    assert np.mean(plain_errors) < -4 * np.std(plain_errors) / np.sqrt(n_runs)


def test_an_arm_without_a_share_is_refused():
    with pytest.raises(BadInput, match="floor"):
        AdaptiveOutcomes(np.zeros(1, int), np.zeros(1, int), np.ones(1), np.array([[1.0, 0.0]]))
