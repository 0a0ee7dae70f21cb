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

    def predict_units(self, prices_minor: npt.ArrayLike) -> Float64Array:
        """Return true expected units (N, S) over the weeks to come, at S sets of prices (N, S)."""
        log_prices = np.log(np.asarray(prices_minor, np.float64))
        ahead = self.demand_factors.ahead.sum(1)
        return np.asarray(
            self.demand.units(log_prices, np.zeros(log_prices.shape)) * ahead[:, None]
        )

    def predict_profit(self, prices_minor: npt.ArrayLike) -> Float64Array:
        """Return the shop's true expected profit (S,) over the weeks to come, minor units."""
        prices = np.asarray(prices_minor, np.float64)
        margin = prices - self.unit_cost_minor[:, None]
        return np.asarray((margin * self.predict_units(prices)).sum(0))

    def compute_elasticities(self) -> Float64Array:
        """Return true elasticities (N, N) at the current prices; own ones on the diagonal."""
        return self.demand.elasticities(np.log(self.current_minor.astype(np.float64)))


def simulate_shop(parameters: ShopParameters, rng: np.random.Generator) -> SimulatedShop:
    """Draw a shop; the same parameters and state of the generator give the same shop."""
    streams = rng.spawn(4)
    catalogue, demand = draw_catalogue(parameters, streams[0])
    factors = draw_demand_factors(parameters, catalogue, streams[1])
    plan = draw_plan(parameters, catalogue, factors, streams[2])
    expected = demand.units(np.log(plan.offer), plan.compute_push(parameters)) * factors.past
    units, available = _draw_sales(parameters, expected, streams[3])
    return SimulatedShop(
        parameters=parameters,
        catalogue=catalogue,
        demand=demand,
        demand_factors=factors,
        plan=plan,
        expected=expected,
        units=units,
        available=available,
    )


def _draw_sales(
    parameters: ShopParameters, expected: Float64Array, rng: np.random.Generator
) -> tuple[Int64Array, Int64Array]:
    """Draw units sold and units available (N, T).

    Units demanded are Poisson around a noisy mean; a short delivery limits what is sold.
    """
    noise = np.exp(parameters.noise * rng.normal(size=expected.shape) - parameters.noise**2 / 2)
    demanded = stats.poisson.ppf(rng.random(expected.shape), expected * noise).astype(np.int64)
    short = rng.random(expected.shape) < parameters.stock_outs
    delivered = np.floor(expected * rng.uniform(0.3, 0.8, expected.shape)).astype(np.int64)
    plenty = demanded + 1 + np.ceil(expected).astype(np.int64)
    available = np.where(short, delivered, plenty)
    return np.minimum(demanded, available), available
