"""Item-kNN: cosine between items by the users who bought them, or the orders that contain them.

Sarwar et al., "Item-based collaborative filtering recommendation algorithms", WWW 2001, as counted
by implicit.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from scipy import sparse

from features.contracts.arrays import Float32Array, Int64Array, ObjectArray
from models.artifact import read_arrays, read_meta, restore_matrix, write_matrix, write_meta
from models.retrieval.interactions import find_entries

KIND = "item_knn"


@dataclass(frozen=True)
class ItemKnnConfig:
    """How the neighbours are fitted.

    n_neighbors   neighbours of each item, the highest cosines
    min_baskets   an item in fewer baskets has none: they would be chance
    """

    n_neighbors: int = 100
    min_baskets: int = 3


class ItemKnn:
    """Fitted neighbours.

    item_ids      str objects, sorted
    similarity    CSR float32 (items, items), at most n_neighbors a row, no diagonal
    """

    def __init__(self, item_ids: ObjectArray, similarity: sparse.csr_matrix) -> None:
        self.item_ids = item_ids
        self.similarity = similarity

    def score(self, rows: Int64Array) -> Float32Array:
        """Return the sum of similarities (n_items,) of every item to the items at `rows`."""
        scores = np.zeros(len(self.item_ids), np.float32)
        entries = find_entries(self.similarity, rows)
        np.add.at(scores, self.similarity.indices[entries], self.similarity.data[entries])
        return scores

    def save(self, folder: Path) -> None:
        """Write `model.json` and `similarity.npz`."""
        write_meta(folder, KIND, {"n_items": len(self.item_ids)})
        write_matrix(folder / "similarity.npz", self.similarity, item_ids=self.item_ids)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        n = read_meta(folder, KIND)["n_items"]
        arrays = read_arrays(folder / "similarity.npz")
        return cls(arrays["item_ids"], restore_matrix(arrays, n))


def fit_item_knn(
    item_ids: ObjectArray, matrix: sparse.csr_matrix, config: ItemKnnConfig
) -> ItemKnn:
    """Fit on a binary CSR (baskets, items), where a basket is a user or an order."""
    from implicit.nearest_neighbours import CosineRecommender  # a server fits nothing

    fitted_items = np.flatnonzero(np.asarray(matrix.sum(0)).ravel() >= config.min_baskets)
    model = CosineRecommender(K=config.n_neighbors + 1)
    model.fit(matrix[:, fitted_items].tocsr().astype(np.float64), show_progress=False)
    similarity = model.similarity.tocsr().astype(np.float32)
    similarity.setdiag(0)
    similarity.eliminate_zeros()
    similarity.sort_indices()
    return ItemKnn(item_ids[fitted_items], similarity)
