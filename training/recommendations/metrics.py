"""Metrics of slates against what was bought.

U users, K ranks of a slate, I known items, L levels of a category.

    hits        bool (U, K)    whether the item at that rank is relevant
    positions   int64 (U, K)   the item's position among the known items
    n_relevant  int64 (U,)     relevant items of each user, at least one

Behind the end of a shorter slate `hits` is False and `positions` is -1. A metric by user returns
float64 (U,), NaN where it is not defined; its mean is reported. `coverage` and `gini` are metrics
of all slates together. Nothing is sampled: an item that no slate holds counts as missed.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

import numpy as np

from features.contracts.arrays import AnyArray, BoolArray, Float64Array, Int64Array

_USERS_AT_ONCE = 4096  # bounds the memory of what is computed for every pair of ranks


def ndcgs(hits: BoolArray, n_relevant: Int64Array, k: int) -> Float64Array:
    """Return the normalised discounted cumulative gain at k, the ideal cut at min(k, relevant).

    Sum of 1 / log2(rank + 1) over the hits ÷ the same sum over the first min(k, relevant) ranks.
    Järvelin and Kekäläinen, Cumulated gain-based evaluation of IR techniques, TOIS 2002.

    (1 + 1/2) / (1 + 1/log2(3) + 1/2):

    >>> ndcgs(np.array([[True, False, True]]), np.array([3]), 3).round(4).tolist()
    [0.7039]
    """
    discounts = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discounts)])[np.minimum(n_relevant, k)]
    gains = hits[:, :k] @ discounts[: hits.shape[1]]
    return np.asarray(np.divide(gains, ideal, out=np.zeros(len(hits)), where=ideal > 0))


def recalls(hits: BoolArray, n_relevant: Int64Array, k: int) -> Float64Array:
    """Return the share of the relevant items in the first k.

    >>> recalls(np.array([[True, False, True]]), np.array([4]), 2).tolist()  # 1 of 4
    [0.25]
    """
    n_hits = hits[:, :k].sum(1)
    return np.asarray(np.divide(n_hits, n_relevant, out=np.zeros(len(hits)), where=n_relevant > 0))


def hit_rates(hits: BoolArray, k: int) -> Float64Array:
    """Return 1 where at least one of the first k is relevant, else 0.

    >>> hit_rates(np.array([[False, True], [False, False]]), 2).tolist()
    [1.0, 0.0]
    """
    return np.asarray(hits[:, :k].any(1).astype(np.float64))


def average_precisions(hits: BoolArray, n_relevant: Int64Array, k: int) -> Float64Array:
    """Return the sum of the precision at the rank of each hit ÷ min(k, relevant).

    Its mean over users is MAP at k. Manning, Raghavan and Schütze, Introduction to Information
    Retrieval, 8.4, cut at k.

    (1/1 + 2/3) / 2:

    >>> average_precisions(np.array([[True, False, True]]), np.array([2]), 3).round(4).tolist()
    [0.8333]
    """
    first = hits[:, :k]
    precisions = np.cumsum(first, axis=1) / np.arange(1, first.shape[1] + 1)
    possible = np.minimum(n_relevant, k)
    return np.asarray(
        np.divide(
            (precisions * first).sum(1), possible, out=np.zeros(len(hits)), where=possible > 0
        )
    )


def mean_values(positions: Int64Array, values: Float64Array, k: int) -> Float64Array:
    """Return the mean value of the items in the first k; `values` (I,) by position.

    The mean of an item's share of buyers is the average recommendation popularity (Yin et al., VLDB
    2012), that of "is a head item" the share of head items.

    (4 + 1) / 2 and 3:

    >>> mean_values(np.array([[0, 2], [1, -1]]), np.array([4.0, 3.0, 1.0]), 2).tolist()
    [2.5, 3.0]
    """
    first = positions[:, :k]
    known = first >= 0
    sums = np.where(known, values[first], 0.0).sum(1)
    return np.asarray(
        np.divide(sums, known.sum(1), out=np.full(len(positions), np.nan), where=known.any(1))
    )


def self_information(n_buyers: AnyArray, n_users: int) -> Float64Array:
    """Return -log2 of the share of users who bought each item, in bits.

    Its mean over a slate is the slate's novelty. Zhou et al., Solving the apparent
    diversity-accuracy dilemma of recommender systems, PNAS 2010.

    >>> self_information(np.array([1, 4, 8]), 8).tolist()  # -log2(1/8), -log2(4/8), -log2(8/8)
    [3.0, 1.0, 0.0]
    """
    return np.asarray(np.abs(np.log2(np.maximum(n_buyers, 1) / max(n_users, 1))))


def diversities(positions: Int64Array, paths: Int64Array, k: int) -> Float64Array:
    """Return the intra-list diversity: 1 - mean similarity over the pairs of the first k.

    Two items are as similar as the share of levels that their categories have in common: leading
    levels that agree ÷ levels of the longer one. Pairs with an unknown category do not count. Smyth
    and McClave, Similarity vs. diversity, ICCBR 2001.

    paths   (I, L), a number for each prefix of the item's category, -1 below its last level

    >>> paths = np.array([[0, 0], [0, 1], [1, 2]])  # "a > b", "a > c", "d > e"
    >>> diversities(np.array([[0, 1, 2]]), paths, 3).round(4).tolist()  # 1 - (1/2 + 0 + 0) / 3
    [0.8333]
    """
    parts = [
        _diversities_of_part(positions[start : start + _USERS_AT_ONCE, :k], paths)
        for start in range(0, len(positions), _USERS_AT_ONCE)
    ]
    return np.concatenate(parts) if parts else np.zeros(0)


def _diversities_of_part(positions: Int64Array, paths: Int64Array) -> Float64Array:
    path = np.where((positions >= 0)[:, :, None], paths[positions], -1)  # U, K, L
    depth = (path >= 0).sum(2)  # U, K
    first, second = np.triu_indices(positions.shape[1], 1)
    common = ((path[:, first] == path[:, second]) & (path[:, first] >= 0)).sum(2)  # U, pairs
    known = (depth[:, first] > 0) & (depth[:, second] > 0)
    longer = np.maximum(depth[:, first], depth[:, second])
    similarity = np.where(known, common / np.maximum(longer, 1), 0.0)
    n_pairs = known.sum(1)
    mean = np.divide(
        similarity.sum(1), n_pairs, out=np.full(len(positions), np.nan), where=n_pairs > 0
    )
    return np.asarray(1 - mean)


def coverage(positions: Int64Array, n_items: int, k: int) -> float:
    """Return the share of the known items that are in at least one slate's first k.

    >>> coverage(np.array([[0, 1], [0, 2]]), 4, 2)  # 3 of 4
    0.75
    """
    shown = np.unique(positions[:, :k])
    return int((shown >= 0).sum()) / n_items if n_items else 0.0


def gini(positions: Int64Array, n_items: int, k: int) -> float:
    """Return the Gini coefficient of how often each known item is shown in the first k.

    0: all items alike; towards 1: always the same items. Sum over the items by times shown, fewest
    first, of (2 rank - I - 1) times ÷ (I × all times). Shani and Gunawardana, Evaluating
    recommendation systems, 2011.

    Shown 1 and 3 times: ((2 - 3) 1 + (4 - 3) 3) / (2 × 4):

    >>> gini(np.array([[0], [0], [0], [1]]), 2, 1)
    0.25
    """
    first = positions[:, :k]
    times = np.sort(np.bincount(first[first >= 0], minlength=n_items)).astype(np.float64)
    if not times.sum():
        return 0.0
    ranks = np.arange(1, n_items + 1)
    return float(((2 * ranks - n_items - 1) @ times) / (n_items * times.sum()))


def ndcg(slate: Sequence[str], relevant: Set[str], k: int) -> float:
    """Return `ndcgs` of one slate of item ids."""
    return float(ndcgs(_slate_hits(slate, relevant), np.array([len(relevant)]), k)[0])


def recall(slate: Sequence[str], relevant: Set[str], k: int) -> float:
    """Return `recalls` of one slate of item ids."""
    return float(recalls(_slate_hits(slate, relevant), np.array([len(relevant)]), k)[0])


def _slate_hits(slate: Sequence[str], relevant: Set[str]) -> BoolArray:
    return np.array([[item in relevant for item in slate]], bool).reshape(1, len(slate))
