"""The plan of a simulated shop: regular prices, costs, promotions by kind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from experiments.simulator.catalogue import Catalogue
from experiments.simulator.demand_factors import DemandFactors
from experiments.simulator.parameters import ShopParameters
from features.contracts.arrays import BoolArray, Float64Array, Int64Array

_DISPLAYED, _MAILED = 0.4, 0.4  # share of price promotions that are also on display, in the mailer
_ALONE = 0.03  # share of weeks with a display, a mailer or a coupon of its own
_COUPONS = (0.15, 0.2, 0.25, 0.3)


@dataclass(frozen=True)
class Plan:
    """All arrays (N, T); prices and costs in minor units, shares 0..1.

    depth      discount of a price promotion; 0 without one
    display, mailer   reach; 0 without one
    coupon     depth of a public coupon; 0 without one. The shelf price stays
    """

    regular: Int64Array
    offer: Int64Array
    cost: Int64Array
    depth: Float64Array
    display: Float64Array
    mailer: Float64Array
    coupon: Float64Array

    def compute_push(self, parameters: ShopParameters) -> Float64Array:
        """Return the log lift of promotions beside their price (N, T).

        It includes the dip after a price promotion.
        """
        before = np.concatenate([np.zeros((len(self.depth), 1)), self.depth[:, :-1]], axis=1)
        lift = parameters.display_lift * self.display + parameters.mailer_lift * self.mailer
        return np.asarray(lift + parameters.coupon_lift * self.coupon - parameters.dip * before)


def draw_plan(
    parameters: ShopParameters,
    catalogue: Catalogue,
    factors: DemandFactors,
    rng: np.random.Generator,
) -> Plan:
    """Draw regular prices, costs and promotions.

    Regular prices follow costs and chance; promotions follow chance, and in a confounded shop the
    demand to come.
    """
    shape = factors.past.shape
    cost_steps = _draw_steps(rng, shape, parameters.cost_steps, parameters.cost_spread, add=True)
    price_steps = _draw_steps(
        rng, shape, parameters.price_steps, parameters.price_spread, add=False
    )
    cost = np.rint(catalogue.cost[:, None] * np.exp(cost_steps)).astype(np.int64)
    regular = round_to_ending_9(
        catalogue.price[:, None] * np.exp(parameters.pass_through * cost_steps + price_steps)
    )
    demand = np.log(factors.past)
    demand = (demand - demand.mean(1, keepdims=True)) / demand.std(1, keepdims=True)
    foreseen = parameters.foresight * demand if parameters.confounded else 0.0
    scale = np.hypot(1.0, parameters.foresight) if parameters.confounded else 1.0
    promoted = (rng.normal(size=shape) + foreseen) / scale > stats.norm.isf(parameters.promoted)
    depth = np.where(promoted, rng.choice(parameters.depths, shape), 0.0)
    offer = np.where(promoted, round_to_ending_9(regular * (1 - depth)), regular)

    def draw_support(share: float) -> BoolArray:
        return np.asarray(rng.random(shape) < np.where(promoted, share, _ALONE))

    display = np.where(draw_support(_DISPLAYED), rng.uniform(0.5, 1.0, shape), 0.0)
    mailer = np.where(draw_support(_MAILED), 1.0, 0.0)
    coupon = np.where(rng.random(shape) < _ALONE, rng.choice(_COUPONS, shape), 0.0)
    return Plan(
        regular=regular,
        offer=offer,
        cost=cost,
        depth=1 - offer / regular,
        display=display,
        mailer=mailer,
        coupon=coupon,
    )


def round_to_ending_9(prices: Float64Array) -> Int64Array:
    """Return the nearest price that ends in 9.

    >>> round_to_ending_9(np.array([151.0, 146.0, 3.0])).tolist()
    [149, 149, 9]
    """
    return np.asarray(np.maximum(np.rint((prices - 9) / 10), 0).astype(np.int64) * 10 + 9)


def _draw_steps(
    rng: np.random.Generator, shape: tuple[int, ...], share: float, spread: float, *, add: bool
) -> Float64Array:
    """Draw levels (N, T) from 0 on that change in a `share` of weeks.

    Each new draw is added to the level before, or replaces it.
    """
    changed = rng.random(shape) < share
    changed[:, 0] = False
    sizes = np.where(changed, spread * rng.normal(size=shape), 0.0)
    if add:
        return np.asarray(np.cumsum(sizes, axis=1))
    latest = np.maximum.accumulate(np.where(changed, np.arange(shape[1]), 0), axis=1)
    return np.take_along_axis(sizes, latest, axis=1)
