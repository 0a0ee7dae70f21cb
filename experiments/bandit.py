"""Bandit: shares of the variants by Thompson sampling, with a floor on each share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from features.contracts.arrays import Float64Array
from features.contracts.errors import BadInput

_N_DRAWS = 20_000


class Posterior(Protocol):
    """Knowledge about the mean of an arm."""

    def draw(self, rng: np.random.Generator, n: int) -> Float64Array:
        """Return n draws of the mean."""


@dataclass(frozen=True)
class BetaPosterior:
    """Of a rate, after so many units with and without success; uniform before the first."""

    n_successes: int
    n_failures: int

    def __post_init__(self) -> None:
        if self.n_successes < 0 or self.n_failures < 0:
            raise BadInput("a count is negative", where="posterior")

    def draw(self, rng: np.random.Generator, n: int) -> Float64Array:
        """Return n draws of the rate."""
        return np.asarray(rng.beta(1 + self.n_successes, 1 + self.n_failures, n))


@dataclass(frozen=True)
class NormalPosterior:
    """Of a mean, of money for example: `error` is its standard error, infinite without units."""

    mean: float
    error: float

    def __post_init__(self) -> None:
        if not self.error >= 0:
            raise BadInput("a standard error is at least 0", where="posterior")

    @classmethod
    def from_values(cls, n: int, total: float, squares: float) -> NormalPosterior:
        """Return the posterior after n values with this sum and sum of squares."""
        if n < 2:
            return cls(0.0, math.inf)
        variance = max(squares - total**2 / n, 0.0) / (n - 1)
        return cls(total / n, math.sqrt(variance / n))

    def draw(self, rng: np.random.Generator, n: int) -> Float64Array:
        """Return n draws of the mean."""
        return self.mean + self.error * rng.standard_normal(n)


def compute_best_chances(
    posteriors: Sequence[Posterior], rng: np.random.Generator, n_draws: int = _N_DRAWS
) -> Float64Array:
    """Return the probability that each arm is the best one, by Monte Carlo: within .007 at 95 %.

    While an arm has no finite posterior all have the same probability.
    """
    draws = np.stack([posterior.draw(rng, n_draws) for posterior in posteriors])  # [arms, draws]
    if not np.isfinite(draws).all():
        return np.full(len(posteriors), 1 / len(posteriors))
    counts = np.bincount(draws.argmax(0), minlength=len(posteriors))
    return np.asarray(counts / n_draws)


def allocate_shares(best_chances: Float64Array, floor: float) -> Float64Array:
    """Return the shares of the arms: the floor, and of what is left the chance to be the best.

    Every arm keeps `floor`, so that its mean can be estimated at the end, and a change be noticed.

    >>> allocate_shares(np.array([0.75, 0.25, 0.0]), 0.2).round(6).tolist()
    [0.5, 0.3, 0.2]
    """
    n_arms = len(best_chances)
    if not 0 <= floor * n_arms <= 1:
        raise BadInput(
            f"a floor of {floor:g} for {n_arms} arms is more than all traffic",
            where="bandit",
            hint=f"Write at most {1 / n_arms:.3g}",
        )
    return np.asarray(floor + (1 - n_arms * floor) * best_chances)
