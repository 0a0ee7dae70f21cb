"""The most that sales can say of each item's price response: all else is known.

Known are the true means of the categories, all effects beside the item's own two slopes, the cross
effects, and how an item's demand moves from week to week, as a distribution. Not known is how it
moved. Whoever has to learn the rest from the tables too knows less, so what prices gain with this
response is what any estimator can hope for on average, as far as the normal approximations go: of
the counts, and of the distribution of slopes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from experiments.simulator.demand import Choice
from experiments.simulator.parameters import ShopParameters
from experiments.simulator.shop import SimulatedShop
from features.contracts.arrays import Float64Array
from features.contracts.pricing import EvidenceGrade, PricingItem

_WEEKS_A_YEAR = 52
_LEVEL_VARIANCE = 1.0  # of an item's log demand: nothing is known of it before the sales


def replace_by_knowable(
    items: Sequence[PricingItem], shop: SimulatedShop, rng: np.random.Generator
) -> list[PricingItem]:
    """Return items that have their true cross effects with own elasticities as they can be known.

    The estimates are drawn, so that they err as much as their errors say.
    """
    slope, error = _draw_regular_slopes(shop, rng)
    per_slope = np.diag(shop.compute_elasticities()) / shop.demand.slopes
    return [
        replace(
            item,
            elasticity=float(per_slope[n] * slope[n]),
            elasticity_error=float(abs(per_slope[n]) * error[n]),
            evidence_grade=EvidenceGrade.A,
        )
        for n, item in enumerate(items)
    ]


def _draw_regular_slopes(
    shop: SimulatedShop, rng: np.random.Generator
) -> tuple[Float64Array, Float64Array]:
    """Return estimated slopes on regular prices (N,) and their standard errors (N,).

    An item's slope on depth, and the ratio of its regular slope to it, are normal around the means
    of the category; both are learnt from the item's weeks by generalised least squares.
    """
    parameters, category = shop.parameters, shop.catalogue.category
    depth_slope, ratio = shop.customers.depth_slopes(shop.demand), shop.customers.regular_share
    means = [_average_by_group(values, category) for values in (depth_slope, ratio)]
    truth = np.stack([depth_slope - means[0], ratio - means[1]], axis=1)
    spread = parameters.slope_spread / np.sqrt(2), max(parameters.regular_share_spread, 1e-6)
    prior = np.diag(1 / np.square(spread))
    drifts = _build_demand_covariance(parameters)
    slope, error = np.empty(len(truth)), np.empty(len(truth))
    for n, design in enumerate(_build_designs(shop, *means)):
        noise = drifts + np.diag(1 / shop.expected[n] + parameters.noise**2)
        information = design.T @ np.linalg.solve(noise, design)
        # What the data say: information × truth, with an error of that covariance.
        root = np.linalg.cholesky(information + 1e-9 * np.eye(2))
        said = information @ truth[n] + root @ rng.normal(size=2)
        covariance = np.linalg.inv(prior + information)
        deviation = covariance @ said
        # The regular slope is ratio × depth slope; its derivatives by these two.
        derivative = np.array([means[1][n], means[0][n]])
        slope[n] = means[0][n] * means[1][n] + derivative @ deviation
        error[n] = np.sqrt(derivative @ covariance @ derivative)
    return slope, error


def _build_designs(
    shop: SimulatedShop, depth_slope: Float64Array, ratio: Float64Array
) -> Float64Array:
    """Return what each week's log units gain with an item's depth slope and with its ratio
    (N, T, 2)."""
    regular, offer = np.log(shop.plan.regular), np.log(shop.plan.offer)
    gap, depth = regular - shop.demand.reference[:, None], offer - regular
    kept = np.ones(gap.shape)
    if isinstance(shop.demand, Choice):
        shoppers = shop.demand.shoppers[shop.demand.family][:, None]
        kept = 1 - shop.expected / shop.demand_factors.past / shoppers
    by_depth_slope = kept * (ratio[:, None] * gap + depth)
    by_ratio = kept * depth_slope[:, None] * gap
    return np.stack([by_depth_slope, by_ratio], axis=2)


def _build_demand_covariance(parameters: ShopParameters) -> Float64Array:
    """Return the covariance (T, T) of an item's log demand, beside the noise of each week."""
    week = np.arange(parameters.n_weeks)
    distance = np.abs(week[:, None] - week)
    shocks = parameters.item_shock**2 * parameters.item_shock_memory**distance
    drifts = parameters.drift**2 * parameters.drift_memory**distance
    to_end = week[-1] - week
    walk = parameters.level_drift**2 / _WEEKS_A_YEAR * np.minimum(to_end[:, None], to_end)
    return np.asarray(_LEVEL_VARIANCE + shocks + drifts + walk)


def _average_by_group(values: Float64Array, group: np.ndarray) -> Float64Array:
    return np.asarray((np.bincount(group, values) / np.bincount(group))[group])
