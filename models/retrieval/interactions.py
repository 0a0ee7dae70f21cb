"""User × item matrices, the common input of the retrieval models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import repeat
from typing import Literal

import numpy as np
from scipy import sparse

from features.contracts.arrays import Float32Array, Int64Array, ObjectArray
from features.contracts.errors import TooLittleData
from features.contracts.histories import UserHistory

# How an item counts that a user has ordered n times: 1, ln(1 + n), or n.
Weighting = Literal["binary", "log", "orders"]
WEIGHTINGS: tuple[Weighting, ...] = ("binary", "log", "orders")


@dataclass(frozen=True)
class Interactions:
    """Purchases of users by item.

    user_ids, item_ids   str objects, sorted ascending; the rows and columns of `matrix`
    matrix               CSR float32 (users, items), distinct orders that contained the item
    """

    user_ids: ObjectArray
    item_ids: ObjectArray
    matrix: sparse.csr_matrix

    @classmethod
    def from_histories(cls, histories: Mapping[str, UserHistory]) -> Interactions:
        """Build one row for each user with a purchase. Raises TooLittleData when nobody
        bought anything."""
        buyers = {
            user: histories[user] for user in sorted(histories) if len(histories[user].item_ids)
        }
        if not buyers:
            raise TooLittleData(
                "no purchase before the cut names a user",
                hint="Import more history, or choose a later --until",
            )
        bought = np.concatenate([history.item_ids for history in buyers.values()])
        item_ids, columns = number_ids(bought)
        lengths = [len(history.item_ids) for history in buyers.values()]
        n_orders = np.concatenate([history.n_orders for history in buyers.values()])
        pointers = np.concatenate([[0], np.cumsum(lengths)])
        matrix = sparse.csr_matrix(
            (n_orders.astype(np.float32), columns, pointers), shape=(len(buyers), len(item_ids))
        )
        return cls(np.array(list(buyers), object), item_ids, matrix)

    def binarise(self) -> sparse.csr_matrix:
        """Return the matrix with 1 where the user bought the item."""
        return self.weigh("binary")

    def weigh(self, weighting: Weighting) -> sparse.csr_matrix:
        """Return the matrix with the weights of `weighting` in place of the numbers of orders."""
        weighted = self.matrix.copy()
        weighted.data = weigh_orders(weighted.data, weighting)
        return weighted


def weigh_orders(n_orders: Float32Array, weighting: Weighting) -> Float32Array:
    """Return the weight (n,) of each number of orders, all above 0.

    >>> weigh_orders(np.array([1.0, 3.0], np.float32), "log").round(3).tolist()
    [0.6930000185966492, 1.3860000371932983]
    """
    weigh: Mapping[Weighting, Callable[[Float32Array], Float32Array]] = {
        "binary": np.ones_like,
        "log": np.log1p,
        "orders": np.copy,
    }
    return weigh[weighting](n_orders)


def number_ids(ids: ObjectArray) -> tuple[ObjectArray, Int64Array]:
    """Return the distinct ids, sorted, and the number (n,) of each id among them.

    As `np.unique`, which sorts all of them, where there are few distinct ones among many.

    >>> number_ids(np.array(["b", "a", "b"], object))[1].tolist()
    [1, 0, 1]
    """
    distinct = np.array(sorted(set(ids.tolist())), object)
    index = {name: number for number, name in enumerate(distinct)}
    return distinct, find_positions(index, ids)


def find_positions(index: Mapping[str, int], ids: ObjectArray) -> Int64Array:
    """Return the position (n,) of each id in `index`, -1 where it is not there."""
    return np.fromiter(map(index.get, ids.tolist(), repeat(-1)), np.int64, len(ids))


def invert_positions(positions: Int64Array, n: int) -> Int64Array:
    """Return the row of `positions` that holds each of the n positions, -1 where none does.

    >>> invert_positions(np.array([2, -1, 0]), 4).tolist()
    [2, -1, 0, -1]
    """
    rows = np.full(n, -1, np.int64)
    known = positions >= 0
    rows[positions[known]] = np.flatnonzero(known)
    return rows


def find_entries(matrix: sparse.csr_matrix, rows: Int64Array) -> Int64Array:
    """Return the positions in `data` and `indices` of the entries of `rows`, row after row.

    >>> find_entries(sparse.csr_matrix([[0, 5], [0, 0], [6, 7]]), np.array([2, 0])).tolist()
    [1, 2, 0]
    """
    starts = matrix.indptr[rows].astype(np.int64)
    lengths = matrix.indptr[rows + 1] - starts
    firsts = np.cumsum(lengths) - lengths  # where each row begins in the result
    entries: Int64Array = np.arange(int(lengths.sum())) + np.repeat(starts - firsts, lengths)
    return entries


def scatter_scores(scores: Float32Array, positions: Int64Array, n: int) -> Float32Array:
    """Return the scores of a source's items at their positions among n, 0 elsewhere."""
    known = positions >= 0
    scattered = np.zeros(n, np.float32)
    scattered[positions[known]] = scores[known]
    return scattered


def select_items_by_buyers(matrix: sparse.csr_matrix, min_buyers: int) -> Int64Array:
    """Return the columns of a binary matrix that at least `min_buyers` users bought, else all."""
    columns = np.flatnonzero(np.asarray(matrix.sum(0)).ravel() >= min_buyers)
    return columns if len(columns) else np.arange(matrix.shape[1])
