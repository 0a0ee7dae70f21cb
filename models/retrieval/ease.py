"""EASE: one ridge regression of every item on all others, in closed form.

Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019. The weights are pruned to the strongest of each
row, which keeps answers quick and the artifact small.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse

from models.artifact import read_arrays, read_meta, write_arrays, write_meta
from models.retrieval.interactions import Interactions

KIND = "ease"


@dataclass(frozen=True)
class EaseConfig:
    """`n_items`: the most bought items that take part; `l2`: ridge penalty; `n_weights`: weights kept per item."""

    n_items: int = 8000
    l2: float = 500.0
    n_weights: int = 400


class Ease:
    """Fitted weights between items.

    item_ids   str objects, sorted
    weights    CSR float32 (items, items): row = what was bought, column = what it speaks for; the diagonal is empty
    """

    def __init__(self, item_ids: npt.NDArray[np.object_], weights: sparse.csr_matrix) -> None:
        self.item_ids = item_ids
        self.weights = weights

    def score(self, rows: npt.NDArray[np.int64], values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Scores of all items (n_items,) for one user who holds items `rows` with weight `values`."""
        scores = np.zeros(len(self.item_ids), np.float32)
        indptr, indices, data = self.weights.indptr, self.weights.indices, self.weights.data
        for row, value in zip(rows.tolist(), values.tolist(), strict=True):
            span = slice(indptr[row], indptr[row + 1])
            scores[indices[span]] += value * data[span]
        return scores

    def save(self, folder: Path) -> None:
        """Writes `model.json` and `weights.npz`."""
        write_meta(folder, KIND, {"n_items": len(self.item_ids)})
        write_arrays(
            folder / "weights.npz",
            item_ids=self.item_ids,
            data=self.weights.data,
            indices=self.weights.indices,
            indptr=self.weights.indptr,
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote."""
        n_items = read_meta(folder, KIND)["n_items"]
        arrays = read_arrays(folder / "weights.npz")
        shape = (n_items, n_items)
        return cls(arrays["item_ids"], sparse.csr_matrix((arrays["data"], arrays["indices"], arrays["indptr"]), shape))


def fit_ease(interactions: Interactions, config: EaseConfig) -> Ease:
    """Fits on the `n_items` items with the most buyers; float32 on the GPU when there is one."""
    matrix = interactions.binary()
    buyers = np.asarray(matrix.sum(0)).ravel()
    kept = np.sort(np.argsort(-buyers, kind="stable")[: config.n_items])
    matrix = matrix[:, kept]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    gram = torch.from_numpy((matrix.T @ matrix).toarray()).to(device)
    gram.diagonal().add_(config.l2)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
    del gram
    weights = inverse.div_(-inverse.diagonal().clone()).fill_diagonal_(0).cpu().numpy()
    return Ease(interactions.item_ids[kept], _pruned(weights, config.n_weights))


def _pruned(weights: npt.NDArray[np.float32], n_kept: int) -> sparse.csr_matrix:
    """The `n_kept` weights of largest magnitude in each row."""
    n = len(weights)
    if n_kept >= n:
        return sparse.csr_matrix(weights)
    columns = np.sort(np.argpartition(-np.abs(weights), n_kept, axis=1)[:, :n_kept], axis=1)
    data = np.take_along_axis(weights, columns, axis=1)
    pruned = sparse.csr_matrix(
        (data.ravel(), columns.ravel().astype(np.int32), np.arange(0, n * n_kept + 1, n_kept)), shape=(n, n)
    )
    pruned.eliminate_zeros()
    return pruned
