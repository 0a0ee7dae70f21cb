"""How strongly the items of a nest take from each other: coefficients with a published prior.

Of 100 units that a promoted brand gains, the other brands of its category lose 33 on average (van
Heerde, Gupta and Wittink, Is 75 % of the sales promotion bump due to brand switching? No, only 33 %
is, Journal of Marketing Research 2003). The *diversion* of an item is that share: of the units that
it gains by a lower price, those that its nest loses.

S series over W weeks; K coefficients. One set is that of the families that a shop names, the other
one that of the rests of its categories.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from scipy.special import ndtr

from features.contracts.arrays import BoolArray, Float64Array
from models.pricing.response.double_ml import Residuals, remove_levels
from models.pricing.response.group_regression import Levels
from models.pricing.response.margins import UsualProfits
from models.pricing.response.nests import Nests
from models.pricing.response.treatments import combine_treatments

DIVERSION, DIVERSION_SPREAD = 0.33, 0.15
LARGEST_SHARE = 0.95  # of the units that an item loses, which its nest gains
# By how much the diversions of an item's regular price, of its reductions and of their announcement
# differ: an assumption, there is no published figure.
_DIFFERENCE = 0.1
_RIDGE = 0.02  # only makes least squares solvable where a treatment never moves
# Regular prices stay for months, and errors of a nest last: scores are summed over so many weeks.
_BLOCK_WEEKS = 8


@dataclass(frozen=True)
class Normal:
    """A normal distribution of K coefficients: mean (K,), covariance (K, K)."""

    mean: Float64Array
    covariance: Float64Array

    @property
    def errors(self) -> Float64Array:
        """Standard errors (K,)."""
        return np.sqrt(np.diag(self.covariance))

    def is_near(self, other: Normal) -> bool:
        """Whether all means differ from the other's by less than a tenth of their errors."""
        return bool((np.abs(self.mean - other.mean) < self.errors / 10).all())


def truncate(mean: Float64Array, error: Float64Array, largest: Float64Array) -> Normal:
    """Return mean and variance of the part of normal distributions between 0 and the largest.

    All arguments (K,), the coefficients independent of each other.

    >>> half = truncate(np.zeros(1), np.array([0.1]), np.array([0.9]))
    >>> half.mean.round(4).tolist(), half.errors.round(4).tolist()
    ([0.0798], [0.0603])
    """
    low, high = -mean / error, (largest - mean) / error
    share = np.maximum(ndtr(high) - ndtr(low), 1e-12)
    density_low, density_high = (np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) for z in (low, high))
    shift = (density_low - density_high) / share
    shrunk = 1 + (low * density_low - high * density_high) / share - shift**2
    truncated = np.clip(mean + error * shift, 0.0, largest)
    return Normal(truncated, np.diag(error**2 * np.clip(shrunk, 1e-6, 1.0)))


def build_diversion_prior(per_diversion: Float64Array) -> Normal:
    """Return the prior of coefficients that are diversions times `per_diversion` (K,)."""
    covariance = DIVERSION_SPREAD**2 + _DIFFERENCE**2 * np.eye(len(per_diversion))
    return Normal(DIVERSION * per_diversion, np.outer(per_diversion, per_diversion) * covariance)


@dataclass(frozen=True)
class NestCoefficients:
    """The coefficients of families, and of rests of categories."""

    families: Normal
    rests: Normal

    def is_near(self, other: NestCoefficients) -> bool:
        """Whether both are near the other's."""
        return self.families.is_near(other.families) and self.rests.is_near(other.rests)

    def spread_means(self, nests: Nests) -> Float64Array:
        """Return the means of each series (K, S); 0 where it has no nest."""
        return _spread(self.families.mean, self.rests.mean, nests)

    def spread_errors(self, nests: Nests) -> Float64Array:
        """Return the standard errors of each series (K, S); 0 where it has no nest."""
        return _spread(self.families.errors, self.rests.errors, nests)

    def apply(self, change: Callable[[Normal], Normal]) -> NestCoefficients:
        """Return both changed alike."""
        return NestCoefficients(change(self.families), change(self.rests))


def _spread(families: Float64Array, rests: Float64Array, nests: Nests) -> Float64Array:
    values = np.where(nests.declared[None, :], families[:, None], rests[:, None])
    return np.where(nests.nested[None, :], values, 0.0)


@dataclass(frozen=True)
class OwnFit:
    """What items do on their own: responses (S, 3), and the log lift of their utility (S, W)."""

    responses: Float64Array
    utility: Float64Array


