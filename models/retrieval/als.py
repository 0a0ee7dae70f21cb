"""Implicit ALS: item factors by weighted least squares; a user is folded in at query time.

Hu, Koren, Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008, as fitted
by implicit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from threadpoolctl import threadpool_limits

from features.contracts.arrays import Float32Array, Int64Array, ObjectArray
from models.artifact import read_arrays, read_meta, write_arrays, write_meta
from models.compiled.factor_fold_in import fold_in_user
from models.retrieval.interactions import Interactions, select_items_by_buyers
from models.retrieval.nearest import Nearest
from models.retrieval.purchase_method import KnownPurchases, raise_above_zero

KIND = "als"


@dataclass(frozen=True)
class AlsConfig:
    """How the factors are fitted.

    alpha        confidence of a purchase; every other pair of user and item has confidence 1
    min_buyers   an item of fewer buyers has no factors
    """

    n_factors: int = 64
    l2: float = 0.05
    alpha: float = 5.0
    n_iterations: int = 12
    min_buyers: int = 3


class Als:
    """Fitted item factors.

    item_ids   str objects, sorted
    factors    float32 (items, factors)
    """

    def __init__(
        self,
        item_ids: ObjectArray,
        factors: Float32Array,
        l2: float,
        alpha: float,
        nearest: Nearest | None = None,
    ) -> None:
        self.item_ids = item_ids
        self.factors = factors
        self._nearest = nearest
        self._l2 = l2
        self._alpha = alpha
        self._gram = factors.T @ factors + l2 * np.eye(factors.shape[1], dtype=np.float32)
        self._inverse = np.asarray(np.linalg.inv(self._gram), np.float32)

    @cached_property
    def nearest(self) -> Nearest:
        """The search for the items of the highest scores."""
        return Nearest.build(self.factors) if self._nearest is None else self._nearest

    def fold_in(self, rows: Int64Array) -> Float32Array:
        """Return the factors (factors,) of a user who bought the items at `rows`.

        The score of an item is the product with its own factors.
        """
        return fold_in_user(self.factors, rows, self._gram, self._inverse, np.float32(self._alpha))

    def score(self, rows: Int64Array) -> Float32Array:
        """Return the scores of all items (n_items,) for a user who bought the items at `rows`."""
        return np.asarray(self.factors @ self.fold_in(rows))

    def score_purchases(self, purchases: KnownPurchases) -> Float32Array:
        """Return the scores (n_items,) of all items, above 0."""
        return raise_above_zero(self.score(purchases.rows))

    def save(self, folder: Path) -> None:
        """Write `model.json`, `factors.npz`, and `nearest.faiss` where there are many items."""
        write_meta(folder, KIND, {"l2": self._l2, "alpha": self._alpha})
        write_arrays(folder / "factors.npz", item_ids=self.item_ids, factors=self.factors)
        self.nearest.save(folder / "nearest.faiss")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        meta, arrays = read_meta(folder, KIND), read_arrays(folder / "factors.npz")
        nearest = Nearest.load(arrays["factors"], folder / "nearest.faiss")
        return cls(arrays["item_ids"], arrays["factors"], meta["l2"], meta["alpha"], nearest)


def fit_als(interactions: Interactions, config: AlsConfig, *, seed: int) -> Als:
    """Fit at most as many factors as there are users, or items, less one."""
    from implicit.cpu.als import AlternatingLeastSquares  # a server fits nothing

    matrix = interactions.binarise()
    fitted_items = select_items_by_buyers(matrix, config.min_buyers)
    n_factors = max(1, min(config.n_factors, len(fitted_items) - 1, matrix.shape[0] - 1))
    # implicit threads by itself; a threaded BLAS under it is slower.
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(
            factors=n_factors,
            regularization=config.l2,
            alpha=config.alpha,
            iterations=config.n_iterations,
            random_state=seed,
        )
        model.fit(matrix[:, fitted_items].tocsr(), show_progress=False)
    return Als(
        interactions.item_ids[fitted_items],
        np.asarray(model.item_factors, np.float32),
        config.l2,
        config.alpha,
    )
