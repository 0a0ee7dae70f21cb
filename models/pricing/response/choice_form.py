"""The choice form of a price response: the shoppers of a nest buy one of its items, or nothing.

A multinomial logit with an outside option (McFadden, Conditional logit analysis of qualitative
choice behavior, 1974). Log units of an item are its utility less the nest's inclusive value

    V = ln(1 + inside × sum over the nest of share × (exp(utility) - 1)),

where utilities are counted from their usual level, shares are those of the nest's usual sales, and
`inside` is the share of the shoppers who usually buy something. So log units plus V are linear in
the item's own prices and promotions, and `inside` is all there is to the neighbours: the price of j
moves the units of i by -slope of j × inside × share of j.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from features.contracts.arrays import BoolArray, Float64Array
from models.pricing.response.double_ml import Residuals, remove_levels
from models.pricing.response.group_regression import Levels
from models.pricing.response.nests import Nests
from models.pricing.response.treatments import combine_treatments

_LARGEST_INSIDE = 0.95
# Before the data: how much of a nest's demand stays in it. Where a shop names families, their
# share is the prior of nests that are only the rest of a category.
_PRIOR_INSIDE, _PRIOR_SPREAD = 0.15, 0.15
# The responses lag behind by a step, so full steps of `inside` go too far, and back.
_DAMPING = 0.6
_RIDGE = 0.02  # only makes least squares solvable where a treatment never moves


@dataclass(frozen=True)
class Inside:
    """The share of shoppers who buy something: of families, and of rests of categories.

    error   standard error of each
    """

    families: float = _PRIOR_INSIDE
    rests: float = _PRIOR_INSIDE
    families_error: float = _PRIOR_SPREAD
    rests_error: float = _PRIOR_SPREAD

    def spread(self, nests: Nests) -> Float64Array:
        """Return the value of each series (S,); 0 where it has no nest."""
        value = np.where(nests.declared, self.families, self.rests)
        return np.where(nests.nested, value, 0.0)

    def is_near(self, other: Inside) -> bool:
        """Whether both values differ from the other's by less than half their standard errors."""
        return (
            abs(self.families - other.families) < self.families_error / 2
            and abs(self.rests - other.rests) < self.rests_error / 2
        )

    def spread_relative_errors(self, nests: Nests) -> Float64Array:
        """Return the standard error over the value (S,)."""
        families = self.families_error / max(self.families, 0.05)
        rests = self.rests_error / max(self.rests, 0.05)
        return np.where(nests.declared, families, rests)


def sum_attraction(nests: Nests, utility: Float64Array) -> Float64Array:
    """Return the sum over each series' nest of share × (exp(utility) - 1) (S, W)."""
    attraction = nests.share[:, None] * np.expm1(np.clip(utility, -5.0, 5.0))
    return nests.groups.sum_by_group(attraction)[nests.groups.codes]


def compute_inclusive_values(nests: Nests, inside: Inside, utility: Float64Array) -> Float64Array:
    """Return the inclusive value of each series' nest (S, W), 0 at usual utilities."""
    share = inside.spread(nests)[:, None]
    return np.log(np.maximum(1 + share * sum_attraction(nests, utility), 1e-6))


def estimate_inside(
    nests: Nests,
    levels: Levels,
    before: Inside,
    utility: Float64Array,
    residuals: Residuals,
    unexplained: Float64Array,
) -> Inside:
    """Return `inside` after one Gauss-Newton step.

    `unexplained` (S, W) are the residual log units at `before`. An item's own responses are fitted
    anew for another `inside`, so only what they leave of the derivative counts (Frisch and Waugh,
    Partial time regressions, Econometrica 1933).
    """
    weights = residuals.weights
    attraction = sum_attraction(nests, utility)
    derivative = attraction / (1 + before.spread(nests)[:, None] * attraction)
    derivative = remove_levels(derivative, weights, levels)
    derivative = _remove_own_treatments(derivative, residuals)

    def step(series: BoolArray, value: float, prior: tuple[float, float]) -> tuple[float, float]:
        information = float((weights * derivative**2)[series].sum())
        slope = float((weights * derivative * unexplained)[series].sum())
        centre, spread = prior
        precision = information + 1 / spread**2
        # Units fall with the inclusive value: what it explains too little of is -slope.
        moved = value - _DAMPING * (slope + (value - centre) / spread**2) / precision
        return float(np.clip(moved, 0.0, _LARGEST_INSIDE)), precision**-0.5

    families, families_error = step(
        nests.nested & nests.declared, before.families, (_PRIOR_INSIDE, _PRIOR_SPREAD)
    )
    has_families = bool(nests.declared.any())
    centre = families if has_families else _PRIOR_INSIDE
    rests, rests_error = step(nests.nested & ~nests.declared, before.rests, (centre, _PRIOR_SPREAD))
    return replace(
        before,
        families=families,
        rests=rests,
        families_error=families_error,
        rests_error=rests_error,
    )


def _remove_own_treatments(values: Float64Array, residuals: Residuals) -> Float64Array:
    """Return values (S, W) less their regression on each series' own treatments."""
    weights, treatments = residuals.weights, residuals.treatments
    products = np.einsum("sw,asw,bsw->sab", weights, treatments, treatments, optimize=True)
    sums = np.einsum("sw,asw,sw->sa", weights, treatments, values, optimize=True)
    system = products + _RIDGE * np.eye(len(treatments))
    coefficients = np.linalg.solve(system, sums[:, :, None])[:, :, 0]
    return np.where(weights > 0, values - combine_treatments(coefficients, treatments), 0.0)
