"""What the weeks ahead sold in earlier years over what had sold before them, by category."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
_ORIGIN_STEP = 2
_BLOCK_WEEKS = 13  # whose errors may be alike
_BLOCK_DEVIATION = 0.15  # of the strength of one block from that of all
_ERRORS = 2.0  # standard errors from no season within which there is none

# C × t units of the weeks before an origin -> C × 1 or C × steps expected units of a week
Forecast = Callable[[Float64Array], Float64Array]


def knows_season(n_weeks: int) -> bool:
    """Return whether a year before is known to the last of `n_weeks`."""
    return n_weeks - YEAR >= _FIRST_ORIGIN


@dataclass(frozen=True)
class SeasonStrength:
    """How far the shop's season comes back, and what is a category's own: 0 not, 1 in full."""

    shop: float = 0.0
    category: float = 0.0

    def __bool__(self) -> bool:
        return self.shop > 0 or self.category > 0


NO_SEASON, FULL_SEASON = SeasonStrength(), SeasonStrength(1.0, 1.0)


@dataclass(frozen=True)
class Seasons:
    """Factors of weeks: the shop's (steps), and what C categories sold beyond it (C × steps)."""

    shop: Float64Array
    category: Float64Array

    def scale(self, strength: SeasonStrength) -> Float64Array:
        """Return C × steps factors as far as seasons come back."""
        return np.asarray(self.shop**strength.shop * self.category**strength.category)


def measure_seasons(units: Float64Array, steps: Sequence[int], forecast: Forecast) -> Seasons:
    """Return the seasons of the weeks after the last, of C × T units by category.

    The units of each week, of three around it, in earlier years over what `forecast` expected then
    from the weeks before; shrunk towards the shop's. The growth from year to year is no season. 1
    where no year before is known.
    """
    n_categories, n_weeks = units.shape
    units = units * np.exp(-_measure_growth(units) * (np.arange(n_weeks) - n_weeks))
    then, expected = np.zeros((2, n_categories, len(steps)))
    ahead = np.array(steps, np.int64) - 1
    sums = np.pad(np.cumsum(units, axis=1), ((0, 0), (1, 0)))
    for origin in range(n_weeks - YEAR, _FIRST_ORIGIN - 1, -YEAR):
        first = np.maximum(origin + ahead - _PROFILE_WEEKS // 2, 0)
        last = np.minimum(origin + ahead - _PROFILE_WEEKS // 2 + _PROFILE_WEEKS, n_weeks)
        then += (sums[:, last] - sums[:, first]) / (last - first)
        expected += forecast(units[:, :origin])
    shop = (then.sum(axis=0) + _SHOP_STRENGTH) / (expected.sum(axis=0) + _SHOP_STRENGTH)
    category = (then / shop + _CATEGORY_STRENGTH) / (expected + _CATEGORY_STRENGTH)
    return Seasons(np.asarray(shop), np.asarray(category))


def _measure_growth(units: Float64Array) -> float:
    """Return the weekly growth of the logarithm of all units since the same weeks a year before.

    The median over the weeks of the last year: a peak that did not come back is no growth.
    """
    n_compared = min(units.shape[1] - YEAR, YEAR)
    if n_compared < _FIRST_ORIGIN:
        return 0.0
    totals = np.log(units.sum(axis=0) + _SHOP_STRENGTH)
    before = totals[-YEAR - n_compared :][:n_compared]
    return float(np.median(totals[-n_compared:] - before) / YEAR)


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


def fit_season_strength(units: Float64Array, forecast: Forecast) -> SeasonStrength:
    """Return how far the season of the years before came back in C × T units.

    The slopes of the logarithm of what sold after each origin over what `forecast` expected, on
    that of the season: of the shop, and of categories beyond the shop's. All origins count to which
    a year before is known, since most weeks of a year show nothing of its peak. 0 without.

    >>> weeks = np.arange(130)
    >>> in_season = 100 * np.exp(np.sin(weeks / 52 * 2 * np.pi))
    >>> usual = lambda before: before[:, -8:].mean(axis=1, keepdims=True)
    >>> round(fit_season_strength(in_season[None], usual).shop, 2)
    0.97
    """
    n_categories, n_weeks = units.shape
    n_blocks = n_weeks // _BLOCK_WEEKS + 1
    shop, category = _Slope(n_blocks), _Slope(n_categories * n_blocks)
    for origin in range(n_weeks - 1, YEAR + _FIRST_ORIGIN - 1, -_ORIGIN_STEP):
        before = units[:, :origin]
        steps = [step for step in _STEPS if origin + step <= n_weeks]
        expected = np.broadcast_to(forecast(before), (n_categories, len(steps)))
        weeks = origin - 1 + np.array(steps)
        seasons = measure_seasons(before, steps, forecast)
        total, expected_total = units[:, weeks].sum(axis=0), expected.sum(axis=0)
        rise = np.log((total + _SHOP_STRENGTH) / (expected_total + _SHOP_STRENGTH))
        blocks = weeks // _BLOCK_WEEKS
        shop.add(np.log(seasons.shop), rise, np.minimum(expected_total, _MOST_WEIGHT), blocks)
        own_rise = np.log((units[:, weeks] + _SHOP_STRENGTH) / (expected + _SHOP_STRENGTH)) - rise
        own_blocks = blocks + n_blocks * np.arange(n_categories)[:, None]
        weights = np.minimum(expected, _MOST_WEIGHT)
        category.add(np.log(seasons.category), own_rise, weights, own_blocks)
    return SeasonStrength(shop.shrink(), category.shrink())


class _Slope:
    """A slope by weighted least squares through 0, between 0 and 1."""

    def __init__(self, n_blocks: int) -> None:
        self._products, self._squares = np.zeros((2, n_blocks))
        self._weight = 0.0

    def add(
        self, cause: Float64Array, effect: Float64Array, weight: Float64Array, block: Int64Array
    ) -> None:
        """Add values, all of one shape."""
        n_blocks = len(self._products)
        self._products += np.bincount(block.ravel(), (weight * cause * effect).ravel(), n_blocks)
        self._squares += np.bincount(block.ravel(), (weight * cause**2).ravel(), n_blocks)
        self._weight += float(weight.sum())

    def shrink(self) -> float:
        """Return the slope shrunk to 0 where the causes are small, and as far as its error leaves
        it uncertain: what moves a shop for some months is one event, whose weeks err alike."""
        square = self._squares.sum() + _LEAST_SEASON**2 * self._weight
        slope = min(self._products.sum() / square, 1.0) if square > 0 else 0.0
        if slope <= 0:
            return 0.0
        errors = self._products - slope * self._squares
        variance = (errors**2 + (_BLOCK_DEVIATION * self._squares) ** 2).sum() / square**2
        return float(slope * max(0.0, 1 - _ERRORS**2 * variance / slope**2))
