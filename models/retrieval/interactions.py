"""User × item matrices, the common input of the retrieval models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from scipy import sparse

from features.contracts.arrays import Float32Array, Int64Array, ObjectArray
from features.contracts.errors import BadInput
from features.contracts.histories import UserHistory


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

    def binarise(self) -> sparse.csr_matrix:
        """1 where the user bought the item."""
        ones = self.matrix.copy()
        ones.data = np.ones_like(ones.data)
        return ones


def find_positions(index: Mapping[str, int], ids: ObjectArray) -> Int64Array:
    """Where each id stands in `index`, -1 where it does not."""
    return np.fromiter(map(index.get, ids.tolist(), repeat(-1)), np.int64, len(ids))


def invert_positions(at: Int64Array, n: int) -> Int64Array:
    """For positions `at` among n (-1 for none), the row that stands at each of the n, -1 where none
    does.

    >>> invert_positions(np.array([2, -1, 0]), 4).tolist()
    [2, -1, 0, -1]
    """
    rows = np.full(n, -1, np.int64)
    known = at >= 0
    rows[at[known]] = np.flatnonzero(known)
    return rows


def scatter_scores(scores: Float32Array, at: Int64Array, n: int) -> Float32Array:
    """Scores of a source's items at their positions among n, 0 elsewhere."""
    known = at >= 0
    whole = np.zeros(n, np.float32)
    whole[at[known]] = scores[known]
    return whole
