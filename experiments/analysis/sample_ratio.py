"""Whether units split as the weights say, and as alike before the experiment as chance allows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats
from scipy.optimize import brentq

from experiments.analysis.moments import Moments

SAMPLE_RATIO_LEVEL = 0.001
"""Below this p-value a split counts as broken."""


def compute_sample_ratio_p_value(counts: Sequence[int], weights: Sequence[float]) -> float | None:
    """Return the chi-square p-value of the counts if weights hold; None without units.

    >>> round(compute_sample_ratio_p_value([50, 50], [0.5, 0.5]), 6)
    1.0
    """
    observed = np.asarray(counts, dtype=float)  # [variants]
    if observed.sum() == 0:
        return None
    shares = np.asarray(weights, dtype=float)  # [variants]
    expected = observed.sum() * shares / shares.sum()
    statistic = float(((observed - expected) ** 2 / expected).sum())
    return float(stats.chi2.sf(statistic, len(observed) - 1))


def compute_sample_ratio_power(
    n: int,
    weights: Sequence[float],
    shares: Sequence[float],
    level: float = SAMPLE_RATIO_LEVEL,
) -> float:
    """Return the probability that n units, split by `shares`, are called a mismatch of `weights`.

    The statistic is noncentral chi-square (Cohen 1988, chapter 7).

    >>> round(compute_sample_ratio_power(10_000, [1, 1], [1, 1]), 6)
    0.001
    """
    freedom = len(weights) - 1
    noncentrality = n * _measure_skew(weights, shares)
    critical = float(stats.chi2.isf(level, freedom))
    if noncentrality == 0:
        return level
    return float(stats.ncx2.sf(critical, freedom, noncentrality))


def find_sample_ratio_size(
    weights: Sequence[float],
    shares: Sequence[float],
    power: float = 0.9,
    level: float = SAMPLE_RATIO_LEVEL,
) -> int | None:
    """Return the least number of units at which the mismatch is called with `power`.

    None where the shares are the weights.
    """
    skew = _measure_skew(weights, shares)
    if skew == 0:
        return None

    def find_excess(n: float) -> float:
        critical = float(stats.chi2.isf(level, len(weights) - 1))
        return float(stats.ncx2.sf(critical, len(weights) - 1, n * skew)) - power

    return int(np.ceil(brentq(find_excess, 1e-9, 1000.0 / skew)))


def compute_imbalance_p_value(priors: Sequence[Moments]) -> float | None:
    """Return the p-value of equal pre-period means over variants; None without any spread.

    Wald's test: squared distances to the common mean, weighted by precision, are chi-square with
    one degree of freedom less than variants. A small value says that the variants differed before
    the experiment began.
    """
    means, precisions = [], []
    for prior in priors:
        if prior.mean is None or not prior.variance:
            continue
        means.append(prior.mean)
        precisions.append(prior.n / prior.variance)
    if len(means) < 2:
        return None
    centre = np.average(means, weights=precisions)
    statistic = float(np.sum(np.asarray(precisions) * (np.asarray(means) - centre) ** 2))
    return float(stats.chi2.sf(statistic, len(means) - 1))


def _measure_skew(weights: Sequence[float], shares: Sequence[float]) -> float:
    """Return the sum of squared differences of shares over the due shares."""
    due = np.asarray(weights, dtype=float) / np.sum(weights)
    actual = np.asarray(shares, dtype=float) / np.sum(shares)
    return float(np.sum((actual - due) ** 2 / due))
