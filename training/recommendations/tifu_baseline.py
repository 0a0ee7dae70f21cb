"""TIFU-kNN as a baseline, for the users that it is fitted on: nobody is their own neighbour.

The one that serves, of any user's purchases, is models/retrieval/tifu_knn.py.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from features.contracts.arrays import Float32Array, Int64Array
from models.retrieval.tifu_knn import TifuKnnConfig


class TifuKnn:
    """The vectors of all users, CSR float32 (users, items)."""

    def __init__(self, vectors: sparse.csr_matrix, config: TifuKnnConfig) -> None:
        self._vectors, self._config = vectors, config
        squares = np.asarray(vectors.multiply(vectors).sum(1), np.float64).ravel()
        scale = sparse.diags(1 / np.sqrt(np.maximum(squares, 1e-12))).astype(np.float32)
        self._units = (scale @ vectors).tocsr()
        self._units_by_item = self._units.T.tocsr()

    def score(self, rows: Int64Array) -> Float32Array:
        """Return the scores (rows, items) of all items for the users at `rows`."""
        n_users = self._vectors.shape[0]
        n_neighbors = min(self._config.n_neighbors, n_users - 1)
        own = self._vectors[rows]
        if n_neighbors < 1:
            return np.asarray(own.toarray(), np.float32)
        similarity = (self._units[rows] @ self._units_by_item).toarray()
        similarity[np.arange(len(rows)), rows] = -1.0
        nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :n_neighbors]
        pointers = np.arange(0, nearest.size + 1, n_neighbors)
        share = np.full(nearest.size, 1 / n_neighbors, np.float32)
        means = sparse.csr_matrix((share, nearest.ravel(), pointers), (len(rows), n_users))
        weight = self._config.own_weight
        mixed = own * weight + (means @ self._vectors) * (1 - weight)
        return np.asarray(mixed.toarray(), np.float32)
