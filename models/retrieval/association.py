"""Association rules between items of one order, by support, confidence and lift.

Agrawal, Imielinski, Swami, "Mining Association Rules between Sets of Items in Large Databases",
SIGMOD 1993. The strength of a rule a -> b is its confidence, shrunk towards the share of orders
that contain b, times the logarithm of its lift.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from scipy import sparse

from features.contracts.arrays import Float32Array, Float64Array, Int64Array, ObjectArray
from models.artifact import read_arrays, read_meta, write_arrays, write_meta
from models.retrieval.interactions import find_entries

KIND = "association"

# Items whose pairs are counted at a time: those of a whole large catalogue do not fit in memory.
_BLOCK = 4096


@dataclass(frozen=True)
class AssociationConfig:
    """How the rules are fitted.

    prior         imagined orders with a in which b is as frequent as in all orders
    min_pairs     orders with both that a rule needs
    n_neighbors   rules of each item, the strongest
    max_lines     a longer order counts by so many of its items, evenly spaced: the number of pairs
                  grows with the square
    """

    prior: float = 10.0
    min_pairs: int = 2
    n_neighbors: int = 300
    max_lines: int = 100


@dataclass(frozen=True)
class Evidence:
    """Evidence of a rule a -> b.

    support      share of all orders that contain both
    confidence   share of the orders with a that contain b
    lift         confidence over the share of all orders that contain b
    """

    support: float
    confidence: float
    lift: float


class Association:
    """Fitted rules.

    item_ids   str objects, sorted
    pairs      CSR float32 (items, items): orders with both, for the strongest rules of each row; no
               diagonal
    counts     float64 (items,): orders with the item
    n_orders   all orders
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
        row = np.repeat(np.arange(len(item_ids)), np.diff(pairs.indptr))
        data = _compute_strength(pairs.data, counts[row], counts[pairs.indices], n_orders, prior)
        self.strength = sparse.csr_matrix((data, pairs.indices, pairs.indptr), pairs.shape)

    def score(self, rows: Int64Array) -> Float32Array:
        """Return the summed strength (n_items,) of the rules from the items at `rows`."""
        return self.sum_and_strongest(rows)[0]

    def sum_and_strongest(self, rows: Int64Array) -> tuple[Float32Array, Float32Array]:
        """Return sum and maximum of the strengths of the rules from the items at `rows`.

        Both are (n_items,), 0 where there is no rule.
        """
        total = np.zeros(len(self.item_ids), np.float32)
        strongest = total.copy()
        rules = find_entries(self.strength, rows)
        targets, strengths = self.strength.indices[rules], self.strength.data[rules]
        np.add.at(total, targets, strengths)
        np.maximum.at(strongest, targets, strengths)
        return total, strongest

    def find_evidence(self, row: int, target: int) -> Evidence | None:
        """Return support, confidence and lift of one rule, not shrunk; None where there is none."""
        rules = slice(self.pairs.indptr[row], self.pairs.indptr[row + 1])
        matches = np.flatnonzero(self.pairs.indices[rules] == target)
        if not len(matches):
            return None
        n_both = float(self.pairs.data[rules][matches[0]])
        confidence = n_both / float(self.counts[row])
        lift = confidence * self.n_orders / float(self.counts[target])
        return Evidence(n_both / self.n_orders, confidence, lift)

    def save(self, folder: Path) -> None:
        """Write `model.json` and `pairs.npz`."""
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
        """Read what `save` wrote."""
        meta, arrays = read_meta(folder, KIND), read_arrays(folder / "pairs.npz")
        n = len(arrays["item_ids"])
        pairs = sparse.csr_matrix(
            (arrays["data"], arrays["indices"], arrays["indptr"]), shape=(n, n)
        )
        return cls(arrays["item_ids"], pairs, arrays["counts"], meta["n_orders"], meta["prior"])


def fit_association(
    item_ids: ObjectArray, matrix: sparse.csr_matrix, config: AssociationConfig
) -> Association:
    """Fit on a binary CSR (orders, items)."""
    counts = np.asarray(matrix.sum(0), np.float64).ravel()
    orders = _shorten_orders(matrix, config.max_lines)
    by_item = orders.T.tocsr()
    blocks = []
    for start in range(0, matrix.shape[1], _BLOCK):
        pairs = by_item[start : start + _BLOCK] @ orders
        blocks.append(_select_strongest(pairs, start, counts, matrix.shape[0], config))
    strongest = sparse.vstack(blocks, format="csr", dtype=np.float32)
    return Association(item_ids, strongest, counts, matrix.shape[0], config.prior)


def _compute_strength(
    n_both: Float32Array,
    n_source: Float64Array,
    n_target: Float64Array,
    n_orders: int,
    prior: float,
) -> Float32Array:
    """Return the strength of rules; 0 where source and target meet no more often than by chance.

    n_both, n_source, n_target   orders with both items, with the source, and with the target
    """
    chance = n_target / max(n_orders, 1)
    confidence = (n_both + prior * chance) / (n_source + prior)
    return np.asarray(confidence * np.log(np.maximum(confidence / chance, 1.0)), np.float32)


def _shorten_orders(matrix: sparse.csr_matrix, max_lines: int) -> sparse.csr_matrix:
    """Return the same orders, each with at most `max_lines` of its items, evenly spaced."""
    matrix = matrix.astype(np.float32).tocsr()
    lengths = np.diff(matrix.indptr)
    if lengths.max(initial=0) <= max_lines:
        return matrix
    line = np.arange(matrix.nnz) - np.repeat(matrix.indptr[:-1], lengths)  # from 0, in its order
    length = np.repeat(lengths, lengths)
    # Of n lines the k-th is chosen where k * max_lines / n passes a whole number.
    is_chosen = (line + 1) * max_lines // length > line * max_lines // length
    is_chosen |= length <= max_lines
    pointers = np.concatenate([[0], np.cumsum(np.minimum(lengths, max_lines))])
    data, columns = matrix.data[is_chosen], matrix.indices[is_chosen]
    return sparse.csr_matrix((data, columns, pointers), matrix.shape)


def _select_strongest(
    pairs: sparse.csr_matrix,
    start: int,
    counts: Float64Array,
    n_orders: int,
    config: AssociationConfig,
) -> sparse.csr_matrix:
    """Return the `n_neighbors` strongest rules with enough orders of each row of `pairs`.

    `pairs` is a block of rows that begins at item `start`.
    """
    n_rows = pairs.shape[0]
    source = np.repeat(np.arange(n_rows), np.diff(pairs.indptr))
    is_rule = (pairs.data >= config.min_pairs) & (pairs.indices != source + start)
    source, target, n_both = source[is_rule], pairs.indices[is_rule], pairs.data[is_rule]
    strength = _compute_strength(
        n_both, counts[source + start], counts[target], n_orders, config.prior
    )
    order = np.lexsort((target, -strength, source))
    first = np.searchsorted(source[order], np.arange(n_rows))
    rank = np.arange(len(order)) - first[source[order]]  # from 0, within the row
    order = order[(rank < config.n_neighbors) & (strength[order] > 0)]
    block = sparse.csr_matrix((n_both[order], (source[order], target[order])), shape=pairs.shape)
    block.sort_indices()
    return block
