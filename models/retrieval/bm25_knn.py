"""Item-kNN on orders weighted by BM25, in which an item is its own neighbour too.

Robertson and Walker, Some simple effective approximations to the 2-Poisson model, SIGIR 1994, as
counted by implicit.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from scipy import sparse

from features.contracts.arrays import Float32Array, ObjectArray
from models.artifact import read_arrays, read_meta, restore_matrix, write_matrix, write_meta
from models.retrieval.interactions import Interactions, Weighting, find_entries, weigh_orders
from models.retrieval.purchase_method import KnownPurchases

KIND = "bm25_knn"


@dataclass(frozen=True)
class Bm25KnnConfig:
    """How the neighbours are fitted and what a user's orders count.

    k1, b   how fast the weight of more orders saturates, and how much a long history is divided
    """

    n_neighbors: int = 100
    k1: float = 1.2
    b: float = 0.75
    weighting: Weighting = "orders"


class Bm25Knn:
    """Fitted neighbours.

    item_ids     str objects, sorted
    similarity   CSR float32 (items, items), with the diagonal
    weighting    of a user's orders
    """

    def __init__(
        self, item_ids: ObjectArray, similarity: sparse.csr_matrix, weighting: Weighting
    ) -> None:
        self.item_ids = item_ids
        self.similarity = similarity
        self.weighting: Weighting = weighting

    def score_purchases(self, purchases: KnownPurchases) -> Float32Array:
        """Return the weighted sums of similarities (n_items,) of all items."""
        scores = np.zeros(len(self.item_ids), np.float32)
        weights = weigh_orders(purchases.n_orders, self.weighting)
        entries = find_entries(self.similarity, purchases.rows)
        lengths = np.diff(self.similarity.indptr)[purchases.rows]
        values = self.similarity.data[entries] * np.repeat(weights, lengths)
        np.add.at(scores, self.similarity.indices[entries], values)
        return scores

    def save(self, folder: Path) -> None:
        """Write `model.json` and `similarity.npz`."""
        write_meta(folder, KIND, {"n_items": len(self.item_ids), "weighting": self.weighting})
        write_matrix(folder / "similarity.npz", self.similarity, item_ids=self.item_ids)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        meta, arrays = read_meta(folder, KIND), read_arrays(folder / "similarity.npz")
        similarity = restore_matrix(arrays, meta["n_items"])
        return cls(arrays["item_ids"], similarity, meta["weighting"])


def fit_bm25_knn(interactions: Interactions, config: Bm25KnnConfig) -> Bm25Knn:
    """Fit on the orders of users."""
    from implicit.nearest_neighbours import ItemItemRecommender, bm25_weight  # not for a server

    orders = interactions.matrix.T.astype(np.float64)  # (items, users)
    model = ItemItemRecommender(K=config.n_neighbors)
    model.fit(bm25_weight(orders, config.k1, config.b).T.tocsr(), show_progress=False)
    similarity = model.similarity.tocsr().astype(np.float32)
    return Bm25Knn(interactions.item_ids, similarity, config.weighting)
