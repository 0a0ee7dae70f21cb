"""Bayesian personalised ranking: item factors that rank what a user bought above all else.

Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009, as fitted by
implicit. A visitor is folded in at query time by the ridge regression of "bought" on the items'
factors, without a refit.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from features.contracts.arrays import Float32Array, Int64Array, ObjectArray
from models.artifact import read_arrays, read_meta, write_arrays, write_meta
from models.retrieval.interactions import Interactions, select_items_by_buyers
from models.retrieval.purchase_method import KnownPurchases, raise_above_zero

KIND = "bpr"


@dataclass(frozen=True)
class BprConfig:
    """How the factors are fitted.

    l2           penalty of the fit
    fold_in_l2   penalty of a visitor's own factors at query time
    min_buyers   an item of fewer buyers has no factors
    """

    n_factors: int = 64
    learning_rate: float = 0.05
    l2: float = 0.01
    fold_in_l2: float = 1.0
    n_iterations: int = 100
    min_buyers: int = 3


class Bpr:
    """Fitted item factors; the last of them is the item's bias: the visitor's factor for it is 1.

    item_ids   str objects, sorted
    factors    float32 (items, factors + 1)
    """

    def __init__(self, item_ids: ObjectArray, factors: Float32Array, fold_in_l2: float) -> None:
        self.item_ids = item_ids
        self.factors = factors
        self._l2 = fold_in_l2

    def score(self, rows: Int64Array) -> Float32Array:
        """Return the scores of all items (n_items,) for a visitor who bought the items at `rows`; 0
        for one who bought nothing."""
        if not len(rows):
            return np.zeros(len(self.item_ids), np.float32)
        own = self.factors[:, :-1]
        bought = own[rows]
        ridge = bought.T @ bought + self._l2 * np.eye(own.shape[1], dtype=np.float32)
        user = np.linalg.solve(ridge, bought.sum(0))
        return np.asarray(own @ user + self.factors[:, -1], np.float32)

    def score_purchases(self, purchases: KnownPurchases) -> Float32Array:
        """Return the scores (n_items,) of all items, above 0."""
        return raise_above_zero(self.score(purchases.rows))

    def save(self, folder: Path) -> None:
        """Write `model.json` and `factors.npz`."""
        write_meta(folder, KIND, {"fold_in_l2": self._l2})
        write_arrays(folder / "factors.npz", item_ids=self.item_ids, factors=self.factors)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        meta, arrays = read_meta(folder, KIND), read_arrays(folder / "factors.npz")
        return cls(arrays["item_ids"], arrays["factors"], meta["fold_in_l2"])


@dataclass(frozen=True)
class BprFit:
    """A model and the factors of the users that it was fitted on.

    user_factors   float32 (users, factors + 1), the last of each user 1
    """

    model: Bpr
    user_factors: Float32Array


def fit_bpr(interactions: Interactions, config: BprConfig, *, seed: int) -> BprFit:
    """Fit on one thread: several would write to shared factors in an order that no seed
    decides."""
    from implicit.cpu.bpr import BayesianPersonalizedRanking  # a server fits nothing

    matrix = interactions.binarise()
    fitted_items = select_items_by_buyers(matrix, config.min_buyers)
    model = BayesianPersonalizedRanking(
        factors=max(1, min(config.n_factors, len(fitted_items) - 1)),
        learning_rate=config.learning_rate,
        regularization=config.l2,
        iterations=config.n_iterations,
        num_threads=1,
        random_state=seed,
    )
    model.fit(matrix[:, fitted_items].tocsr(), show_progress=False)
    item_factors = np.asarray(model.item_factors, np.float32)
    user_factors = np.asarray(model.user_factors, np.float32)
    item_ids = interactions.item_ids[fitted_items]
    return BprFit(Bpr(item_ids, item_factors, config.fold_in_l2), user_factors)
