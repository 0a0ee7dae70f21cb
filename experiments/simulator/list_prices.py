"""Costs, regular prices and a competitor's prices of a simulated shop, week by week."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from experiments.simulator.catalogue import Catalogue
from experiments.simulator.parameters import ShopParameters
from features.contracts.arrays import BoolArray, Float64Array, Int64Array

_FORESEEN_WEEKS = 8  # whose demand a change of a regular price may foresee
_COMPETITOR_MARK_UP = 0.05  # spread of the competitor's first prices around the shop's


@dataclass(frozen=True)
class ListPrices:
    """All arrays (N, T), minor units.

    competitor   what a competitor asks for the same item, known to the shop or not
    """

    regular: Int64Array
    cost: Int64Array
    competitor: Int64Array


def draw_list_prices(
    parameters: ShopParameters,
    catalogue: Catalogue,
    demand: Float64Array,
    rng: np.random.Generator,
    rng_of_extras: np.random.Generator,
) -> ListPrices:
    """Draw the prices. Regular ones follow costs, chance, a competitor and the demand to come.

    `demand` (N, T): log demand at unchanged prices, standardised by item. What is off by default
    draws from `rng_of_extras`.
    """
    shape: tuple[int, ...] = demand.shape
    cost_steps = _draw_steps(rng, shape, parameters.cost_steps, parameters.cost_spread, add=True)
    changed, sizes = _draw_changes(rng, shape, parameters.price_steps)
    cost_steps = cost_steps + _draw_cost_rounds(parameters, catalogue, shape[1], rng_of_extras)
    foresight = parameters.price_foresight if parameters.confounded else 0.0
    if foresight:
        coming = _average_coming(demand)
        sizes = np.sqrt(1 - foresight**2) * sizes + foresight * coming
    price_steps = _hold(changed, np.where(changed, parameters.price_spread * sizes, 0.0))
    competitor_steps = _draw_steps(
        rng_of_extras, shape, parameters.competitor_steps, parameters.competitor_spread, add=False
    )
    mark_up = _COMPETITOR_MARK_UP * rng_of_extras.normal(size=(shape[0], 1))
    never_moves: BoolArray = rng_of_extras.random((shape[0], 1)) < parameters.never_repriced
    pass_through = parameters.pass_through * cost_steps
    wanted = pass_through + price_steps + parameters.competitor_match * competitor_steps
    if parameters.price_stickiness:
        wanted = hold_prices(wanted, parameters.price_stickiness, parameters.largest_change)
    moves = np.where(never_moves, 0.0, wanted)
    first = catalogue.price[:, None]
    return ListPrices(
        regular=round_to_ending_9(first * np.exp(moves)),
        cost=np.rint(catalogue.cost[:, None] * np.exp(cost_steps)).astype(np.int64),
        competitor=round_to_ending_9(first * np.exp(mark_up + pass_through + competitor_steps)),
    )


def hold_prices(wanted: Float64Array, smallest: float, largest: float) -> Float64Array:
    """Return log prices (N, T) that follow the wanted ones, seldom.

    They move when the gap reaches `smallest`, and then by at most `largest`.

    >>> hold_prices(np.array([[0.0, 0.02, 0.05, 0.06, 0.3]]), 0.03, 0.15).round(6).tolist()
    [[0.0, 0.0, 0.05, 0.05, 0.2]]
    """
    held = wanted.copy()
    for week in range(1, wanted.shape[1]):
        gap = wanted[:, week] - held[:, week - 1]
        move = np.where(np.abs(gap) >= smallest, np.clip(gap, -largest, largest), 0.0)
        held[:, week] = held[:, week - 1] + move
    return held


def round_to_ending_9(prices: Float64Array) -> Int64Array:
    """Return the nearest price that ends in 9.

    >>> round_to_ending_9(np.array([151.0, 146.0, 3.0])).tolist()
    [149, 149, 9]
    """
    return np.asarray(np.maximum(np.rint((prices - 9) / 10), 0).astype(np.int64) * 10 + 9)


def _draw_cost_rounds(
    parameters: ShopParameters, catalogue: Catalogue, n_weeks: int, rng: np.random.Generator
) -> Float64Array:
    """Draw log costs (N, T) that move for a whole category at once, from 0 on."""
    shape = (int(catalogue.category.max()) + 1, n_weeks)
    changed, sizes = _draw_changes(rng, shape, parameters.cost_rounds)
    mean, spread = parameters.cost_round_size
    rounds = np.cumsum(np.where(changed, mean + spread * sizes, 0.0), axis=1)
    return np.asarray(rounds[catalogue.category])


def _draw_steps(
    rng: np.random.Generator, shape: tuple[int, ...], share: float, spread: float, *, add: bool
) -> Float64Array:
    """Draw levels (N, T) from 0 on that change in a `share` of weeks.

    Each new draw is added to the level before, or replaces it.
    """
    changed, draws = _draw_changes(rng, shape, share)
    sizes = np.where(changed, spread * draws, 0.0)
    return np.asarray(np.cumsum(sizes, axis=1)) if add else _hold(changed, sizes)


def _draw_changes(
    rng: np.random.Generator, shape: tuple[int, ...], share: float
) -> tuple[BoolArray, Float64Array]:
    """Draw in which weeks something changes (N, T), never the first, and normal sizes (N, T)."""
    changed: BoolArray = np.asarray(rng.random(shape) < share)
    changed[:, 0] = False
    return changed, rng.normal(size=shape)


def _hold(changed: BoolArray, sizes: Float64Array) -> Float64Array:
    """Return the sizes (N, T) of the latest change of each week."""
    latest = np.maximum.accumulate(np.where(changed, np.arange(sizes.shape[1]), 0), axis=1)
    return np.take_along_axis(sizes, latest, axis=1)


def _average_coming(demand: Float64Array) -> Float64Array:
    """Return the mean (N, T) over each week and those after it, of spread 1 by item.

    >>> _average_coming(np.array([[0.0, 0.0, 2.0, 2.0]])).round(3).tolist()
    [[-1.347, -0.577, 0.962, 0.962]]
    """
    sums = np.cumsum(demand[:, ::-1], axis=1)[:, ::-1]
    n_weeks = demand.shape[1]
    span = min(_FORESEEN_WEEKS, n_weeks)
    later = np.concatenate([sums[:, span:], np.zeros((len(sums), span))], axis=1)
    weeks = np.minimum(span, n_weeks - np.arange(n_weeks))
    coming = (sums - later) / weeks
    return np.asarray((coming - coming.mean(1, keepdims=True)) / coming.std(1, keepdims=True))
