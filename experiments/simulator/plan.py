"""What the simulated shop planned: regular prices, costs, promotions by kind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from experiments.simulator.catalogue import Catalogue
from experiments.simulator.parameters import ShopParameters
from experiments.simulator.weather import Weather
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

    def push(self, parameters: ShopParameters) -> Float64Array:
        """(N, T) log lift of what is promoted beside the price, and the dip after a price
        promotion."""
        before = np.concatenate([np.zeros((len(self.depth), 1)), self.depth[:, :-1]], axis=1)
        lift = parameters.display_lift * self.display + parameters.mailer_lift * self.mailer
        return np.asarray(lift + parameters.coupon_lift * self.coupon - parameters.dip * before)


def draw_plan(
    parameters: ShopParameters, catalogue: Catalogue, weather: Weather, rng: np.random.Generator
) -> Plan:
    """Regular prices follow costs and moods; promotions chance, and in a confounded shop the demand
    to come."""
    shape = weather.past.shape
    steps = _steps(rng, shape, parameters.cost_steps, parameters.cost_spread, add=True)
    moods = _steps(rng, shape, parameters.price_steps, parameters.price_spread, add=False)
    cost = np.rint(catalogue.cost[:, None] * np.exp(steps)).astype(np.int64)
    regular = ending_in_9(
        catalogue.price[:, None] * np.exp(parameters.pass_through * steps + moods)
    )
    demand = np.log(weather.past)
    demand = (demand - demand.mean(1, keepdims=True)) / demand.std(1, keepdims=True)
    seen = parameters.foresight * demand if parameters.confounded else 0.0
    scale = np.hypot(1.0, parameters.foresight) if parameters.confounded else 1.0
    promoted = (rng.normal(size=shape) + seen) / scale > stats.norm.isf(parameters.promoted)
    depth = np.where(promoted, rng.choice(parameters.depths, shape), 0.0)
    offer = np.where(promoted, ending_in_9(regular * (1 - depth)), regular)

    def beside(share: float) -> BoolArray:
        return np.asarray(rng.random(shape) < np.where(promoted, share, _ALONE))

    display = np.where(beside(_DISPLAYED), rng.uniform(0.5, 1.0, shape), 0.0)
    mailer = np.where(beside(_MAILED), 1.0, 0.0)
    coupon = np.where(rng.random(shape) < _ALONE, rng.choice(_COUPONS, shape), 0.0)
    return Plan(regular, offer, cost, 1 - offer / regular, display, mailer, coupon)


def ending_in_9(prices: Float64Array) -> Int64Array:
    """The nearest price that ends in 9.

    >>> ending_in_9(np.array([151.0, 146.0, 3.0])).tolist()
    [149, 149, 9]
    """
    return np.asarray(np.maximum(np.rint((prices - 9) / 10), 0).astype(np.int64) * 10 + 9)


def _steps(
    rng: np.random.Generator, shape: tuple[int, ...], share: float, spread: float, *, add: bool
) -> Float64Array:
    """A line of steps from 0 on: each new level is added to the one before, or takes its place."""
    moved = rng.random(shape) < share
    moved[:, 0] = False
    sizes = np.where(moved, spread * rng.normal(size=shape), 0.0)
    if add:
        return np.asarray(np.cumsum(sizes, axis=1))
    latest = np.maximum.accumulate(np.where(moved, np.arange(shape[1]), 0), axis=1)
    return np.take_along_axis(sizes, latest, axis=1)
