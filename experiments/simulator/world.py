"""The simulated shop itself: what is for sale, what was planned and sold, and what demand truly is.

Every random number is drawn in the same order and number whether the shop is confounded or not, so
the two are twins: same items, tastes, seasons and chance, and promotions in other weeks. N items, T
weeks that are over, H weeks to come.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import stats

from experiments.simulator.catalogue import Catalogue, draw_catalogue
from experiments.simulator.demand import Demand
from experiments.simulator.parameters import ShopParameters
from experiments.simulator.plan import Plan, draw_plan
from experiments.simulator.weather import Weather, draw_weather
from features.contracts.arrays import Float64Array, Int64Array


@dataclass(frozen=True)
class SimulatedShop:
    """A shop of which everything is known.

    expected    (N, T) true expected units of each week, as planned and with that week's demand
    units       (N, T) units sold
    available   (N, T) units on hand at the beginning of a week; where they equal `units`, the item
                sold out
    """

    parameters: ShopParameters
    catalogue: Catalogue
    demand: Demand
    weather: Weather
    plan: Plan
    expected: Float64Array
    units: Int64Array
    available: Int64Array

    @property
    def item_ids(self) -> list[str]:
        return self.catalogue.item_ids

    @cached_property
    def current_minor(self) -> Int64Array:
        """(N,) regular prices after the last week; nothing is promoted in the weeks to come."""
        return np.asarray(self.plan.regular[:, -1])

    @cached_property
    def unit_cost_minor(self) -> Int64Array:
        """(N,) after the last week."""
        return np.asarray(self.plan.cost[:, -1])

    def units_at(self, prices_minor: npt.ArrayLike) -> Float64Array:
        """(N, S) true expected units over the weeks to come, at S sets of prices (N, S) that hold
        throughout."""
        log_prices = np.log(np.asarray(prices_minor, np.float64))
        ahead = self.weather.ahead.sum(1)
        return np.asarray(
            self.demand.units(log_prices, np.zeros(log_prices.shape)) * ahead[:, None]
        )

    def profit_at(self, prices_minor: npt.ArrayLike) -> Float64Array:
        """(S,) true expected profit of the whole shop over the weeks to come, minor units."""
        prices = np.asarray(prices_minor, np.float64)
        margin = prices - self.unit_cost_minor[:, None]
        return np.asarray((margin * self.units_at(prices)).sum(0))

    def elasticities(self) -> Float64Array:
        """(N, N) true elasticities at the current prices; own ones on the diagonal."""
        return self.demand.elasticities(np.log(self.current_minor.astype(np.float64)))


def simulate(parameters: ShopParameters, rng: np.random.Generator) -> SimulatedShop:
    """A shop drawn from `rng`; the same parameters and state of the generator give the same
    shop."""
    streams = rng.spawn(4)
    catalogue, demand = draw_catalogue(parameters, streams[0])
    weather = draw_weather(parameters, catalogue, streams[1])
    plan = draw_plan(parameters, catalogue, weather, streams[2])
    expected = demand.units(np.log(plan.offer), plan.push(parameters)) * weather.past
    units, available = _sales(parameters, expected, streams[3])
    return SimulatedShop(parameters, catalogue, demand, weather, plan, expected, units, available)


def _sales(
    parameters: ShopParameters, expected: Float64Array, rng: np.random.Generator
) -> tuple[Int64Array, Int64Array]:
    """Units wanted are Poisson around a noisy mean; a short delivery cuts them off."""
    noise = np.exp(parameters.noise * rng.normal(size=expected.shape) - parameters.noise**2 / 2)
    wanted = stats.poisson.ppf(rng.random(expected.shape), expected * noise).astype(np.int64)
    short = rng.random(expected.shape) < parameters.stock_outs
    delivered = np.floor(expected * rng.uniform(0.3, 0.8, expected.shape)).astype(np.int64)
    plenty = wanted + 1 + np.ceil(expected).astype(np.int64)
    available = np.where(short, delivered, plenty)
    return np.minimum(wanted, available), available
