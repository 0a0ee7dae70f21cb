"""The plan of a simulated shop: regular prices, costs, promotions by kind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from experiments.simulator.catalogue import Catalogue
from experiments.simulator.demand_factors import DemandFactors
from experiments.simulator.list_prices import draw_list_prices, round_to_ending_9
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
    announced  whether the reduction is announced; False without one
    competitor     the competitor's prices
    """

    regular: Int64Array
    offer: Int64Array
    cost: Int64Array
    depth: Float64Array
    display: Float64Array
    mailer: Float64Array
    coupon: Float64Array
    announced: BoolArray
    competitor: Int64Array

    @property
    def competitor_gap(self) -> Float64Array:
        """Return ln of the competitor's prices over those of the first week (N, T)."""
        return np.asarray(np.log(self.competitor / self.competitor[:, :1]))

    def compute_push(self, parameters: ShopParameters) -> Float64Array:
        """Return the log lift of promotions beside their price (N, T).

        It includes the dip after a price promotion.
        """
        before = np.zeros_like(self.depth)
        for week in range(1, self.depth.shape[-1]):
            left = parameters.dip_memory * before[:, week - 1]
            before[:, week] = self.depth[:, week - 1] + left
        lift = parameters.display_lift * self.display + parameters.mailer_lift * self.mailer
        return np.asarray(lift + parameters.coupon_lift * self.coupon - parameters.dip * before)


def draw_plan(
    parameters: ShopParameters,
    catalogue: Catalogue,
    factors: DemandFactors,
    rng: np.random.Generator,
    rng_of_extras: np.random.Generator,
) -> Plan:
    """Draw regular prices, costs and promotions.

    Promotions follow chance, and in a confounded shop the demand to come.
    """
    shape = factors.past.shape
    demand = np.log(factors.past)
    demand = (demand - demand.mean(1, keepdims=True)) / demand.std(1, keepdims=True)
    prices = draw_list_prices(parameters, catalogue, demand, rng, rng_of_extras)
    regular = prices.regular
    foreseen = parameters.foresight * demand if parameters.confounded else 0.0
    scale = np.hypot(1.0, parameters.foresight) if parameters.confounded else 1.0
    promoted = (rng.normal(size=shape) + foreseen) / scale > stats.norm.isf(parameters.promoted)
    depth = np.where(promoted, rng.choice(parameters.depths, shape), 0.0)
    offer = np.where(promoted, round_to_ending_9(regular * (1 - depth)), regular)
    announced = (offer < regular) & (rng_of_extras.random(shape) >= parameters.unannounced)

    def draw_support(share: float) -> BoolArray:
        return np.asarray(rng.random(shape) < np.where(promoted, share, _ALONE))

    display = np.where(draw_support(_DISPLAYED), rng.uniform(0.5, 1.0, shape), 0.0)
    mailer = np.where(draw_support(_MAILED), 1.0, 0.0)
    coupon = np.where(rng.random(shape) < _ALONE, rng.choice(_COUPONS, shape), 0.0)
    return Plan(
        regular=regular,
        offer=offer,
        cost=prices.cost,
        depth=1 - offer / regular,
        display=display,
        mailer=mailer,
        coupon=coupon,
        announced=announced,
        competitor=prices.competitor,
    )
