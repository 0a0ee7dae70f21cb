"""Young shops of which all items grow, shrink or have one strong month, with their true means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float64Array
from tests.shops.demand_shops import DemandShop, Means, draw_orders

N_AHEAD = 13
_N_CATEGORIES = 6
_UNITS, _SPREAD = 3.0, 0.8  # median units of an item and week, and the deviation of their logarithm
_ITEM_WALK, _CATEGORY_SHOCK, _NOISE = 0.02, 0.08, 0.22


@dataclass(frozen=True)
class GrowingShop:
    """A drawn shop, and the mean units of its items in the weeks after its history, I × 13."""

    shop: DemandShop
    means_ahead: Float64Array


def trend_line(n_weeks: int, weekly: float, stops_before: int = 0) -> Float64Array:
    """Return the logarithm of the level of known weeks and those ahead, which grows by `weekly`.

    It stops growing `stops_before` weeks before the last known one, where that is not 0.
    """
    weeks = np.arange(n_weeks + N_AHEAD, dtype=np.float64)
    return weekly * (np.minimum(weeks, n_weeks - stops_before) if stops_before else weeks)


def strong_month(n_weeks: int, excess: float, weeks_since: int) -> Float64Array:
    """Return the same of a shop with four strong weeks that ended some weeks ago."""
    weeks = np.arange(n_weeks + N_AHEAD)
    ends = n_weeks - weeks_since
    return np.where((weeks >= ends - 4) & (weeks < ends), excess, 0.0)


def draw_growing_shop(line: Float64Array, seed: int, n_items: int = 100) -> GrowingShop:
    """Return the shop of a seed whose logarithm of the level is `line`.

    Around it items walk at random, categories share shocks, and the weeks of an item vary.
    """
    rng = np.random.default_rng([seed, n_items])
    n_all = len(line)
    levels = _UNITS * np.exp(rng.normal(0, _SPREAD, n_items))
    walks = np.cumsum(rng.normal(0, _ITEM_WALK, (n_items, n_all)), axis=1)
    means = levels[:, None] * np.exp(walks + line)
    shocks = rng.normal(0, _CATEGORY_SHOCK, (_N_CATEGORIES, n_all))
    n_known = n_all - N_AHEAD
    rates = means * np.exp(shocks[np.arange(n_items) % _N_CATEGORIES])
    orders = draw_orders(Means(rates[:, :n_known], sizes=1.0, noise=_NOISE), rng)
    prices = np.round(rng.uniform(2, 40, n_items), 2)
    shop = DemandShop(
        n_items=n_items,
        n_weeks=n_known,
        orders=orders,
        price=np.tile(prices[:, None], n_known),
        n_categories=_N_CATEGORIES,
    )
    return GrowingShop(shop, means[:, n_known:])
