"""A simulated shop: its items, plan and sales, and its true demand.

The same random numbers are drawn in the same order whether the shop is confounded or not, so the
two have the same items, tastes, seasons and chance, and promotions in other weeks. N items, T weeks
that are over, H weeks to come.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import stats

from experiments.simulator.catalogue import Catalogue, draw_catalogue
from experiments.simulator.customers import Customers, compute_push, draw_customers
from experiments.simulator.demand import Demand
from experiments.simulator.demand_factors import DemandFactors, draw_demand_factors
from experiments.simulator.parameters import ShopParameters
from experiments.simulator.plan import Plan, draw_plan
from features.contracts.arrays import Float64Array, Int64Array


@dataclass(frozen=True)
class SimulatedShop:
    """A shop whose true demand is known.

    expected    (N, T) true expected units of each week, as planned and with that week's demand
    units       (N, T) units sold
    available   (N, T) units on hand at the beginning of a week; where they equal `units`, the item
                sold out
    """

    parameters: ShopParameters
    catalogue: Catalogue
    customers: Customers
    demand: Demand
    demand_factors: DemandFactors
    plan: Plan
    expected: Float64Array
    units: Int64Array
    available: Int64Array

    @property
    def item_ids(self) -> list[str]:
        """N ids."""
        return self.catalogue.item_ids

    @cached_property
    def current_minor(self) -> Int64Array:
        """(N,) regular prices after the last week; nothing is promoted in the weeks to come."""
        return np.asarray(self.plan.regular[:, -1])

    @cached_property
    def unit_cost_minor(self) -> Int64Array:
        """(N,) after the last week."""
        return np.asarray(self.plan.cost[:, -1])

    @cached_property
    def push_ahead(self) -> Float64Array:
        """(N,) what moves demand beside regular prices in the weeks to come.

        The competitor keeps its prices; reference prices have settled at the shop's prices.
        """
        return np.asarray(self.parameters.competitor * self.plan.competitor_gap[:, -1])

    def predict_units(self, prices_minor: npt.ArrayLike) -> Float64Array:
        """Return true expected units (N, S) over the weeks to come, at S sets of prices (N, S).

        The prices are regular ones that stay: no reduction, and nobody remembers other prices.
        """
        log_prices = np.log(np.asarray(prices_minor, np.float64))
        ahead = self.demand_factors.ahead.sum(1)
        push = np.broadcast_to(self.push_ahead[:, None], log_prices.shape)
        return np.asarray(self.demand.units(log_prices, push) * ahead[:, None])

    def predict_profit(self, prices_minor: npt.ArrayLike) -> Float64Array:
        """Return the shop's true expected profit (S,) over the weeks to come, minor units."""
        prices = np.asarray(prices_minor, np.float64)
        margin = prices - self.unit_cost_minor[:, None]
        return np.asarray((margin * self.predict_units(prices)).sum(0))

    def compute_elasticities(self) -> Float64Array:
        """Return true elasticities (N, N) at the current prices; own ones on the diagonal.

        Of units to regular prices that stay.
        """
        log_prices = np.log(self.current_minor.astype(np.float64))
        return self.demand.elasticities(log_prices, self.push_ahead)

    def compute_first_week_elasticities(self) -> Float64Array:
        """Return d ln units / d ln regular price (N,) in the week of the change: the mean of a rise
        and a fall, which customers still compare with the price before.
        """
        gain, loss = self.parameters.reference_gain, self.parameters.reference_loss
        return np.asarray(self._own_elasticities(self.demand.slopes - (gain + loss) / 2))

    def compute_depth_elasticities(self) -> Float64Array:
        """Return d ln units / d ln (offer / regular price) (N,) of a small reduction.

        Without its announcement, after weeks at the regular price.
        """
        slopes = self.customers.depth_slopes(self.demand) - self.parameters.reference_gain
        return self._own_elasticities(slopes)

    def compute_announcement_lifts(self) -> Float64Array:
        """Return what an announcement of its reduction adds to an item's log units (N,)."""
        n = len(self.item_ids)
        log_prices = np.log(np.repeat(self.current_minor[:, None].astype(np.float64), n, axis=1))
        push = np.repeat(self.push_ahead[:, None], n, axis=1)
        quiet = self.demand.units(log_prices, push)
        announced = self.demand.units(log_prices, push + np.diag(self.customers.announcement))
        return np.asarray(np.log(np.diag(announced) / np.diag(quiet)))

    def _own_elasticities(self, slopes: Float64Array) -> Float64Array:
        """Return what log units gain (N,) when log units or utilities move with `slopes` (N,)."""
        return np.asarray(np.diag(self.compute_elasticities()) / self.demand.slopes * slopes)

    def compute_past_units(self, log_ratio: Float64Array) -> Float64Array:
        """Return true expected units (N, T) of past weeks, all of an item's prices multiplied.

        `log_ratio` (N,): logarithms of the factors.
        """
        push = compute_push(self.parameters, self.customers, self.demand, self.plan, log_ratio)
        log_offer = np.log(self.plan.offer) + log_ratio[:, None]
        return np.asarray(self.demand.units(log_offer, push) * self.demand_factors.past)


def simulate_shop(parameters: ShopParameters, rng: np.random.Generator) -> SimulatedShop:
    """Draw a shop; the same parameters and state of the generator give the same shop.

    What was added to the simulator later draws from the streams of `extras`.
    """
    streams = rng.spawn(8)
    extras = streams[4:]
    customers = draw_customers(parameters, extras[0])
    catalogue, demand = draw_catalogue(parameters, customers.regular_share, streams[0], extras[1])
    factors = draw_demand_factors(parameters, catalogue, streams[1], extras[2])
    plan = draw_plan(parameters, catalogue, factors, streams[2], extras[3])
    push = compute_push(parameters, customers, demand, plan, np.zeros(parameters.n_items))
    expected = demand.units(np.log(plan.offer), push) * factors.past
    units, available = draw_sales(parameters, plan, expected, streams[3])
    return SimulatedShop(
        parameters=parameters,
        catalogue=catalogue,
        customers=customers,
        demand=demand,
        demand_factors=factors,
        plan=plan,
        expected=expected,
        units=units,
        available=available,
    )


def draw_sales(
    parameters: ShopParameters, plan: Plan, expected: Float64Array, rng: np.random.Generator
) -> tuple[Int64Array, Int64Array]:
    """Draw units sold and units available (N, T).

    Units demanded are Poisson around a noisy mean; a short delivery limits what is sold.
    """
    noise = np.exp(parameters.noise * rng.normal(size=expected.shape) - parameters.noise**2 / 2)
    demanded = stats.poisson.ppf(rng.random(expected.shape), expected * noise).astype(np.int64)
    in_promotion = np.where(plan.depth > 0, parameters.short_promotions, 1.0)
    short = rng.random(expected.shape) < parameters.stock_outs * in_promotion
    delivered = np.floor(expected * rng.uniform(0.3, 0.8, expected.shape)).astype(np.int64)
    plenty = demanded + 1 + np.ceil(expected).astype(np.int64)
    available = np.where(short, delivered, plenty)
    return np.minimum(demanded, available), available
