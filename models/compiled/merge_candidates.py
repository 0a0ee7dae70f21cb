"""The candidates of one visitor, from those of all sources."""

from __future__ import annotations

import numpy as np

from features.contracts.arrays import Int64Array
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

    Of the items `bought` before (ascending) only those of `bought_again` (ascending) remain. 16 µs
    against 99 of numpy: 8 % of an answer.
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
