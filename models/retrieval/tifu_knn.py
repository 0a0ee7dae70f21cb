"""TIFU-kNN that serves: what a user bought, decayed, mixed with what the nearest users bought.

Hu, He, Gao and Zhang, Modeling Personalized Item Frequency Information for Next-basket
Recommendation, SIGIR 2020. Weights decay by week, and the nearest users are those of the highest
cosine. Whose purchases it was fitted on is not kept: the past of the user is one of the nearest.

    U  users that it was fitted on      N  items
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from scipy import sparse

from features.contracts.arrays import Float32Array, ObjectArray
from features.contracts.histories import UserHistory
from models.artifact import read_arrays, read_meta, restore_matrix, write_matrix, write_meta
from models.compiled.top_items import top_positions
from models.retrieval.interactions import Interactions, find_entries
from models.retrieval.purchase_method import KnownPurchases

KIND = "tifu_knn"


@dataclass(frozen=True)
class TifuKnnConfig:
    """The weights of a user's own purchases and of the neighbours'.

    own_weight   share of the user's own vector; the mean of the neighbours' has the rest
    """

    decay_per_week: float = 0.96
    n_neighbors: int = 100
    own_weight: float = 0.8


class TifuKnn:
    """Fitted vectors.

    item_ids   str objects, sorted
    vectors    CSR float32 (U, N), decayed orders
    """

    def __init__(
        self, item_ids: ObjectArray, vectors: sparse.csr_matrix, config: TifuKnnConfig
    ) -> None:
        self.item_ids = item_ids
        self.vectors = vectors
        self._config = config

    @cached_property
    def _units_by_item(self) -> sparse.csr_matrix:
        """The vectors of length 1, by item (N, U)."""
        squares = np.asarray(self.vectors.multiply(self.vectors).sum(1), np.float64).ravel()
        scale = sparse.diags(1 / np.sqrt(np.maximum(squares, 1e-12))).astype(np.float32)
        return (scale @ self.vectors).T.tocsr()

    def score_purchases(self, purchases: KnownPurchases) -> Float32Array:
        """Return the scores (N,) of all items, 0 where neither the user nor a neighbour bought."""
        scores = np.zeros(len(self.item_ids), np.float32)
        own = purchases.decay(self._config.decay_per_week)
        if not len(own):
            return scores
        row = sparse.csr_matrix((own, purchases.rows, [0, len(own)]), shape=(1, len(self.item_ids)))
        similarity = (row @ self._units_by_item).toarray()[0]  # (U,), cosines times one length
        nearest = top_positions(similarity, self._config.n_neighbors)
        entries = find_entries(self.vectors, nearest)
        np.add.at(scores, self.vectors.indices[entries], self.vectors.data[entries])
        scores *= (1 - self._config.own_weight) / max(len(nearest), 1)
        scores[purchases.rows] += self._config.own_weight * own
        return scores

    def save(self, folder: Path) -> None:
        """Write `model.json` and `vectors.npz`."""
        write_meta(folder, KIND, {"n_users": self.vectors.shape[0], **asdict(self._config)})
        write_matrix(folder / "vectors.npz", self.vectors, item_ids=self.item_ids)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        meta, arrays = read_meta(folder, KIND), read_arrays(folder / "vectors.npz")
        config = TifuKnnConfig(meta["decay_per_week"], meta["n_neighbors"], meta["own_weight"])
        vectors = restore_matrix(arrays, len(arrays["item_ids"]))
        return cls(arrays["item_ids"], vectors, config)


def fit_tifu_knn(
    interactions: Interactions, histories: Mapping[str, UserHistory], config: TifuKnnConfig
) -> TifuKnn:
    """Fit on the histories of the users of `interactions`."""
    vectors = interactions.matrix.copy()
    pointers = vectors.indptr
    for user_id, start, end in zip(interactions.user_ids, pointers[:-1], pointers[1:], strict=True):
        rows = vectors.indices[start:end].astype(np.int64)
        purchases = KnownPurchases.select(histories[user_id], rows)
        vectors.data[start:end] = purchases.decay(config.decay_per_week)
    return TifuKnn(interactions.item_ids, vectors, config)
