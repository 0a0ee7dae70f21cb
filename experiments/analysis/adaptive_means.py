"""Means of arms whose shares followed their own results: adaptively weighted, doubly robust.

The plain mean of an arm is biased there: an arm that began with bad luck got little traffic
afterwards and kept its bad mean. Method: Hadad, Hirshberg, Zhan, Wager and Athey 2021,
"Confidence intervals for policy evaluation in adaptive experiments".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from experiments.analysis.statistics import CONFIDENCE, Difference
from features.contracts.arrays import Float64Array, Int64Array
from features.contracts.errors import BadInput


@dataclass(frozen=True)
class AdaptiveOutcomes:
    """Units in the order in which they came, in batches during which the shares stood still.

    batch    (n_units,) number of the unit's batch, 0 first
    arm      (n_units,)
    reward   (n_units,) conversion, or money
    shares   (n_batches, n_arms) the probability of each arm in a batch, decided before it began

    Raises BadInput where a share is not above 0.
    """

    batch: Int64Array
    arm: Int64Array
    reward: Float64Array
    shares: Float64Array

    def __post_init__(self) -> None:
        if not len(self.batch) == len(self.arm) == len(self.reward):
            raise BadInput("batch, arm and reward have different lengths", where="outcomes")
        if not (self.shares > 0).all():
            raise BadInput(
                "an arm had a share of 0", where="outcomes", hint="Give each arm a floor"
            )


@dataclass(frozen=True)
class ArmMean:
    """The mean of an arm with its 95 % confidence interval, and how many units it had."""

    value: float
    low: float
    high: float
    n_units: int


def estimate_arms(outcomes: AdaptiveOutcomes) -> list[ArmMean]:
    """Return the mean of each arm.

    A unit's score is the arm's mean of the batches before, plus the unit's deviation from it over
    its propensity where it had this arm. Scores are weighted by the root of the propensity, which
    makes their variance the same in all batches, so that the mean is normal at the end.
    """
    scores = _compute_scores(outcomes)  # [units, arms]
    weights = np.sqrt(outcomes.shares[outcomes.batch])
    means = []
    for arm in range(outcomes.shares.shape[1]):
        value, error = _average(scores[:, arm], weights[:, arm])
        margin = _QUANTILE * error
        n_units = int((outcomes.arm == arm).sum())
        means.append(ArmMean(value, value - margin, value + margin, n_units))
    return means


def compare_arms(outcomes: AdaptiveOutcomes, arm: int, control: int) -> Difference:
    """Return the difference of an arm from the control, by the same method.

    The weights are those that keep the variance of the difference the same in all batches.
    """
    scores = _compute_scores(outcomes)
    shares = outcomes.shares[outcomes.batch]
    weights = 1 / np.sqrt(1 / shares[:, arm] + 1 / shares[:, control])
    value, error = _average(scores[:, arm] - scores[:, control], weights)
    margin = _QUANTILE * error
    if error > 0:
        p_value = float(2 * stats.norm.sf(abs(value) / error))
    else:
        p_value = 1.0 if value == 0 else 0.0
    return Difference(value, value - margin, value + margin, p_value)


_QUANTILE = float(stats.norm.ppf((1 + CONFIDENCE) / 2))


def _compute_scores(outcomes: AdaptiveOutcomes) -> Float64Array:
    """Return (n_units, n_arms) augmented inverse propensity scores."""
    n_batches, n_arms = outcomes.shares.shape
    known = _average_earlier_batches(outcomes, n_batches, n_arms)[outcomes.batch]
    scores = known.copy()
    units = np.arange(len(outcomes.arm))
    share = outcomes.shares[outcomes.batch, outcomes.arm]
    scores[units, outcomes.arm] += (outcomes.reward - known[units, outcomes.arm]) / share
    return scores


def _average_earlier_batches(
    outcomes: AdaptiveOutcomes, n_batches: int, n_arms: int
) -> Float64Array:
    """Return (n_batches, n_arms) the mean of each arm before the batch, 0 where it had no units."""
    cell = outcomes.batch * n_arms + outcomes.arm
    size = n_batches * n_arms
    counts = np.bincount(cell, minlength=size).reshape(n_batches, n_arms)
    sums = np.bincount(cell, outcomes.reward, minlength=size).reshape(n_batches, n_arms)
    before_counts = np.cumsum(counts, 0) - counts
    before_sums = np.cumsum(sums, 0) - sums
    return np.asarray(before_sums / np.maximum(before_counts, 1))


def _average(scores: Float64Array, weights: Float64Array) -> tuple[float, float]:
    """Return the weighted mean of scores and its standard error."""
    total = float(weights.sum())
    value = float((weights * scores).sum()) / total
    error = math.sqrt(float((weights**2 * (scores - value) ** 2).sum())) / total
    return value, error
