"""The effect of many changes together, and how far they are from what was predicted of them.

m changes. The logarithm of what each sold over what was predicted is known poorly, their mean
well. Each one is shrunk towards the mean of the batch as far as they agree (an empirical Bayes
estimate; the spread between them by DerSimonian and Laird, Meta-analysis in clinical trials, 1986).
So an item that brings much profit and sold little by chance does not decide alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from features.contracts.arrays import Float64Array
from features.contracts.pricing import Band, Effect
from models.pricing.effects.common_shift import estimate_common_shift
from models.pricing.effects.estimate import ObservedChanges

MIN_POOLED = 5  # changes; of fewer the mean says too little
_Z10 = 1.2815515655446004


@dataclass(frozen=True)
class PooledChanges:
    """Several changes together.

    effect      on units, revenue and profit against keeping
    deviation   ln of sold over predicted units, common to all; error: its standard error if each
                change does what was predicted of it, within the error of the prediction
    """

    effect: Effect
    deviation: float
    error: float

    @property
    def score(self) -> float:
        """The deviation in standard errors: below 0 where less was sold than predicted."""
        return self.deviation / self.error

    @property
    def share_below(self) -> float:
        """The probability that they sell less than predicted."""
        return float(ndtr(-self.score))


def pool_changes(changes: ObservedChanges) -> PooledChanges:
    """Return m changes, at least one, together. What was not predicted counts as no response."""
    expected = changes.keeping * np.exp(np.nan_to_num(changes.predicted))
    open_response = np.nan_to_num(changes.predicted_error) ** 2
    common = estimate_common_shift(changes.sold, expected, changes.dispersion + open_response)
    mean = expected * math.exp(common.log)
    information = mean / (1 + (changes.dispersion + open_response) * mean)
    moved = _sum_by_group(information * changes.control_error, changes) / information.sum()
    error = math.hypot(common.error, float(np.linalg.norm(moved)))
    return PooledChanges(_estimate_effect(changes, expected, common.log), common.log, error)


def _estimate_effect(changes: ObservedChanges, expected: Float64Array, start: float) -> Effect:
    """Return the effect of all changes, each shrunk towards their mean; `start` is near it."""
    mean = expected * math.exp(start)
    variance = (1 + changes.dispersion * mean) / mean
    own = start + (changes.sold - mean) / mean
    spread = _estimate_spread(own, variance)
    weight = 1 / (variance + spread)
    weight = weight / weight.sum()
    middle = float(weight @ own)
    trust = spread / (variance + spread)
    sold = expected * np.exp(middle + trust * (own - middle))
    pooled = _Pooled(changes, sold, variance, weight, trust)
    return Effect(*(pooled.find_band(after, before) for after, before in changes.values().values()))


@dataclass(frozen=True)
class _Pooled:
    """m changes with units `sold` after shrinkage; weight: of each in the mean; trust: in its own
    value, the rest is the mean's."""

    changes: ObservedChanges
    sold: Float64Array
    variance: Float64Array
    weight: Float64Array
    trust: Float64Array

    def find_band(self, after: Float64Array, before: Float64Array) -> Band:
        """Return the effect on what a unit brings, `after` and `before` the change (m,).

        The delta method: by how much the sum moves with the logarithm of each item's sales, with
        what shrinkage leaves open, and with the error of each control group.
        """
        value, kept = after * self.sold, before * self.changes.keeping
        slope = value * self.trust + (value * (1 - self.trust)).sum() * self.weight
        own = (slope**2 * self.variance).sum()
        open_part = (value**2 * self.trust * (1 - self.trust) * self.variance).sum()
        # A control that is too high by 1 % raises what keeping would have brought by 1 %, and
        # lowers the logarithms of its items by as much: their own value takes that back.
        moved = value - slope - kept
        of_groups = _sum_by_group(moved * self.changes.control_error, self.changes) ** 2
        error = math.sqrt(own + open_part + of_groups.sum())
        middle = float(value.sum() - kept.sum())
        return Band(middle - _Z10 * error, middle, middle + _Z10 * error)


def _estimate_spread(own: Float64Array, variance: Float64Array) -> float:
    """Return the variance between true values, from estimates and their variances (m,)."""
    if len(own) < 2:
        return 0.0
    weight = 1 / variance
    middle = (weight @ own) / weight.sum()
    excess = float(weight @ (own - middle) ** 2) - (len(own) - 1)
    return max(excess / float(weight.sum() - (weight**2).sum() / weight.sum()), 0.0)


def _sum_by_group(values: Float64Array, changes: ObservedChanges) -> Float64Array:
    return np.bincount(changes.group, values).astype(np.float64)
