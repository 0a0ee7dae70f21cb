"""Logged slates as arrays, and the weights by which they stand for the slates of another policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from features.contracts.arrays import BoolArray, Float64Array, Int64Array
from features.contracts.errors import BadInput

Level = Literal["slate", "cascade", "position"]
LEVELS: tuple[Level, ...] = ("slate", "cascade", "position")


@dataclass(frozen=True)
class LoggedSlates:
    """S slates of up to K ranks, and what they earned.

    unit      (S,) number of the unit that was shown the slate; slates of a unit are not independent
    shown     (S, K) whether the slate has the rank
    logged    (S, K) probability of the item at the rank, given the ranks before, when it was shown
    target    (S, K) the same under the policy to evaluate, given the same ranks before
    reward    (S, K) of the item at the rank: clicks, orders or money

    Where `shown` is false the other values are not read. Raises BadInput for shapes that differ, a
    logged probability outside of (0, 1], or one of the target outside of [0, 1].
    """

    unit: Int64Array
    shown: BoolArray
    logged: Float64Array
    target: Float64Array
    reward: Float64Array

    def __post_init__(self) -> None:
        shape = self.shown.shape
        if len(shape) != 2 or self.unit.shape != shape[:1]:
            raise BadInput("unit has one value per slate", where="logged slates")
        for name in ("logged", "target", "reward"):
            if getattr(self, name).shape != shape:
                raise BadInput(f"{name} has not the shape of shown", where="logged slates")
        logged, target = self.logged[self.shown], self.target[self.shown]
        if not (np.all(logged > 0) and np.all(logged <= 1)):
            raise BadInput(
                "a logged probability lies in (0, 1]",
                where="logged slates",
                hint="Leave out slates that were shown without exploration",
            )
        if not (np.all(target >= 0) and np.all(target <= 1 + 1e-9)):
            raise BadInput("a probability of the target lies in [0, 1]", where="logged slates")

    @property
    def ratio(self) -> Float64Array:
        """(S, K) target / logged, 1 where there is no rank."""
        ratio = np.ones(self.shown.shape)
        np.divide(self.target, self.logged, out=ratio, where=self.shown)
        return ratio

    @property
    def earned(self) -> Float64Array:
        """(S, K) the rewards, 0 where there is no rank."""
        return np.where(self.shown, self.reward, 0.0)


def compute_weights(slates: LoggedSlates, level: Level) -> tuple[Float64Array, Float64Array]:
    """Return (S, K) weights of the rewards, and (S, K) weights of what comes before each rank.

    slate      the product of the ratios over all ranks: correct whatever the reward of a rank
               depends on, and of high variance
    cascade    the product over the ranks up to this one: correct where a reward depends on its rank
               and the ranks above (McInerney et al. 2020)
    position   the ratio of the rank alone: correct where a reward depends on its own item and rank,
               and the target's probabilities do not depend on the ranks above
    """
    ratio = slates.ratio
    if level == "position":
        return ratio, np.ones_like(ratio)
    product = np.asarray(np.cumprod(ratio, axis=1))
    before = np.hstack([np.ones((len(ratio), 1)), product[:, :-1]])
    if level == "cascade":
        return product, before
    return np.repeat(product[:, -1:], ratio.shape[1], axis=1), before


def pad_ranks(ranks: Sequence[Sequence[float]]) -> tuple[Float64Array, BoolArray]:
    """Return lists of different lengths as one array (S, K), 1 beyond their ends, and where they
    have values.

    >>> pad_ranks([[0.5], [0.25, 0.75]])[0].tolist()
    [[0.5, 1.0], [0.25, 0.75]]
    """
    n_ranks = max((len(values) for values in ranks), default=0)
    padded = np.ones((len(ranks), n_ranks))
    shown = np.zeros((len(ranks), n_ranks), bool)
    for row, values in enumerate(ranks):
        padded[row, : len(values)] = values
        shown[row, : len(values)] = True
    return padded, shown
