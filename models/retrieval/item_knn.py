"""Item-kNN: cosine between items by who bought them, or by the orders that held them.

Sarwar et al., "Item-based collaborative filtering recommendation algorithms", WWW 2001; shrunken as in Deshpande and
Karypis, TOIS 2004.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy import sparse

from models.artifact import read_arrays, read_meta, write_arrays, write_meta

KIND = "item_knn"
_BLOCK = 2000


@dataclass(frozen=True)
class ItemKnnConfig:
    """`n_neighbors` kept per item; `shrinkage` is added to the denominator, against chance between rare items."""

    n_neighbors: int = 100
    shrinkage: float = 10.0


class ItemKnn:
    """Fitted neighbours.

    item_ids      str objects, sorted
    similarity    CSR float32 (items, items), at most n_neighbors a row, no diagonal
    """

    def __init__(self, item_ids: npt.NDArray[np.object_], similarity: sparse.csr_matrix) -> None:
        self.item_ids = item_ids
        self.similarity = similarity

    def score(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Summed similarity of all items (n_items,) to the items at `rows`."""
        scores = np.zeros(len(self.item_ids), np.float32)
        for row in rows.tolist():
            span = slice(self.similarity.indptr[row], self.similarity.indptr[row + 1])
            scores[self.similarity.indices[span]] += self.similarity.data[span]
        return scores

    def save(self, folder: Path) -> None:
        """Writes `model.json` and `similarity.npz`."""
        write_meta(folder, KIND, {"n_items": len(self.item_ids)})
        write_arrays(
            folder / "similarity.npz",
            item_ids=self.item_ids,
            data=self.similarity.data,
            indices=self.similarity.indices,
            indptr=self.similarity.indptr,
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote."""
        n = read_meta(folder, KIND)["n_items"]
        arrays = read_arrays(folder / "similarity.npz")
        return cls(
            arrays["item_ids"], sparse.csr_matrix((arrays["data"], arrays["indices"], arrays["indptr"]), shape=(n, n))
        )


def fit_item_knn(item_ids: npt.NDArray[np.object_], matrix: sparse.csr_matrix, config: ItemKnnConfig) -> ItemKnn:
    """Fits on a binary CSR (baskets, items), where a basket is a user or an order."""
    by_item = matrix.T.tocsr()
    norms = np.sqrt(np.asarray(by_item.sum(1)).ravel())
    rows, columns, values = [], [], []
    for start in range(0, by_item.shape[0], _BLOCK):
        block = (by_item[start : start + _BLOCK] @ matrix).tocsr()
        for offset in range(block.shape[0]):
            row = start + offset
            span = slice(block.indptr[offset], block.indptr[offset + 1])
            others, together = block.indices[span], block.data[span]
            kept = others != row
            others, together = others[kept], together[kept]
            similar = together / (norms[row] * norms[others] + config.shrinkage)
            if len(others) > config.n_neighbors:
                best = np.lexsort((others, -similar))[: config.n_neighbors]
                others, similar = others[best], similar[best]
            rows.append(np.full(len(others), row, np.int32))
            columns.append(others)
            values.append(similar.astype(np.float32))
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return ItemKnn(item_ids, sparse.csr_matrix(entries, shape=(len(item_ids), len(item_ids))))
