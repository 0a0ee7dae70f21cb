"""The positions of one visitor's items and candidates, without duplicates and in order."""

from __future__ import annotations

import numpy as np

from features.contracts.arrays import Float32Array, Int64Array
from models.compiled.compile import compile_kernel


def merge_candidates_numpy(
    positions: Int64Array, bought: Int64Array, bought_again: Int64Array
) -> Int64Array:
    """Do the same with set operations."""
    distinct = np.unique(positions[positions >= 0])
    return distinct[~np.isin(distinct, bought) | np.isin(distinct, bought_again)]


@compile_kernel()
def merge_candidates(
    positions: Int64Array, bought: Int64Array, bought_again: Int64Array
) -> Int64Array:
    """Return the distinct `positions`, ascending, without -1.

    Of the items `bought` before (ascending) only those of `bought_again` (ascending) remain.
    """
    ascending = np.sort(positions)
    n, next_bought, next_again = 0, 0, 0
    previous = -1
    for position in ascending:
        while next_bought < len(bought) and bought[next_bought] < position:
            next_bought += 1
        while next_again < len(bought_again) and bought_again[next_again] < position:
            next_again += 1
        is_bought = next_bought < len(bought) and bought[next_bought] == position
        if position != previous and (
            not is_bought
            or (next_again < len(bought_again) and bought_again[next_again] == position)
        ):
            ascending[n] = position
            n += 1
        previous = position
    return ascending[:n]


def known_purchases_numpy(
    positions: Int64Array, decayed_frequency: Float32Array
) -> tuple[Int64Array, Int64Array, Float32Array]:
    """Do the same with a mask."""
    rows = np.flatnonzero(positions >= 0)
    weights = np.stack([np.ones(len(rows), np.float32), decayed_frequency[rows]])
    return rows, positions[rows], weights


@compile_kernel()
def known_purchases(
    positions: Int64Array, decayed_frequency: Float32Array
) -> tuple[Int64Array, Int64Array, Float32Array]:
    """Return the rows of a history whose item is in the catalogue, the positions of these, and
    their weights (2, n) in both kinds of EASE scores: 1, and the decayed frequency."""
    n = 0
    for position in positions:
        n += position >= 0
    rows, known = np.empty(n, np.int64), np.empty(n, np.int64)
    weights = np.ones((2, n), np.float32)
    index = 0
    for row in range(len(positions)):
        if positions[row] >= 0:
            rows[index], known[index] = row, positions[row]
            weights[1, index] = decayed_frequency[row]
            index += 1
    return rows, known, weights


def most_frequent_purchases_numpy(
    positions: Int64Array, rows: Int64Array, decayed_frequency: Float32Array, k: int
) -> Int64Array:
    """Do the same by sorting."""
    order = np.argsort(-decayed_frequency[rows], kind="stable")
    return positions[np.sort(order[:k])]


@compile_kernel()
def most_frequent_purchases(
    positions: Int64Array, rows: Int64Array, decayed_frequency: Float32Array, k: int
) -> Int64Array:
    """Return the k of `positions` of highest decayed frequency, in their order; the first of equal
    ones. `rows`: the rows of the positions in `decayed_frequency`."""
    n = len(positions)
    if n <= k or k == 0:
        return positions[:k]
    frequency = decayed_frequency[rows]
    threshold = np.partition(frequency, n - k)[n - k]
    n_equal = k - (frequency > threshold).sum()
    chosen, index = np.empty(k, positions.dtype), 0
    for row in range(n):
        if frequency[row] > threshold or (frequency[row] == threshold and n_equal > 0):
            n_equal -= frequency[row] == threshold
            chosen[index] = positions[row]
            index += 1
    return chosen
