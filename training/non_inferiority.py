"""Paired non-inferiority: by how much a candidate loses to a reference, and how sure that is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from features.contracts.arrays import AnyArray, Float64Array

Better = Literal["higher", "lower", "nearer"]
_N_DRAWS, _DRAW_SEED = 4000, 1
PASS_RATE = 0.9  # of an equal model, at which a comparison counts as able to decide


@dataclass(frozen=True)
class UnitValues:
    """One metric of one model in parts: the metric is sum(amounts) / sum(scales).

    metric    its name as reports write it
    unit      what a unit is, in the plural: "users", "series"
    ids       (n,) the unit of each part; parts of one unit are not independent and count as one
    amounts   (n,) scores, absolute errors, deviations
    scales    (n,) what they are a share of: ones for a mean over users, units sold for WMAPE
    better    "nearer" means near to 0: the size of a bias
    """

    metric: str
    unit: str
    ids: AnyArray
    amounts: Float64Array
    scales: Float64Array
    better: Better

    @property
    def value(self) -> float:
        """The metric; NaN without anything to divide by."""
        total = float(self.scales.sum())
        return float(self.amounts.sum()) / total if total else math.nan


@dataclass(frozen=True, kw_only=True)
class PairedLoss:
    """What a candidate loses to a reference on the same units; negative where it gains.

    loss      share of the reference's value, or for a bias its growth in size (both in shares)
    error     standard error of `loss`; infinite with fewer than two units that differ
    equal_error   the same for a candidate that is as good; only for a bias another one
    n_units   number of independent units
    """

    metric: str
    unit: str
    candidate: float
    reference: float
    loss: float
    error: float
    equal_error: float
    n_units: int

    def bound_above(self, level: float) -> float:
        """Return the upper end of the one-sided interval that misses the loss at rate `level`."""
        return add_error(self.loss, self.error, level, self.n_units)

    def bound_below(self, level: float) -> float:
        """Return the lower end of the one-sided interval that misses the loss at rate `level`."""
        return self.loss - add_error(0.0, self.error, level, self.n_units)


def add_error(loss: float, error: float, level: float, n_units: int) -> float:
    """Return `loss` plus as many standard errors as a one-sided t interval at `level` needs."""
    if not error:
        return loss
    if n_units < 2:
        return math.inf
    return loss + float(special.stdtrit(n_units - 1, 1 - level)) * error


def measure_loss(candidate: UnitValues, reference: UnitValues) -> PairedLoss:
    """Return what the candidate loses to the reference, paired by unit.

    The loss is a ratio of sums, and its error that of the linearised ratio over units (Cochran,
    Sampling Techniques, 1977, chapter 6).

    Two users, .5 and .3 in place of .5 and .5: 1 - .8 / 1.0 = 20 % are lost.

    >>> ids, ones = np.array(["a", "b"], object), np.ones(2)
    >>> before = UnitValues("NDCG", "users", ids, np.array([0.5, 0.5]), ones, "higher")
    >>> after = UnitValues("NDCG", "users", ids, np.array([0.5, 0.3]), ones, "higher")
    >>> round(measure_loss(after, before).loss, 9)
    0.2
    """
    if not np.array_equal(candidate.ids, reference.ids):
        raise ValueError("a paired comparison needs the same units on both sides")
    unit_rows = np.unique(candidate.ids, return_inverse=True)[1]
    ours, theirs, scales = (
        np.bincount(unit_rows, parts).astype(np.float64)
        for parts in (candidate.amounts, reference.amounts, reference.scales)
    )
    total, n_units = float(scales.sum()), len(scales)
    equal_error = None
    if not n_units or not total:
        loss, error = math.nan, math.inf
    elif candidate.better == "nearer":
        loss, error = _compare_sizes(ours / total, theirs / total)
        equal_error = _error_of_sum((ours - theirs) / total)
    elif theirs.sum() > 0:
        ratio = float(ours.sum() / theirs.sum())
        sign = -1.0 if candidate.better == "higher" else 1.0
        loss = sign * (ratio - 1)
        error = _error_of_sum((ours - ratio * theirs) / theirs.sum())
    else:  # a value at or below 0 has no shares: the loss is absolute
        sign = -1.0 if candidate.better == "higher" else 1.0
        parts = sign * (ours - theirs) / total
        loss, error = float(parts.sum()), _error_of_sum(parts - scales / total * parts.sum())
    if np.array_equal(ours, theirs):
        error = 0.0  # nothing changed, however few the units
    return PairedLoss(
        metric=candidate.metric,
        unit=candidate.unit,
        candidate=candidate.value,
        reference=reference.value,
        loss=loss,
        error=error,
        equal_error=error if equal_error is None else equal_error,
        n_units=n_units,
    )


def _compare_sizes(ours: Float64Array, theirs: Float64Array) -> tuple[float, float]:
    """Return the growth of |bias| and its error; parts by unit that sum to the biases.

    The size of a bias has a kink at 0, so the error is that of normal draws of both biases.
    """
    loss = abs(float(ours.sum())) - abs(float(theirs.sum()))
    if len(ours) < 2:
        return loss, math.inf
    covariance = np.cov(ours, theirs) * len(ours)
    rng = np.random.default_rng(_DRAW_SEED)
    drawn = rng.multivariate_normal([ours.sum(), theirs.sum()], covariance, _N_DRAWS)
    growth = np.abs(drawn[:, 0]) - np.abs(drawn[:, 1])
    return loss, float(growth.std())


def _error_of_sum(parts: Float64Array) -> float:
    """Return the standard error of a sum of independent parts; infinite for fewer than two."""
    n = len(parts)
    return float(parts.std(ddof=1)) * math.sqrt(n) if n > 1 else math.inf


def compute_pass_rate(allowed: float, error: float, level: float) -> float:
    """Return how often an equal model passes where `allowed` may be lost.

    It passes where its estimated loss, normal around 0, stays z(level) errors below it.

    >>> round(compute_pass_rate(0.02, 0.02 / (1.645 + 1.282), 0.05), 2)
    0.9
    """
    if not error:
        return 1.0
    return float(special.ndtr(allowed / error + special.ndtri(level)))


def widen_error(error: float, level: float) -> float:
    """Return the loss that must be allowed for an equal model to pass at PASS_RATE."""
    return float(special.ndtri(PASS_RATE) - special.ndtri(level)) * error
