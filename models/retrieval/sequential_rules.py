"""Sequential rules: what was looked at after an item within a visit, the sooner the stronger.

Ludewig and Jannach, "Evaluation of session-based recommendation algorithms", UMUAI 2018. With
`max_steps` 1 they are the Markov chain of first order.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from scipy import sparse

from features.contracts.arrays import Float32Array, Float64Array, Int64Array
from features.contracts.visits import Visits
from models.artifact import read_arrays, read_meta, restore_matrix, write_matrix, write_meta

KIND = "sequential_rules"


@dataclass(frozen=True)
class SequentialRulesConfig:
    """How rules are counted.

    max_steps     actions that may lie between an item and its follower; each counts 1 / steps
    n_followers   followers of each item, the strongest
    prior         imagined followers of each item that nobody looked at: they keep rare ones low
    """

    max_steps: int = 10
    n_followers: int = 200
    prior: float = 5.0


class SequentialRules:
    """Fitted rules.

    strength   CSR float32 (items, items): the share of an item's followers that each one has
    """

    def __init__(self, strength: sparse.csr_matrix) -> None:
        self._strength = strength

    def score(self, viewed: Int64Array) -> Float32Array:
        """Return the strength (n_items,) of the rules from the latest item."""
        scores = np.zeros(self._strength.shape[1], np.float32)
        rules = slice(*self._strength.indptr[viewed[0] : viewed[0] + 2])
        scores[self._strength.indices[rules]] = self._strength.data[rules]
        return scores

    def save(self, folder: Path) -> None:
        """Write `model.json` and `rules.npz`."""
        write_meta(folder, KIND, {"n_items": self._strength.shape[0]})
        write_matrix(folder / "rules.npz", self._strength)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        n, arrays = read_meta(folder, KIND)["n_items"], read_arrays(folder / "rules.npz")
        return cls(restore_matrix(arrays, n))


def fit_sequential_rules(visits: Visits, config: SequentialRulesConfig) -> SequentialRules:
    """Fit on past visits; an item that is looked at again follows itself."""
    counts = count_followers(visits, 1.0 / np.arange(1, config.max_steps + 1))
    totals = np.asarray(counts.sum(1)).ravel()
    counts.data /= np.repeat(totals + config.prior, np.diff(counts.indptr))
    return SequentialRules(keep_largest(counts, config.n_followers).astype(np.float32))


def count_followers(visits: Visits, weights: Float64Array) -> sparse.csr_matrix:
    """Return how often each item followed each other, CSR float64 (items, items).

    weights   (steps,), what a follower after 1, 2, ... steps counts
    """
    n_items, items = len(visits.item_ids), visits.items
    visit = np.repeat(np.arange(len(visits)), visits.lengths)
    counts = sparse.csr_matrix((n_items, n_items), dtype=np.float64)
    for steps, weight in enumerate(weights.tolist(), start=1):
        together = visit[steps:] == visit[:-steps]
        if not together.any():
            break
        pairs = (items[:-steps][together], items[steps:][together])
        counts += sparse.csr_matrix((np.full(len(pairs[0]), weight), pairs), counts.shape)
    return counts


def keep_largest(matrix: sparse.csr_matrix, n: int) -> sparse.csr_matrix:
    """Return the matrix with the n largest entries of each row, the first of equal ones."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((matrix.indices, -matrix.data, rows))
    rank = np.arange(len(order)) - matrix.indptr[rows[order]]
    kept = order[rank < n]
    largest = sparse.csr_matrix(
        (matrix.data[kept], (rows[kept], matrix.indices[kept])), shape=matrix.shape
    )
    largest.sort_indices()
    return largest
