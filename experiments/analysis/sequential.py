"""Comparisons that may be read at any time: asymptotic confidence sequences.

Source: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and
asymptotic confidence sequences" (arXiv 2103.06476): theorem 2.2, whose boundary is that of a
normal mixture, the same for one side with a half-normal mixture, and their choice of the tuning
parameter rho for a planned size. A unit's influence on a difference has the variance
N (V_t / n_t + V_c / n_c), so the interval is a multiple of the usual standard error. The multiple
depends on the level and on the share of the planned units that have arrived.

The guarantee is asymptotic: with a handful of units no interval is exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from scipy.special import lambertw

from experiments.analysis.moments import Moments
from experiments.analysis.statistics import Difference

LEVEL = 0.05


def compute_multiple(share: float, level: float = LEVEL) -> float:
    """Return the multiple of the standard error of the two-sided confidence sequence.

    share   units so far / planned units; the interval is tightest near 1 and valid everywhere

    >>> round(compute_multiple(1.0), 3)
    3.035
    """
    spread = share * _tune(level)
    return math.sqrt(2 * (spread + 1) / spread * math.log(math.sqrt(spread + 1) / level))


def compute_one_sided_multiple(share: float, level: float = LEVEL) -> float:
    """Return the multiple of the standard error of the one-sided confidence sequence.

    >>> compute_one_sided_multiple(1.0) < compute_multiple(1.0)
    True
    """
    spread = share * _tune(2 * level)
    return math.sqrt(2 * (spread + 1) / spread * math.log1p(math.sqrt(spread + 1) / (2 * level)))


def compute_p_value(score: float, share: float, level: float = LEVEL) -> float:
    """Return the always-valid p-value: the least level whose sequence excludes no difference.

    score   difference / standard error
    level   of the test that it is tuned for; fixed before the start, like the planned size
    """
    spread = share * _tune(level)
    exponent = score**2 * spread / (2 * (spread + 1))
    return min(1.0, math.exp(0.5 * math.log1p(spread) - exponent))


def compute_one_sided_p_value(score: float, share: float, level: float = LEVEL) -> float:
    """Return the always-valid p-value of a difference above 0; 1 for a score of 0 or below."""
    if score <= 0:
        return 1.0
    spread = share * _tune(2 * level)
    exponent = score**2 * spread / (2 * (spread + 1))
    if exponent > 700:
        return 0.0
    return min(1.0, math.sqrt(spread + 1) / (2 * math.expm1(exponent)))


def compare_always_valid(
    treatment: Moments, control: Moments, *, planned_units: int, level: float = LEVEL
) -> Difference | None:
    """Return treatment minus control with an interval that holds at all times together.

    planned_units   of both variants together; fixed before the start

    None with fewer than two units on a side or without any spread: then nothing is known yet.
    """
    error = compute_standard_error(treatment, control)
    if error is None or treatment.mean is None or control.mean is None:
        return None
    value = treatment.mean - control.mean
    share = (treatment.n + control.n) / planned_units
    margin = compute_multiple(share, level) * error
    p_value = compute_p_value(value / error, share, level)
    return Difference(value, value - margin, value + margin, p_value)


@dataclass(frozen=True)
class ErrorWeights:
    """A squared error is treatment x its variance + control x its variance."""

    treatment: float
    control: float


def list_error_weights(n_treatment: int, n_control: int) -> tuple[ErrorWeights, ErrorWeights]:
    """Return the weights of unequal variances, and those of one pooled variance.

    Repeated looks use the larger error. With equal numbers of units both are the same. In an uneven
    split the few units of the small side may have met no event yet: their own variance then says
    that no difference is chance, and early looks would call any.
    """
    inverse = 1 / n_treatment + 1 / n_control
    freedom = n_treatment + n_control - 2
    return (
        ErrorWeights(1 / n_treatment, 1 / n_control),
        ErrorWeights(
            inverse * (n_treatment - 1) / freedom,
            inverse * (n_control - 1) / freedom,
        ),
    )


def compute_standard_error(treatment: Moments, control: Moments) -> float | None:
    """Return the standard error of the difference for repeated looks; None without a spread."""
    if treatment.variance is None or control.variance is None:
        return None
    squared_error = max(
        weights.treatment * treatment.variance + weights.control * control.variance
        for weights in list_error_weights(treatment.n, control.n)
    )
    return math.sqrt(squared_error) if squared_error > 0 else None


@lru_cache(maxsize=64)
def _tune(level: float) -> float:
    """Return rho squared times the planned units, where the interval is tightest at that size."""
    level = min(level, 0.99)
    return float(-lambertw(-(level**2) / math.e, -1).real) - 1
