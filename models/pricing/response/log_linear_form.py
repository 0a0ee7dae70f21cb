"""The log-linear form of a price response: neighbours' prices move log units by coefficients.

    log units = own + sum over the treatments k of pull k × sum over the others j of weight of j ×
    treatment k of j.

The regular price of a neighbour, the depth of its reduction and its announcement each have a pull:
most prices that move are reductions, which come with announcements and take more from the nest than
a regular price does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from features.contracts.arrays import Float64Array
from models.pricing.response.controls import sum_over_nest
from models.pricing.response.double_ml import Residuals
from models.pricing.response.group_regression import Levels
from models.pricing.response.margins import UsualProfits
from models.pricing.response.nest_coefficients import (
    DIVERSION,
    LARGEST_SHARE,
    NestCoefficients,
    NestStep,
    Normal,
    OwnFit,
    build_diversion_prior,
    truncate,
)
from models.pricing.response.nests import Nests
from models.pricing.response.treatments import REGULAR, combine_treatments

_LEAST_RESPONSE = np.array([-0.3, -0.3, 0.03])
_DAMPING = 0.8


@dataclass(frozen=True)
class LogLinearEffect:
    """What neighbours' prices add to log units, and how much of that is known.

    pulls          (3, S, W) weighted sums of the neighbours' treatments
    cross_weights  (S,) weight of each series' prices
    coefficients   of families and rests, by treatment
    prior          of the coefficients, by the latest responses
    """

    nests: Nests
    levels: Levels
    cross_weights: Float64Array
    pulls: Float64Array
    coefficients: NestCoefficients
    prior: Normal

    @classmethod
    def start(
        cls,
        nests: Nests,
        levels: Levels,
        cross_weights: Float64Array,
        treatments: Float64Array,
        responses: Float64Array,
    ) -> Self:
        """Return the effect before the data.

        `treatments` (3, S, W) are centred, `responses` (S, 3) those of a fit without nests.
        """
        pulls = sum_treatments_over_nest(treatments, cross_weights, nests)
        prior = build_prior(nests, cross_weights, responses)
        return cls(nests, levels, cross_weights, pulls, NestCoefficients(prior, prior), prior)

    def predict(self, _: OwnFit) -> Float64Array:
        """Return what the neighbours add to log units (S, W); 0 at usual prices."""
        return combine_treatments(self.coefficients.spread_means(self.nests).T, self.pulls)

    def update(self, own: OwnFit, residuals: Residuals, unexplained: Float64Array) -> Self:
        """Return the effect after one step; `unexplained` (S, W) are residual log units."""
        prior = build_prior(self.nests, self.cross_weights, own.responses)
        step = NestStep(
            before=self.coefficients,
            derivative=self.pulls,
            unexplained=unexplained,
            residuals=residuals,
            prior=prior,
            damping=_DAMPING,
        )
        return replace(self, coefficients=step.take(self.nests, self.levels), prior=prior)

    def is_near(self, other: Self) -> bool:
        """Whether another step would change little."""
        return self.coefficients.is_near(other.coefficients)

    def expect_regular(self) -> tuple[Float64Array, Float64Array]:
        """Return the expected coefficient of regular prices of each series (S,), and its error."""
        largest = np.array([self.limit_regular()])

        def limit(normal: Normal) -> Normal:
            return truncate(normal.mean[:1], normal.errors[:1], largest)

        expected = self.coefficients.apply(limit)
        return expected.spread_means(self.nests)[0], expected.spread_errors(self.nests)[0]

    def limit_regular(self) -> float:
        """Return the coefficient of regular prices at which the nest gains nearly all."""
        return LARGEST_SHARE * float(self.prior.mean[REGULAR]) / DIVERSION

    def find_kept_and_gained(
        self, regular: Float64Array, profits: UsualProfits
    ) -> tuple[Float64Array, Float64Array]:
        """Return 1, and what the nest gains beside an item's slope (S,)."""
        gained = self.cross_weights * profits.sum_of_others(regular, self.nests)
        return np.ones(len(gained)), gained


def sum_treatments_over_nest(
    treatments: Float64Array, cross_weights: Float64Array, nests: Nests
) -> Float64Array:
    """Return the weighted sums (3, S, W) of the neighbours' treatments (3, S, W)."""
    return np.stack([sum_over_nest(values, cross_weights, nests) for values in treatments])


def build_prior(nests: Nests, cross_weights: Float64Array, responses: Float64Array) -> Normal:
    """Return the prior of the coefficients, by the published diversion of own responses (S, 3).

    A coefficient moves cross weight of j × units of the others for what j gains by its response.
    """
    units = np.where(nests.nested, nests.units, 0.0)
    others = nests.groups.sum_by_group(units)[nests.groups.codes] - units
    total = max(float(units.sum()), 1e-9)
    reached = max(float((np.where(nests.nested, cross_weights, 0.0) * others).sum()), 1e-9)
    mean = (units[:, None] * responses).sum(0) / total
    sign = np.sign(_LEAST_RESPONSE)
    per_diversion = -sign * np.maximum(sign * mean, np.abs(_LEAST_RESPONSE)) * total / reached
    return build_diversion_prior(per_diversion)