class NestEffect(Protocol):
    """What the nest of an item adds to its log units: one form of it."""

    def predict(self, own: OwnFit) -> Float64Array:
        """Return what the nest adds to log units (S, W)."""
        ...

    def update(self, own: OwnFit, residuals: Residuals, unexplained: Float64Array) -> Self:
        """Return the effect after one step; `unexplained` (S, W) are residual log units."""
        ...

    def is_near(self, other: Self) -> bool:
        """Whether another step would change little."""
        ...

    def expect_regular(self) -> tuple[Float64Array, Float64Array]:
        """Return the coefficient of regular prices (S,) and its standard error.

        A nest gains something of what an item loses by a regular price, and never all of it, so the
        mean is not where the coefficient fits best.
        """
        ...

    def limit_regular(self) -> float:
        """Return the coefficient of regular prices at which the nest gains nearly all."""
        ...

    def find_kept_and_gained(
        self, regular: Float64Array, profits: UsualProfits
    ) -> tuple[Float64Array, Float64Array]:
        """Return which share of its slope an item keeps, and what the nest gains beside it (S,).

        Both in profits of the item, at a coefficient of regular prices (S,).
        """
        ...


@dataclass(frozen=True)
class NestStep:
    """What a step of the estimation needs.

    derivative    (K, S, W) of what explains too little of the log units, by the coefficients
    unexplained   (S, W) residual log units at the coefficients `before`
    prior         of the families; of the rests as well where the shop names no family
    damping       share of the step that is taken: the own responses lag behind by a step
    """

    before: NestCoefficients
    derivative: Float64Array
    unexplained: Float64Array
    residuals: Residuals
    prior: Normal
    damping: float

    def take(self, nests: Nests, levels: Levels) -> NestCoefficients:
        """Return the coefficients after one Gauss-Newton step.

        Own responses are fitted anew for other coefficients, so only what they leave of the
        derivative counts (Frisch and Waugh, Partial time regressions, Econometrica 1933). The
        families are the prior of the rests, which hold some of such items.
        """
        weights = self.residuals.weights
        derivative = np.stack(
            [
                remove_own_treatments(remove_levels(values, weights, levels), self.residuals)
                for values in self.derivative
            ]
        )
        declared = nests.nested & nests.declared
        families = self._update(derivative, declared, self.before.families, self.prior, nests)
        prior = self.prior
        if declared.any():
            prior = Normal(families.mean, prior.covariance)
        rests = self._update(
            derivative, nests.nested & ~nests.declared, self.before.rests, prior, nests
        )
        return NestCoefficients(families, rests)

    def _update(
        self,
        derivative: Float64Array,
        members: BoolArray,
        before: Normal,
        prior: Normal,
        nests: Nests,
    ) -> Normal:
        weights = np.where(members[:, None], self.residuals.weights, 0.0)
        information = np.einsum("sw,asw,bsw->ab", weights, derivative, derivative, optimize=True)
        scores = derivative * (weights * self.unexplained)
        effect = measure_cluster_effect(scores, information, nests)
        prior_precision = np.linalg.inv(prior.covariance)
        covariance = np.linalg.inv(information / effect + prior_precision)
        gradient = scores.sum((1, 2)) / effect - prior_precision @ (before.mean - prior.mean)
        return Normal(before.mean + self.damping * covariance @ gradient, covariance)


def measure_cluster_effect(scores: Float64Array, information: Float64Array, nests: Nests) -> float:
    """Return the variance of scores (K, S, W) over the stated one, at least 1.

    The series of a nest move together for weeks for reasons that nothing here explains, so errors
    are clustered by nest and eight weeks (Cameron and Miller, A practitioner's guide to
    cluster-robust inference, 2015).
    """
    n_weeks = scores.shape[2]
    starts = np.arange(0, n_weeks, _BLOCK_WEEKS)
    clustered = np.stack(
        [np.add.reduceat(nests.groups.sum_by_group(of_one), starts, axis=1) for of_one in scores]
    )
    observed = np.einsum("agb,cgb->ac", clustered, clustered, optimize=True)
    stated = information + 1e-9 * np.eye(len(information))
    return max(float(np.trace(np.linalg.solve(stated, observed))) / len(information), 1.0)


def remove_own_treatments(values: Float64Array, residuals: Residuals) -> Float64Array:
    """Return values (S, W) less their regression on each series' own treatments."""
    weights, treatments = residuals.weights, residuals.treatments
    products = np.einsum("sw,asw,bsw->sab", weights, treatments, treatments, optimize=True)
    sums = np.einsum("sw,asw,sw->sa", weights, treatments, values, optimize=True)
    system = products + _RIDGE * np.eye(len(treatments))
    coefficients = np.linalg.solve(system, sums[:, :, None])[:, :, 0]
    return np.where(weights > 0, values - combine_treatments(coefficients, treatments), 0.0)
