"""Differences as shares of the control, with intervals by the delta method on the log scale."""

from __future__ import annotations

import math
from collections.abc import Callable

from experiments.analysis.moments import Moments
from experiments.analysis.statistics import Difference, compare_means

Compare = Callable[[Moments, Moments], Difference | None]


def compare_relative(
    treatment: Moments, control: Moments, compare: Compare = compare_means
) -> Difference | None:
    """Return treatment / control - 1 by the test `compare` of the logarithms of the means.

    The influence of a unit on the logarithm of a mean is its influence on the mean divided by the
    mean. `compare` may be any test of moments, also a sequential one. None where a mean is not
    above 0.
    """
    ours, theirs = _take_logarithm(treatment), _take_logarithm(control)
    if ours is None or theirs is None:
        return None
    difference = compare(ours, theirs)
    if difference is None:
        return None
    return Difference(
        value=math.expm1(difference.value),
        low=_raise(difference.low),
        high=_raise(difference.high),
        p_value=difference.p_value,
    )


def _take_logarithm(moments: Moments) -> Moments | None:
    if moments.mean is None or moments.variance is None or moments.mean <= 0:
        return None
    return Moments(moments.n, math.log(moments.mean), moments.variance / moments.mean**2)


def _raise(logarithm: float) -> float:
    """Return exp(x) - 1, at most the largest float: an interval of few units may be that wide."""
    return math.expm1(min(logarithm, 700.0))
