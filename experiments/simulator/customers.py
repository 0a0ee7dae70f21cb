"""What customers respond to beside the regular price: reductions, past prices, competitors.

N items, T weeks that are over. In log-linear demand a response adds to log units, in choice demand
to the utility.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from experiments.simulator.demand import Demand
from experiments.simulator.parameters import ShopParameters
from experiments.simulator.plan import Plan
from features.contracts.arrays import Float64Array

_WEEKS_A_YEAR = 52
_SMALLEST_SHARE, _LARGEST_SHARE = 0.4, 1.0


@dataclass(frozen=True)
class Customers:
    """Responses by item.

    regular_share   (N,) the slope on a regular price, divided by the slope on a reduction's depth
    announcement    (N,) lift of an announced reduction beside its depth
    slope_walk      (N, T) logarithm of the week's slopes divided by those of the last week
    """

    regular_share: Float64Array
    announcement: Float64Array
    slope_walk: Float64Array

    def depth_slopes(self, demand: Demand) -> Float64Array:
        """Return the slopes (N,) on ln (offer / regular price)."""
        return np.asarray(demand.slopes / self.regular_share)


def draw_customers(parameters: ShopParameters, rng: np.random.Generator) -> Customers:
    """Draw how customers respond."""
    category, n = parameters.item_category, parameters.n_items
    share_noise = rng.normal(size=n)
    category_noise = rng.normal(size=int(category.max()) + 1)[category]
    item_noise = rng.normal(size=n)
    walk = np.cumsum(rng.normal(size=(n, parameters.n_weeks)), axis=1)
    share = parameters.regular_share + parameters.regular_share_spread * share_noise
    lift = (category_noise + item_noise) * np.sqrt(0.5)
    announcement = parameters.announcement + parameters.announcement_spread * lift
    return Customers(
        regular_share=np.clip(share, _SMALLEST_SHARE, _LARGEST_SHARE),
        announcement=np.maximum(announcement, 0.0),
        slope_walk=parameters.slope_drift / np.sqrt(_WEEKS_A_YEAR) * (walk - walk[:, -1:]),
    )


def compute_push(
    parameters: ShopParameters,
    customers: Customers,
    demand: Demand,
    plan: Plan,
    log_ratio: Float64Array,
) -> Float64Array:
    """Return what moves demand beside the prices paid (N, T), in past weeks.

    `log_ratio` (N,): logarithm of a factor on all of an item's regular and offer prices.
    """
    reduction = np.log(plan.offer) - np.log(plan.regular)
    depth_slope = customers.depth_slopes(demand)[:, None]
    slope = demand.slopes[:, None]
    tastes = np.expm1(customers.slope_walk)
    regular_gap = np.log(plan.regular) + log_ratio[:, None] - demand.reference[:, None]
    push = plan.compute_push(parameters)
    push = push + (depth_slope - slope) * reduction
    push = push + tastes * (slope * regular_gap + depth_slope * reduction)
    push = push + customers.announcement[:, None] * plan.announced
    push = push + compare_with_reference(parameters, np.log(plan.offer) + log_ratio[:, None])
    return np.asarray(push + parameters.competitor * plan.competitor_gap)


def compare_with_reference(parameters: ShopParameters, log_paid: Float64Array) -> Float64Array:
    """Return the gain or loss (N, T) that customers see in prices paid (N, T), from past ones.

    Winer, A reference price model of brand choice for frequently purchased products, 1986: the
    reference price is an exponentially smoothed past price.

    >>> shop = ShopParameters(reference_gain=1.0, reference_loss=2.0, reference_memory=0.5)
    >>> compare_with_reference(shop, np.array([[1.0, 0.8, 1.0]])).round(6).tolist()
    [[0.0, 0.2, -0.2]]
    """
    memory = parameters.reference_memory
    reference = np.empty_like(log_paid)
    reference[:, 0] = log_paid[:, 0]
    for week in range(1, log_paid.shape[1]):
        before = week - 1
        reference[:, week] = memory * reference[:, before] + (1 - memory) * log_paid[:, before]
    gap = reference - log_paid
    gain = parameters.reference_gain * np.maximum(gap, 0.0)
    return np.asarray(gain + parameters.reference_loss * np.minimum(gap, 0.0))
