"""Bayesian personalised ranking: item factors under which what was bought stands above what was
not.

Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009, as fitted by
implicit. A visitor is folded in at query time by the ridge regression of "bought" on the items'
factors, without a refit.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from implicit.cpu.bpr import BayesianPersonalizedRanking

from features.contracts.arrays import Float32Array, Int64Array, ObjectArray
from models.artifact import read_arrays, read_meta, write_arrays, write_meta
from models.retrieval.interactions import Interactions

KIND = "bpr"


@dataclass(frozen=True)
class BprConfig:
    """`l2`: penalty of the fit; `fold_in_l2`: of the visitor's own factors; an item needs
    `min_buyers`."""

    n_factors: int = 64
    learning_rate: float = 0.05
    l2: float = 0.01
    fold_in_l2: float = 1.0
    n_iterations: int = 100
    min_buyers: int = 3


class Bpr:
    """Fitted item factors; the last of them is the item's bias, against which a visitor holds 1.

    item_ids   str objects, sorted
    factors    float32 (items, factors + 1)
    """

    def __init__(self, item_ids: ObjectArray, factors: Float32Array, fold_in_l2: float) -> None:
        self.item_ids = item_ids
        self.factors = factors
        self._l2 = fold_in_l2

    def score(self, rows: Int64Array) -> Float32Array:
        """Scores of all items (n_items,) for a visitor who bought the items at `rows`; 0 who bought
        nothing."""
        if not len(rows):
            return np.zeros(len(self.item_ids), np.float32)
        own = self.factors[:, :-1]
        bought = own[rows]
        ridge = bought.T @ bought + self._l2 * np.eye(own.shape[1], dtype=np.float32)
        user = np.linalg.solve(ridge, bought.sum(0))
        return np.asarray(own @ user + self.factors[:, -1], np.float32)

    def save(self, folder: Path) -> None:
        """Writes `model.json` and `factors.npz`."""
        write_meta(folder, KIND, {"fold_in_l2": self._l2})
        write_arrays(folder / "factors.npz", item_ids=self.item_ids, factors=self.factors)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote."""
        meta, arrays = read_meta(folder, KIND), read_arrays(folder / "factors.npz")
        return cls(arrays["item_ids"], arrays["factors"], meta["fold_in_l2"])


@dataclass(frozen=True)
class BprFit:
    """A model and the factors of the users that it was fitted with, float32 (users, factors + 1),
    the last 1."""

    model: Bpr
    user_factors: Float32Array


def fit_bpr(interactions: Interactions, config: BprConfig, *, seed: int) -> BprFit:
    """Fits on one thread: several would write to shared factors in an order that no seed
    decides."""
    matrix = interactions.binarise()
    kept = np.flatnonzero(np.asarray(matrix.sum(0)).ravel() >= config.min_buyers)
    kept = kept if len(kept) else np.arange(matrix.shape[1])
    model = BayesianPersonalizedRanking(
        factors=max(1, min(config.n_factors, len(kept) - 1)),
        learning_rate=config.learning_rate,
        regularization=config.l2,
        iterations=config.n_iterations,
        num_threads=1,
        random_state=seed,
    )
    model.fit(matrix[:, kept].tocsr(), show_progress=False)
    items, users = (
        np.asarray(each, np.float32) for each in (model.item_factors, model.user_factors)
    )
    return BprFit(Bpr(interactions.item_ids[kept], items, config.fold_in_l2), users)
