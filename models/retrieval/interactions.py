"""User × item matrices, the common input of the retrieval models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import repeat

import numba
import numpy as np
from scipy import sparse

from features.contracts.arrays import Float32Array, Int64Array, ObjectArray
from features.contracts.errors import BadInput
from features.contracts.histories import UserHistory

_FEW = 200  # up to so many of the best are found in one pass
_SET = 16  # scores of which only the highest is looked at, to find how high the best are


@dataclass(frozen=True)
class Interactions:
    """Who bought what.

    user_ids, item_ids   str objects, sorted ascending; the rows and columns of `matrix`
    matrix               CSR float32 (users, items), distinct orders that held the item
    """

    user_ids: ObjectArray
    item_ids: ObjectArray
    matrix: sparse.csr_matrix

    @classmethod
    def from_histories(cls, histories: Mapping[str, UserHistory]) -> Interactions:
        """One row a user with at least one purchase. Raises BadInput when nobody bought
        anything."""
        kept = {
            user: histories[user] for user in sorted(histories) if len(histories[user].item_ids)
        }
        if not kept:
            raise BadInput(
                "nobody bought anything before the cut",
                hint="Import more history, or choose a later --until",
            )
        bought = np.concatenate([history.item_ids for history in kept.values()])
        item_ids, columns = np.unique(bought, return_inverse=True)
        lengths = [len(history.item_ids) for history in kept.values()]
        counts = np.concatenate([history.n_orders for history in kept.values()]).astype(np.float32)
        pointers = np.concatenate([[0], np.cumsum(lengths)])
        matrix = sparse.csr_matrix((counts, columns, pointers), shape=(len(kept), len(item_ids)))
        return cls(np.array(list(kept), object), item_ids, matrix)

    def binary(self) -> sparse.csr_matrix:
        """1 where the user bought the item."""
        ones = self.matrix.copy()
        ones.data = np.ones_like(ones.data)
        return ones


def positions(index: Mapping[str, int], ids: ObjectArray) -> Int64Array:
    """Where each id stands in `index`, -1 where it does not."""
    return np.fromiter(map(index.get, ids.tolist(), repeat(-1)), np.int64, len(ids))


def inverse(at: Int64Array, n: int) -> Int64Array:
    """For positions `at` among n (-1 for none), the row that stands at each of the n, -1 where none
    does.

    >>> inverse(np.array([2, -1, 0]), 4).tolist()
    [2, -1, 0, -1]
    """
    rows = np.full(n, -1, np.int64)
    known = at >= 0
    rows[at[known]] = np.flatnonzero(known)
    return rows


def spread(scores: Float32Array, at: Int64Array, n: int) -> Float32Array:
    """Scores of a source's items at their positions among n, 0 elsewhere."""
    known = at >= 0
    whole = np.zeros(n, np.float32)
    whole[at[known]] = scores[known]
    return whole


def top(scores: Float32Array, k: int) -> Int64Array:
    """Positions of the k highest scores above 0, highest first, ties by position."""
    if k <= _FEW:
        return np.asarray(
            _best_of_sets(scores, k) if k and len(scores) > 4 * k * _SET else _few_best(scores, k)
        )
    candidates = np.flatnonzero(scores > 0)
    if len(candidates) > k:
        threshold = np.partition(scores[candidates], len(candidates) - k)[len(candidates) - k]
        candidates = candidates[scores[candidates] >= threshold]
    return candidates[np.argsort(-scores[candidates], kind="stable")][:k]


@numba.njit(cache=True, nogil=True)
def _best_of_sets(scores, k):  # type: ignore[no-untyped-def]
    """`top` of many scores: k sets have a score that is no lower than the k-th highest maximum of
    all sets."""
    maxima = _maxima(scores, len(scores) // _SET)
    least = np.partition(maxima, len(maxima) - k)[len(maxima) - k]
    at, n = np.empty(len(scores), np.int64), 0
    for position in range(len(scores)):
        if scores[position] >= least:
            at[n] = position
            n += 1
    return at[_few_best(scores[at[:n]], k)]


@numba.njit(cache=True, nogil=True, fastmath={"nnan", "nsz"})
def _maxima(scores, n_sets):  # type: ignore[no-untyped-def]
    """The highest score of each set: of every n_sets-th position, which lets the compiler compare
    several sets at once.

    No score is NaN. What stands behind _SET times n_sets is in no set.
    """
    found = scores[:n_sets].copy()
    for start in range(n_sets, _SET * n_sets, n_sets):
        for each in range(n_sets):
            found[each] = max(found[each], scores[start + each])
    return found


@numba.njit(cache=True, nogil=True)
def _few_best(scores, k):  # type: ignore[no-untyped-def]
    """`top` in one pass over the scores: the best so far stand in order, and a better one moves the
    worse down."""
    best, at, n = np.empty(k, scores.dtype), np.empty(k, np.int64), 0
    for position in range(len(scores)):
        score = scores[position]
        if not score > 0 or k == 0 or (n == k and score <= best[k - 1]):
            continue
        n = min(n + 1, k)
        place = n - 1
        while place > 0 and best[place - 1] < score:
            best[place], at[place] = best[place - 1], at[place - 1]
            place -= 1
        best[place], at[place] = score, position
    return at[:n]
