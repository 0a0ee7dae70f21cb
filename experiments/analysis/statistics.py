"""Statistical tests of experiments, from counts, means and variances alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import stats
from scipy.optimize import brentq

from experiments.analysis.moments import NO_VALUES, Moments
from experiments.analysis.sample_ratio import compute_sample_ratio_p_value

__all__ = [
    "NO_VALUES",
    "Difference",
    "MarginTest",
    "Moments",
    "compare_means",
    "compare_with_margin",
    "compute_sample_ratio_p_value",
]

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """A difference of means with its 95 % confidence interval [low, high] and two-sided p-value."""

    value: float
    low: float
    high: float
    p_value: float


def compare_means(treatment: Moments, control: Moments) -> Difference | None:
    """Return treatment minus control by Welch's test for unequal variances (Welch 1947).

    None when a side has fewer than two values. With no variance on either side the interval is the
    difference itself, and p is 1 (equal) or 0.

    >>> compare_means(Moments(5, 4.0, 2.0), Moments(5, 4.0, 2.0)).p_value
    1.0
    """
    if (
        treatment.mean is None
        or treatment.variance is None
        or control.mean is None
        or control.variance is None
    ):
        return None
    value = treatment.mean - control.mean
    parts = (treatment.variance / treatment.n, control.variance / control.n)
    squared_error = math.fsum(parts)
    if squared_error == 0:
        return Difference(value, value, value, 1.0 if value == 0 else 0.0)
    error = math.sqrt(squared_error)
    freedom = squared_error**2 / (
        parts[0] ** 2 / (treatment.n - 1) + parts[1] ** 2 / (control.n - 1)
    )
    margin = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * error
    p_value = float(2 * stats.t.sf(abs(value) / error, freedom))
    return Difference(value, value - margin, value + margin, p_value)


@dataclass(frozen=True)
class MarginTest:
    """Whether a treatment's mean lies above a share of the control's.

    change    treatment / control - 1
    low       lower end of the one-sided 95 % interval of `change`
    p_value   one-sided, of a treatment that loses the margin or more
    """

    change: float
    low: float
    p_value: float


def compare_with_margin(treatment: Moments, control: Moments, margin: float) -> MarginTest | None:
    """Return Welch's test of treatment - (1 - margin) x control > 0.

    `low` is the share at which the same test has a p-value of 5 % (Fieller's interval). None with
    fewer than two values on a side, or without a control's mean above 0.
    """
    ours, theirs = _Sample.of(treatment), _Sample.of(control)
    if ours is None or theirs is None or theirs.mean <= 0:
        return None
    return MarginTest(
        change=ours.mean / theirs.mean - 1,
        low=_find_lowest_share(ours, theirs) - 1,
        p_value=_compute_share_p_value(ours, theirs, 1 - margin),
    )


@dataclass(frozen=True)
class _Sample:
    """Mean, sample variance and number of two values or more."""

    mean: float
    variance: float
    n: int

    @classmethod
    def of(cls, moments: Moments) -> _Sample | None:
        if moments.mean is None or moments.variance is None:
            return None
        return cls(moments.mean, moments.variance, moments.n)


def _compute_share_p_value(ours: _Sample, theirs: _Sample, share: float) -> float:
    """Return the one-sided p-value of the hypothesis ours <= share x theirs."""
    value = ours.mean - share * theirs.mean
    parts = (ours.variance / ours.n, share**2 * theirs.variance / theirs.n)
    squared_error = math.fsum(parts)
    if squared_error == 0:
        return 0.0 if value > 0 else 1.0
    freedom = squared_error**2 / (parts[0] ** 2 / (ours.n - 1) + parts[1] ** 2 / (theirs.n - 1))
    return float(stats.t.sf(value / math.sqrt(squared_error), freedom))


def _find_lowest_share(ours: _Sample, theirs: _Sample) -> float:
    """Return the share of theirs above which ours lies at a level of 5 %."""

    def find_excess(share: float) -> float:
        return _compute_share_p_value(ours, theirs, share) - (1 - CONFIDENCE)

    highest = ours.mean / theirs.mean
    if find_excess(0.0) >= 0:
        return 0.0
    return highest if find_excess(highest) <= 0 else float(brentq(find_excess, 0.0, highest))
