"""Co-purchase association: what stands in one order with the items at hand, by support, confidence
and lift.

Agrawal, Imielinski, Swami, "Mining Association Rules between Sets of Items in Large Databases",
SIGMOD 1993. A rule a -> b is scored by its confidence, shrunk towards the share of orders that hold
b, times the logarithm of its lift.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from scipy import sparse

from features.contracts.arrays import Float32Array, Float64Array, Int64Array, ObjectArray
from models.artifact import read_arrays, read_meta, write_arrays, write_meta

KIND = "association"

# Columns of the pair counts that are held at once: the whole product of a large catalogue does not
# fit in memory.
_BLOCK = 4096


@dataclass(frozen=True)
class AssociationConfig:
    """`prior`: imagined orders with `a` in which `b` is as frequent as anywhere; `min_pairs`:
    orders that hold both.

    An order of more than `max_lines` items counts by `max_lines` of them, evenly spaced: pairs grow
    with the square.
    """

    prior: float = 10.0
    min_pairs: int = 2
    n_neighbors: int = 300
    max_lines: int = 100


@dataclass(frozen=True)
class Evidence:
    """Of a -> b: share of orders with both, share of those with a that hold b, and that over the
    share that hold b."""

    support: float
    confidence: float
    lift: float


class Association:
    """Fitted rules.

    item_ids   str objects, sorted
    pairs      CSR float32 (items, items): orders that held both, the strongest rules of each row,
               no diagonal
    counts     float64 (items,): orders that held the item
    n_orders   orders in all
    """

    def __init__(
        self,
        item_ids: ObjectArray,
        pairs: sparse.csr_matrix,
        counts: Float64Array,
        n_orders: int,
        prior: float,
    ) -> None:
        self.item_ids = item_ids
        self.pairs = pairs
        self.counts = counts
        self.n_orders = n_orders
        self._prior = prior
        of = np.repeat(np.arange(len(item_ids)), np.diff(pairs.indptr))
        data = _strength(pairs.data, counts[of], counts[pairs.indices], n_orders, prior)
        self.strength = sparse.csr_matrix((data, pairs.indices, pairs.indptr), pairs.shape)

    def score(self, rows: Int64Array) -> Float32Array:
        """Summed strength of the rules from the items at `rows` to all items (n_items,)."""
        return self.sum_and_strongest(rows)[0]

    def sum_and_strongest(self, rows: Int64Array) -> tuple[Float32Array, Float32Array]:
        """Sum and maximum of the rules' strengths, each (n_items,), 0 where there is no rule."""
        summed = np.zeros(len(self.item_ids), np.float32)
        strongest = summed.copy()
        for row in rows:
            own = slice(self.strength.indptr[row], self.strength.indptr[row + 1])
            at, data = self.strength.indices[own], self.strength.data[own]
            summed[at] += data
            strongest[at] = np.maximum(strongest[at], data)
        return summed, strongest

    def find_evidence(self, row: int, to: int) -> Evidence | None:
        """Support, confidence and lift of one rule, unshrunk; None where none was kept."""
        own = slice(self.pairs.indptr[row], self.pairs.indptr[row + 1])
        found = np.flatnonzero(self.pairs.indices[own] == to)
        if not len(found):
            return None
        both = float(self.pairs.data[own][found[0]])
        confidence = both / float(self.counts[row])
        return Evidence(
            both / self.n_orders, confidence, confidence * self.n_orders / float(self.counts[to])
        )

    def save(self, folder: Path) -> None:
        """Writes `model.json` and `pairs.npz`."""
        write_meta(folder, KIND, {"n_orders": self.n_orders, "prior": self._prior})
        write_arrays(
            folder / "pairs.npz",
            item_ids=self.item_ids,
            counts=self.counts,
            data=self.pairs.data,
            indices=self.pairs.indices,
            indptr=self.pairs.indptr,
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote."""
        meta, arrays = read_meta(folder, KIND), read_arrays(folder / "pairs.npz")
        n = len(arrays["item_ids"])
        pairs = sparse.csr_matrix(
            (arrays["data"], arrays["indices"], arrays["indptr"]), shape=(n, n)
        )
        return cls(arrays["item_ids"], pairs, arrays["counts"], meta["n_orders"], meta["prior"])


def fit_association(
    item_ids: ObjectArray, matrix: sparse.csr_matrix, config: AssociationConfig
) -> Association:
    """Fits on a binary CSR (orders, items)."""
    counts = np.asarray(matrix.sum(0), np.float64).ravel()
    held = _capped(matrix, config.max_lines)
    by_item = held.T.tocsr()
    blocks = [
        _strongest(by_item[start : start + _BLOCK] @ held, start, counts, matrix.shape[0], config)
        for start in range(0, matrix.shape[1], _BLOCK)
    ]
    pairs = sparse.vstack(blocks, format="csr", dtype=np.float32)
    return Association(item_ids, pairs, counts, matrix.shape[0], config.prior)


def _strength(
    both: Float32Array,
    of: Float64Array,
    to: Float64Array,
    n_orders: int,
    prior: float,
) -> Float32Array:
    """Shrunken confidence times the logarithm of its lift; 0 for a rule that says less than
    chance."""
    chance = to / max(n_orders, 1)
    confidence = (both + prior * chance) / (of + prior)
    return np.asarray(confidence * np.log(np.maximum(confidence / chance, 1.0)), np.float32)


def _capped(matrix: sparse.csr_matrix, max_lines: int) -> sparse.csr_matrix:
    """The same orders, each with at most `max_lines` items, evenly spaced among those it held."""
    matrix = matrix.astype(np.float32).tocsr()
    lengths = np.diff(matrix.indptr)
    if lengths.max(initial=0) <= max_lines:
        return matrix
    place = np.arange(matrix.nnz) - np.repeat(matrix.indptr[:-1], lengths)
    length = np.repeat(lengths, lengths)
    # Of n lines the k-th is kept where k * max_lines / n passes a whole number.
    kept = (length <= max_lines) | ((place + 1) * max_lines // length > place * max_lines // length)
    pointers = np.concatenate([[0], np.cumsum(np.minimum(lengths, max_lines))])
    return sparse.csr_matrix((matrix.data[kept], matrix.indices[kept], pointers), matrix.shape)


def _strongest(
    pairs: sparse.csr_matrix,
    start: int,
    counts: Float64Array,
    n_orders: int,
    config: AssociationConfig,
) -> sparse.csr_matrix:
    """Of each row of the block that begins at item `start`: the `n_neighbors` strongest rules of
    enough orders."""
    n_rows = pairs.shape[0]
    of = np.repeat(np.arange(n_rows), np.diff(pairs.indptr))
    kept = (pairs.data >= config.min_pairs) & (pairs.indices != of + start)
    of, to, both = of[kept], pairs.indices[kept], pairs.data[kept]
    strength = _strength(both, counts[of + start], counts[to], n_orders, config.prior)
    order = np.lexsort((to, -strength, of))
    first = np.searchsorted(of[order], np.arange(n_rows))
    place = np.arange(len(order)) - first[of[order]]
    order = order[(place < config.n_neighbors) & (strength[order] > 0)]
    block = sparse.csr_matrix((both[order], (of[order], to[order])), shape=pairs.shape)
    block.sort_indices()
    return block
