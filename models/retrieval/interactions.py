"""User × item matrices, the common input of the retrieval models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from features.contracts.errors import BadInput
from features.contracts.histories import UserHistory


@dataclass(frozen=True)
class Interactions:
    """Who bought what.

    user_ids, item_ids   str objects, sorted ascending; the rows and columns of `matrix`
    matrix               CSR float32 (users, items), distinct orders that held the item
    """

    user_ids: npt.NDArray[np.object_]
    item_ids: npt.NDArray[np.object_]
    matrix: sparse.csr_matrix

    @classmethod
    def from_histories(cls, histories: Mapping[str, UserHistory]) -> Interactions:
        """One row a user with at least one purchase. Raises BadInput when nobody bought anything."""
        kept = {user: histories[user] for user in sorted(histories) if len(histories[user].item_ids)}
        if not kept:
            raise BadInput(
                "nobody bought anything before the cut", hint="Import more history, or choose a later --until"
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


def positions(index: Mapping[str, int], ids: npt.NDArray[np.object_]) -> npt.NDArray[np.int64]:
    """Where each id stands in `index`, -1 where it does not."""
    get = index.get
    return np.fromiter((get(each, -1) for each in ids), np.int64, len(ids))


def inverse(at: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.int64]:
    """For positions `at` among n (-1 for none), the row that stands at each of the n, -1 where none does.

    >>> inverse(np.array([2, -1, 0]), 4).tolist()
    [2, -1, 0, -1]
    """
    rows = np.full(n, -1, np.int64)
    known = at >= 0
    rows[at[known]] = np.flatnonzero(known)
    return rows


def spread(scores: npt.NDArray[np.float32], at: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.float32]:
    """Scores of a source's items at their positions among n, 0 elsewhere."""
    known = at >= 0
    whole = np.zeros(n, np.float32)
    whole[at[known]] = scores[known]
    return whole


def top(scores: npt.NDArray[np.float32], k: int) -> npt.NDArray[np.int64]:
    """Positions of the k highest scores above 0, highest first, ties by position."""
    candidates = np.flatnonzero(scores > 0)
    if len(candidates) > k:
        threshold = np.partition(scores[candidates], len(candidates) - k)[len(candidates) - k]
        candidates = candidates[scores[candidates] >= threshold]
    return candidates[np.argsort(-scores[candidates], kind="stable")][:k]
