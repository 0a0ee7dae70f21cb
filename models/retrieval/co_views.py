"""Co-views: cosine between items by the visits that looked at both.

Item-kNN as in models/retrieval/item_knn.py, with visits for baskets and the latest item first.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from scipy import sparse

from features.contracts.arrays import Float32Array, Int64Array
from features.contracts.visits import Visits
from models.artifact import read_arrays, read_meta, restore_matrix, write_matrix, write_meta
from models.retrieval.sequential_rules import keep_largest
from models.retrieval.session_knn import list_distinct_items

KIND = "co_views"
_BLOCK = 4096  # items whose pairs are counted at a time


@dataclass(frozen=True)
class CoViewsConfig:
    """How neighbours are fitted.

    n_neighbors   neighbours of each item, the highest cosines
    prior         visits that are added to those of each item: one visit alone proves little
    max_viewed    items of the present visit whose neighbours count; the k-th latest counts 1 / k
    max_items     a visit of more distinct items, as of a robot, does not count
    """

    n_neighbors: int = 200
    prior: float = 2.0
    max_viewed: int = 10
    max_items: int = 200


class CoViews:
    """Fitted neighbours; `cosine` is CSR float32 (items, items) without a diagonal."""

    def __init__(self, cosine: sparse.csr_matrix, max_viewed: int) -> None:
        self.cosine, self._max_viewed = cosine, max_viewed

    def score(self, viewed: Int64Array) -> Float32Array:
        """Return the sum (n_items,) of cosines to the viewed items, the latest first."""
        scores = np.zeros(self.cosine.shape[1], np.float32)
        for number, row in enumerate(viewed[: self._max_viewed], start=1):
            neighbors = slice(*self.cosine.indptr[row : row + 2])
            scores[self.cosine.indices[neighbors]] += self.cosine.data[neighbors] / number
        return scores

    def save(self, folder: Path) -> None:
        """Write `model.json` and `cosine.npz`."""
        meta = {"n_items": self.cosine.shape[0], "max_viewed": self._max_viewed}
        write_meta(folder, KIND, meta)
        write_matrix(folder / "cosine.npz", self.cosine)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        meta, arrays = read_meta(folder, KIND), read_arrays(folder / "cosine.npz")
        return cls(restore_matrix(arrays, meta["n_items"]), meta["max_viewed"])


def fit_co_views(visits: Visits, config: CoViewsConfig) -> CoViews:
    """Fit on past visits."""
    pairs = list_distinct_items(visits)
    n_distinct = np.bincount(pairs[:, 0], minlength=len(visits))
    pairs = pairs[n_distinct[pairs[:, 0]] <= config.max_items]
    ones = np.ones(len(pairs), np.float32)
    shape = (len(visits), len(visits.item_ids))
    matrix = sparse.csr_matrix((ones, (pairs[:, 0], pairs[:, 1])), shape=shape)
    scale = 1.0 / np.sqrt(np.asarray(matrix.sum(0)).ravel() + config.prior)
    by_item = matrix.T.tocsr()
    blocks = []
    for start in range(0, shape[1], _BLOCK):
        counts = (by_item[start : start + _BLOCK] @ matrix).tocsr()
        rows = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr)) + start
        counts.data = counts.data * scale[rows] * scale[counts.indices]
        counts.data[counts.indices == rows] = 0
        counts.eliminate_zeros()
        blocks.append(keep_largest(counts, config.n_neighbors))
    cosine = sparse.vstack(blocks, format="csr") if blocks else sparse.csr_matrix((0, 0))
    return CoViews(cosine.astype(np.float32), config.max_viewed)
