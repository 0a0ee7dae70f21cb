"""The choice form of a price response: the shoppers of a nest buy one of its items, or nothing.

A multinomial logit with an outside option (McFadden, Conditional logit analysis of qualitative
choice behavior, 1974). Log units of an item are its utility less the nest's inclusive value

    V = ln(1 + inside × sum over the nest of share × (exp(utility) - 1)),

where utilities are counted from their usual level, shares are those of the nest's usual sales, and
`inside` is the share of the shoppers who usually buy something. So log units plus V are linear in
the item's own prices and promotions, and `inside` is all there is to the neighbours: the price of j
moves the units of i by -slope of j × inside × share of j.

Nearly all that moves is promoted, and what a promotion takes from its nest is not what a regular
price takes: for regular prices `inside` is another coefficient, near that of the rest, and V grows
by (inside of regular prices - inside) × sum over the nest of share × utility of the regular price.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from features.contracts.arrays import Float64Array
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
from models.pricing.response.treatments import REGULAR

PROMOTIONS, REGULAR_PRICES = range(2)
# The responses lag behind by a step, so full steps of `inside` go too far, and back.
_DAMPING = 0.6


@dataclass(frozen=True)
class ChoiceEffect:
    """What a nest takes from its items in the choice form, and how much of that is known.

    regular   (S, W) centred log regular prices
    inside    of promotions, and of regular prices
    """

    nests: Nests
    levels: Levels
    regular: Float64Array
    inside: NestCoefficients

    @classmethod
    def start(cls, nests: Nests, levels: Levels, treatments: Float64Array) -> Self:
        """Return the effect before the data; `treatments` (3, S, W) are centred."""
        prior = build_prior(nests)
        return cls(nests, levels, treatments[REGULAR], NestCoefficients(prior, prior))

    def predict(self, own: OwnFit) -> Float64Array:
        """Return what the nest adds to log units (S, W); 0 at usual utilities."""
        inside = self.inside.spread_means(self.nests)
        inclusive = compute_inclusive_values(self.nests, inside[PROMOTIONS], own.utility)
        more = inside[REGULAR_PRICES] - inside[PROMOTIONS]
        total = inclusive + more[:, None] * self._attract_by_regular(own)
        return np.asarray(-total, np.float64)

    def update(self, own: OwnFit, residuals: Residuals, unexplained: Float64Array) -> Self:
        """Return the effect after one step; `unexplained` (S, W) are residual log units."""
        inside = self.inside.spread_means(self.nests)[PROMOTIONS]
        attraction = sum_attraction(self.nests, own.utility)
        by_regular = self._attract_by_regular(own)
        of_promotions = by_regular - attraction / (1 + inside[:, None] * attraction)
        step = NestStep(
            before=self.inside,
            derivative=np.stack([of_promotions, -by_regular]),
            unexplained=unexplained,
            residuals=residuals,
            prior=build_prior(self.nests),
            damping=_DAMPING,
        )
        moved = step.take(self.nests, self.levels)
        return replace(self, inside=moved.apply(_limit))

    def is_near(self, other: Self) -> bool:
        """Whether another step would change little."""
        return self.inside.is_near(other.inside)

    def expect_inside(self) -> Float64Array:
        """Return the expected `inside` of each series (S,) by promotions."""
        expected = self.inside.apply(_truncate).spread_means(self.nests)
        return np.asarray(expected[PROMOTIONS])

    def expect_regular(self) -> tuple[Float64Array, Float64Array]:
        """Return the expected `inside` of regular prices of each series (S,), and its error."""
        expected = self.inside.apply(_truncate)
        mean, error = expected.spread_means(self.nests), expected.spread_errors(self.nests)
        return mean[REGULAR_PRICES], error[REGULAR_PRICES]

    def limit_regular(self) -> float:
        """Return the `inside` of regular prices at which the nest gains nearly all."""
        return LARGEST_SHARE

    def find_kept_and_gained(
        self, regular: Float64Array, profits: UsualProfits
    ) -> tuple[Float64Array, Float64Array]:
        """Return which share of its slope an item keeps (S,); the nest gains nothing beside it."""
        sent = regular * self.nests.share
        of_others = profits.sum_of_others(np.ones(len(sent)), self.nests)
        return 1 - sent - sent * of_others, np.zeros(len(sent))

    def _attract_by_regular(self, own: OwnFit) -> Float64Array:
        return sum_regular_utility(self.nests, own.responses[:, REGULAR], self.regular)


def build_prior(nests: Nests) -> Normal:
    """Return the prior of `inside`, by the published diversion.

    An item of share s gains inside × (1 - s) / (1 - inside × s) of its units from the nest.
    """
    units = np.where(nests.nested, nests.units, 0.0)
    share = float((units * nests.share).sum() / max(float(units.sum()), 1e-9))
    per_diversion = 1 / (1 - share + DIVERSION * share)
    return build_diversion_prior(np.full(2, per_diversion))


def sum_attraction(nests: Nests, utility: Float64Array) -> Float64Array:
    """Return the sum over each series' nest of share × (exp(utility) - 1) (S, W)."""
    attraction = nests.share[:, None] * np.expm1(np.clip(utility, -5.0, 5.0))
    return nests.groups.sum_by_group(attraction)[nests.groups.codes]


def sum_regular_utility(nests: Nests, slopes: Float64Array, regular: Float64Array) -> Float64Array:
    """Return the sum over each series' nest of share × slope × regular price (S, W).

    `slopes` (S,), `regular` (S, W) centred log prices.
    """
    utility = (nests.share * slopes)[:, None] * regular
    return nests.groups.sum_by_group(utility)[nests.groups.codes]


def compute_inclusive_values(
    nests: Nests, inside: Float64Array, utility: Float64Array
) -> Float64Array:
    """Return the inclusive value of each series' nest (S, W), 0 at usual utilities."""
    return np.log(np.maximum(1 + inside[:, None] * sum_attraction(nests, utility), 1e-6))


def _limit(normal: Normal) -> Normal:
    return replace(normal, mean=np.clip(normal.mean, 0.0, LARGEST_SHARE))


def _truncate(normal: Normal) -> Normal:
    return truncate(normal.mean, normal.errors, np.full(len(normal.mean), LARGEST_SHARE))
