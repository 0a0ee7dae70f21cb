"""What the weeks ahead sold in earlier years over what had sold before them, by category."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from features.contracts.arrays import Float32Array, Float64Array, Int64Array
from models.demand.baselines import YEAR

_PROFILE_WEEKS = 3  # around a week of an earlier year
_FIRST_ORIGIN = 4  # weeks that a year must know before its origin
_CATEGORY_STRENGTH = 20.0  # weekly units of a category that count as much as the shop's own season
_SHOP_STRENGTH = 5.0
# How far seasons come back is learnt at these weeks ahead; a season of this standard deviation of
# the logarithm is believed by half where it came back in full.
_STEPS = (1, 2, 3, 4, 6, 8, 10, 13)
_LEAST_SEASON = 0.05
_MOST_WEIGHT = 50.0  # weekly units of a category from which larger ones count the same


def knows_season(n_weeks: int) -> bool:
    """Return whether a year before is known to the last of `n_weeks`."""
    return n_weeks - YEAR >= _FIRST_ORIGIN


def measure_season(
    units: Float64Array, step: int, measure_level: Callable[[Float64Array], Float64Array]
) -> Float64Array:
    """Return C: the season of the week `step` weeks after the last, of C × T units by category.

    The units of that week, of three around it, in earlier years over the level that
    `measure_level` found then in the weeks before; shrunk towards the shop's. 1 where no year
    before is known.
    """
    n_categories, n_weeks = units.shape
    then, level = np.zeros(n_categories), np.zeros(n_categories)
    for origin in range(n_weeks - YEAR, _FIRST_ORIGIN - 1, -YEAR):
        target = origin + step - 1
        first = max(target - _PROFILE_WEEKS // 2, 0)
        then += units[:, first : target - _PROFILE_WEEKS // 2 + _PROFILE_WEEKS].mean(axis=1)
        level += measure_level(units[:, :origin])
    shop = (then.sum() + _SHOP_STRENGTH) / (level.sum() + _SHOP_STRENGTH)
    return np.asarray((then + _CATEGORY_STRENGTH * shop) / (level + _CATEGORY_STRENGTH))


def measure_past_season(units: Float64Array, n_weeks: int) -> Float64Array | None:
    """Return C × n_weeks: what the last weeks sold in earlier years, three weeks around each,
    over their mean; None where no year before all of them is known."""
    total = np.zeros((len(units), n_weeks))
    n_years = 0
    for end in range(units.shape[1] - YEAR, n_weeks + _PROFILE_WEEKS // 2 - 1, -YEAR):
        around = range(-(_PROFILE_WEEKS // 2), _PROFILE_WEEKS // 2 + 1)
        total += sum(units[:, end - n_weeks + shift : end + shift] for shift in around)
        n_years += 1
    if not n_years:
        return None
    total += _SHOP_STRENGTH
    return np.asarray(total / total.mean(axis=1, keepdims=True))


def sum_by_category(units: Float32Array | Float64Array, categories: Int64Array) -> Float64Array:
    """Return C × T sums of the N × T units of N series."""
    sums = np.zeros((int(categories.max(initial=-1)) + 1, units.shape[1]))
    np.add.at(sums, categories, units)
    return sums


def fit_season_strength(
    units: Float64Array,
    origins: Iterable[int],
    measure_level: Callable[[Float64Array], Float64Array],
) -> float:
    """Return how far the season of the years before came back in C × T units: 0 not, 1 in full.

    The slope of the logarithm of what categories sold after each origin over their level, on that
    of their season; shrunk to 0 where the seasons are small. 0 where no year before is known.

    >>> weeks = np.arange(130)
    >>> in_season = 100 * np.exp(np.sin(weeks / 52 * 2 * np.pi))
    >>> usual = lambda before: before[:, -8:].mean(axis=1)
    >>> round(fit_season_strength(in_season[None], range(100, 130), usual), 2)
    0.98
    """
    product = square = weight = 0.0
    for origin in filter(knows_season, origins):
        before = units[:, :origin]
        level = measure_level(before)
        weights = np.minimum(level, _MOST_WEIGHT)
        for step in _STEPS:
            if origin + step > units.shape[1]:
                break
            season = np.log(measure_season(before, step, measure_level))
            sold = units[:, origin + step - 1]
            rise = np.log((sold + _SHOP_STRENGTH) / (level + _SHOP_STRENGTH))
            product += float((weights * season * rise).sum())
            square += float((weights * season**2).sum())
            weight += float(weights.sum())
    if weight <= 0:
        return 0.0
    return float(np.clip(product / (square + _LEAST_SEASON**2 * weight), 0.0, 1.0))
