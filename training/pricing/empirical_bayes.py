"""Empirical Bayes shrinkage in closed form over a tree: item -> category -> department -> all.

Each level's mean and spread are estimated from the level below with precision weights (DerSimonian
and Laird, Controlled Clinical Trials 1986); then every estimate is shrunk towards its parent's by
its own variance (Efron and Morris, JASA 1975).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array

# The spread within a small group is hardly known: it counts as this many members of the spread over
# all groups.
_BORROWED = 8.0


def shrink_slopes(
    estimates: Float64Array,
    variances: Float64Array,
    levels: Sequence[Int64Array],
) -> tuple[Float64Array, Float64Array]:
    """Return posterior means and variances (n,) of `estimates` (n,) with sampling `variances` (n,).

    `levels` holds a group code per item, from the finest level to the coarsest; each group lies
    within one group of the next level. A group's spread is estimated from its own members and from
    those of all groups.

    >>> mean, variance = shrink_slopes(np.array([-1.0, -3.0]), np.array([4.0, 4.0]), [])

    Chance alone: shrunk towards -2, itself of variance 2, (-1/4 - 2/2) / (1/4 + 1/2):

    >>> mean.round(2).tolist()
    [-1.67, -2.33]
    """
    parents: list[Int64Array] = []
    means: list[Float64Array] = [estimates]
    errors: list[Float64Array] = [variances]
    spreads: list[Float64Array] = []
    finer_level = np.arange(len(estimates))
    for level in [*levels, np.zeros(len(estimates), np.int64)]:
        parent = np.zeros(int(finer_level.max()) + 1, np.int64)
        parent[finer_level] = level
        mean, error, spread = _estimate_groups(means[-1], errors[-1], parent)
        parents.append(parent)
        means.append(mean)
        errors.append(error)
        spreads.append(spread)
        finer_level = level
    posterior, uncertainty = means[-1], errors[-1]
    for depth in range(len(parents) - 1, -1, -1):
        parent = parents[depth]
        spread = spreads[depth][parent]
        prior_variance = spread + uncertainty[parent]
        precision = 1 / errors[depth] + 1 / prior_variance
        posterior = (means[depth] / errors[depth] + posterior[parent] / prior_variance) / precision
        uncertainty = 1 / precision
    return posterior, uncertainty


def _estimate_groups(
    estimates: Float64Array, variances: Float64Array, parent: Int64Array
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return per group the precision-weighted mean, its variance, and the spread of true values."""
    n = int(parent.max()) + 1
    weights = 1 / variances
    total = np.bincount(parent, weights, n)
    mean = np.bincount(parent, weights * estimates, n) / total
    size = np.bincount(parent, minlength=n)
    excess = np.bincount(parent, weights * (estimates - mean[parent]) ** 2, n) - (size - 1)
    scale = total - np.bincount(parent, weights**2, n) / total
    known = float(scale.sum())
    overall = max(float(excess.sum()) / known, 1e-6) if known > 0 else 1e-6
    own = np.where(size > 1, np.maximum(excess, 0) / np.maximum(scale, 1e-12), overall)
    spread = (own * size + overall * _BORROWED) / (size + _BORROWED)
    weights = 1 / (variances + spread[parent])
    total = np.bincount(parent, weights, n)
    return np.bincount(parent, weights * estimates, n) / total, 1 / total, spread
