"""The tests that a report rests on, from counts, means and variances alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Moments:
    """n values with their mean (None for n = 0) and sample variance, divisor n - 1 (None for n <
    2)."""

    n: int
    mean: float | None
    variance: float | None

    @classmethod
    def of(cls, n: int, total: int, squares: int) -> Moments:
        """From the sum and the sum of squares of n whole numbers, without rounding before the last
        division.

        >>> Moments.of(3, 1 + 2 + 6, 1 + 4 + 36)
        Moments(n=3, mean=3.0, variance=7.0)
        """
        if n == 0:
            return NOTHING
        return cls(n, total / n, (n * squares - total**2) / (n * (n - 1)) if n > 1 else None)


NOTHING = Moments(0, None, None)


@dataclass(frozen=True)
class Difference:
    """A difference of means with its 95 % confidence interval [low, high] and two-sided p-value."""

    value: float
    low: float
    high: float
    p_value: float


def welch(treatment: Moments, control: Moments) -> Difference | None:
    """Treatment minus control for unequal variances (Welch 1947); None when a side has no variance
    to speak of.

    With no spread on either side the interval is the difference itself, and p is 1 (equal) or 0.

    >>> welch(Moments(5, 4.0, 2.0), Moments(5, 4.0, 2.0)).p_value
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
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * error
    p_value = float(2 * stats.t.sf(abs(value) / error, freedom))
    return Difference(value, value - reach, value + reach, p_value)


def sample_ratio_p_value(counts: Sequence[int], weights: Sequence[float]) -> float | None:
    """Chi-square p-value of the counts if units fall by the weights; None without units.

    >>> round(sample_ratio_p_value([50, 50], [0.5, 0.5]), 6)
    1.0
    """
    observed = np.asarray(counts, dtype=float)  # [variants]
    if observed.sum() == 0:
        return None
    shares = np.asarray(weights, dtype=float)  # [variants]
    expected = observed.sum() * shares / shares.sum()
    statistic = float(((observed - expected) ** 2 / expected).sum())
    return float(stats.chi2.sf(statistic, len(observed) - 1))
