"""Figures of a slate against what was bought, and of a forecast against what was sold."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence, Set

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]


def ndcg(slate: Sequence[str], relevant: Set[str], k: int) -> float:
    """Normalised discounted cumulative gain at k, the ideal cut at min(k, relevant).

    Jarvelin and Kekalainen, TOIS 2002. With relevant items at ranks 1 and 3 of three relevant ones in all:

    >>> round(ndcg(["a", "x", "b"], {"a", "b", "c"}, 3), 4)  # (1 + 1/2) / (1 + 1/log2(3) + 1/2)
    0.7039
    """
    gains = sum(1 / math.log2(rank + 1) for rank, item in enumerate(slate[:k], start=1) if item in relevant)
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(k, len(relevant)) + 1))
    return gains / ideal if ideal else 0.0


def recall(slate: Sequence[str], relevant: Set[str], k: int) -> float:
    """Share of the relevant items in the first k."""
    return sum(item in relevant for item in slate[:k]) / len(relevant) if relevant else 0.0


def coverage(slates: Iterable[Sequence[str]], n_items: int, k: int) -> float:
    """Share of the catalogue that stands in at least one slate's first k."""
    shown = {item for slate in slates for item in slate[:k]}
    return len(shown) / n_items if n_items else 0.0


def paired_p_value(ours: Floats, theirs: Floats) -> float:
    """Two-sided paired t-test over users; 1 when the two never differ."""
    difference = ours - theirs
    if len(difference) < 2 or not np.ptp(difference):
        return 1.0
    return float(stats.ttest_rel(ours, theirs).pvalue)


def bootstrap_interval(values: Floats, rng: np.random.Generator, *, n_draws: int = 1000) -> tuple[float, float]:
    """95 % percentile interval of the mean over users."""
    draws = rng.integers(0, len(values), (n_draws, len(values)))
    low, high = np.quantile(values[draws].mean(1), [0.025, 0.975])
    return float(low), float(high)
