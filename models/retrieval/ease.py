"""EASE: one ridge regression of every item on all others, in closed form.

Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019. The weights are pruned to
the strongest of each row, so that scoring is fast and the artifact small.

    N  items that take part
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from scipy import sparse

from features.contracts.arrays import Float32Array, Int64Array, ObjectArray
from models.artifact import read_arrays, read_meta, restore_matrix, write_matrix, write_meta
from models.compiled.sparse_sums import add_rows, add_rows_in_pairs
from models.retrieval.interactions import Interactions, Weighting, weigh_orders
from models.retrieval.purchase_method import KnownPurchases

if TYPE_CHECKING:
    import torch

KIND = "ease"

_SHARE_OF_USERS = 0.5  # of the items, up to which a factorisation by users is faster


@dataclass(frozen=True)
class EaseConfig:
    """How the weights are fitted.

    n_items     the most bought items take part
    l2          ridge penalty
    n_weights   weights of largest magnitude that each item keeps
    weighting   how an item counts that a user has ordered several times
    """

    n_items: int = 8000
    l2: float = 500.0
    n_weights: int = 400
    weighting: Weighting = "binary"


class Ease:
    """Fitted weights between items.

    item_ids   str objects, sorted
    weights    CSR float32 (items, items): row = the item bought, column = the item that it adds
               score to; the diagonal is empty
    weighting  of the orders that it was fitted on, and of those that it scores by
    """

    def __init__(
        self, item_ids: ObjectArray, weights: sparse.csr_matrix, weighting: Weighting = "binary"
    ) -> None:
        self.item_ids = item_ids
        self.weights = weights
        self.weighting: Weighting = weighting
        # Memory access takes most of the time of an answer: short column numbers are read faster.
        self._columns = weights.indices.astype(np.uint16 if len(item_ids) <= 2**16 else np.int32)

    def weigh(self, n_orders: Float32Array) -> Float32Array:
        """Return how much items (n,) count that a user has ordered so many times."""
        return weigh_orders(n_orders, self.weighting)

    def score(self, rows: Int64Array, values: Float32Array) -> Float32Array:
        """Return n scores of all items (n, n_items) for one user who bought the items at `rows`.

        `values` (n, rows) are n weights of each of these items. A row of -1 stands for an item that
        the model does not know.
        """
        add = add_rows_in_pairs if len(values) == 2 else add_rows
        return add(rows, values, self.weights.indptr, self._columns, self.weights.data)

    def score_purchases(self, purchases: KnownPurchases) -> Float32Array:
        """Return the scores (n_items,) of all items."""
        (scores,) = self.score(purchases.rows, self.weigh(purchases.n_orders)[None])
        return np.asarray(scores)

    def save(self, folder: Path) -> None:
        """Write `model.json` and `weights.npz`."""
        meta = {"n_items": len(self.item_ids), "weighting": self.weighting}
        write_meta(folder, KIND, meta)
        write_matrix(folder / "weights.npz", self.weights, item_ids=self.item_ids)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        meta = read_meta(folder, KIND)
        arrays = read_arrays(folder / "weights.npz")
        return cls(
            arrays["item_ids"],
            restore_matrix(arrays, meta["n_items"]),
            meta.get("weighting", "binary"),  # none in older models
        )


def fit_ease(interactions: Interactions, config: EaseConfig) -> Ease:
    """Fit on the `n_items` items with the most buyers; on the GPU when there is one."""
    (model,) = fit_ease_penalties(interactions, config, [config.l2])
    return model


def fit_ease_penalties(
    interactions: Interactions, config: EaseConfig, penalties: Sequence[float]
) -> list[Ease]:
    """Do the same once for each of `penalties` in place of `l2`; they share the products."""
    import torch  # here, because a server answers without it

    matrix = interactions.weigh(config.weighting)
    buyers = np.bincount(matrix.indices, minlength=matrix.shape[1])
    fitted_items = np.sort(np.argsort(-buyers, kind="stable")[: config.n_items])
    item_ids, matrix = interactions.item_ids[fitted_items], matrix[:, fitted_items]
    n_users, n_items = matrix.shape
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    solve = _solve_by_users if n_users <= n_items * _SHARE_OF_USERS else _solve_by_items
    return [
        Ease(item_ids, _prune_weights(weights, config.n_weights), config.weighting)
        for weights in solve(matrix, penalties, device)
    ]


def _solve_by_items(
    matrix: sparse.csr_matrix, penalties: Sequence[float], device: torch.device
) -> Iterator[torch.Tensor]:
    """Yield the weights (N, N) of a matrix (users, N) by an inverse of as many rows as items, in
    float32."""
    import torch

    gram = torch.from_numpy((matrix.T @ matrix).toarray()).to(device)  # (N, N)
    diagonal = gram.diagonal().clone()  # (N,)
    for l2 in penalties:
        gram.diagonal().copy_(diagonal + l2)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))  # (N, N)
        yield inverse.div_(-inverse.diagonal().clone()).fill_diagonal_(0)


def _solve_by_users(
    matrix: sparse.csr_matrix, penalties: Sequence[float], device: torch.device
) -> Iterator[torch.Tensor]:
    """Yield the same by a factorisation of as many rows as users.

    With X the matrix and L L' = X X' + l2, the inverse of X' X + l2 is (1 - Z' Z) / l2 of
    Z = L^-1 X (Woodbury). All but the last product is in float64: 1 - Z' Z is a small difference
    where an item was ordered often. With 2,462 users and 8,000 items a fit takes 7 s of two cores,
    by the inverse of the items 21.
    """
    import torch

    gram = torch.from_numpy((matrix @ matrix.T).toarray().astype(np.float64)).to(device)
    diagonal = gram.diagonal().clone()  # (users,)
    rows = torch.from_numpy(matrix.toarray().astype(np.float64)).to(device)  # (users, N)
    for l2 in penalties:
        gram.diagonal().copy_(diagonal + l2)
        factor = torch.linalg.cholesky(gram)  # (users, users)
        solved = torch.linalg.solve_triangular(factor, rows, upper=False)  # (users, N)
        remainder = 1 - solved.square().sum(0)  # (N,), l2 times the diagonal of the inverse
        rounded = solved.float()
        weights: torch.Tensor = rounded.T @ rounded  # (N, N)
        yield weights.div_(remainder.float()).fill_diagonal_(0)


def _prune_weights(weights: torch.Tensor, n_weights: int) -> sparse.csr_matrix:
    """Return the `n_weights` weights of largest magnitude in each row of `weights` (N, N)."""
    n = len(weights)
    n_weights = min(n_weights, n)
    columns = weights.abs().topk(n_weights, dim=1, sorted=False).indices.sort(dim=1).values
    data = weights.gather(1, columns).cpu().numpy()  # (N, n_weights), as `columns`
    pointers = np.arange(0, n * n_weights + 1, n_weights)
    pruned = sparse.csr_matrix(
        (data.ravel(), columns.cpu().numpy().ravel().astype(np.int32), pointers), shape=(n, n)
    )
    pruned.eliminate_zeros()
    return pruned
