"""Simple forecasts of every series, which the blend chooses among: levels, trends and seasons.

They read units in which weeks without stock or with closed doors are filled, and in which a single
week far above all others, as a bulk order makes, is lowered to the second largest. Baselines of an
evaluation read the units as they are.

References: Gardner (2006), Exponential smoothing: the state of the art, part II (damped trend);
Assimakopoulos & Nikolopoulos (2000), The theta model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array
from models.demand import planned_baseline
from models.demand.baselines import (
    MONTH,
    YEAR,
    adida,
    croston_sba,
    naive,
    seasonal_naive,
    ses,
    tsb,
)
from models.demand.censoring import fill_censored_weeks
from models.demand.features import fit_strength_of_seasons
from models.demand.item_seasons import fit_exponents
from models.demand.launches import decaying_mean, mean_since_launch
from models.demand.level_drift import measure_drift
from models.demand.panel import DemandPanel
from models.demand.planned_baseline import (
    forecast_by_plan,
    gather_price_cuts,
    predict_plan_factors,
)
from models.demand.seasons import (
    FULL_SEASON,
    Forecast,
    SeasonStrength,
    knows_season,
    measure_seasons,
    sum_by_category,
)
from models.demand.zone_trend import ZoneTrend

_HALF_YEAR = 26
_SLOW, _FAST = 0.1, 0.3  # shares by which a decaying mean forgets in a week
_SPIKE, _SPIKE_UNITS = 5.0, 2.0  # a spike exceeds 5 × (the second largest week + 2 units)
_SPIKE_MEMORY = 26
_SPIKE_MIN_WEEKS = 6
_END_OF_ITEM = 0.01  # the chance that an item is given up in a week
_EMPTY_WEEKS = 0.03, 0.999  # bounds of the chance of a week without a sale
_MOST_SILENT = 60.0
_THETA_SMOOTHING = 0.2
_DAMPING, _TREND_SMOOTHING = 0.9, 0.05
_LEVEL_WEEKS = 8
_CYCLES = 3
# Within its first year a season looks like a trend: the trend counts in full until the first of
# these weeks, and not at all from the second one until a season could be known.
_TREND_IN_FULL, _NO_TREND = 20, 30


def predict_simple(panel: DemandPanel, steps: Sequence[int]) -> Float64Array:
    """Return N × steps × SIMPLE means of the weeks after the panel's last known one.

    Where a price list is known they are moved to the planned prices. They read units without the
    trend of the whole zone, and answer with it: a mean of past weeks lags behind a shop that grows.
    Where seasons come back, each is moved by how far it fell short at this time of earlier years.
    """
    filled = fill_censored_weeks(panel)
    strength = fit_strength_of_seasons(filled)
    trend = measure_trend(filled, strength)
    if not trend.is_flat:
        filled = filled.divide_units(trend.past(panel.n_known))
    units = lower_spikes(filled.units.astype(np.float64))
    seasons = CategorySeasons.fit(units, panel.groups[1], strength)
    by_price = predict_plan_factors(filled, gather_price_cuts(filled), steps)
    in_season = [
        forecast(units) * seasons.predict(forecast, steps) for forecast in _list_forecasts(steps)
    ]
    moving = [
        repeat_cycle(units, steps),
        seasonal_naive(units, max(steps, default=0))[:, [step - 1 for step in steps]],
        mean_since_launch(units, _LEVEL_WEEKS)[:, None]
        * estimate_season(units, panel.groups[1], steps),
    ]
    at_planned_prices = [by_price * forecast for forecast in (*in_season, *moving)]
    by_plan = forecast_by_plan(filled, steps) * seasons.predict(_repeat_level(tsb), steps)
    without_trend = np.stack([*at_planned_prices, by_plan], axis=-1)
    return np.asarray(without_trend * trend.ahead(steps)[:, :, None], np.float64)


def predict_tsb(panel: DemandPanel, steps: Sequence[int]) -> Float64Array:
    """Return N × steps of TSB with the trend of the whole zone, as the simple methods have it."""
    filled = fill_censored_weeks(panel)
    strength = fit_strength_of_seasons(filled)
    trend = measure_trend(filled, strength)
    units = filled.units.astype(np.float64) / trend.past(panel.n_known)
    seasons = CategorySeasons.fit(units, panel.groups[1], strength)
    return tsb(units)[:, None] * seasons.predict(_repeat_level(tsb), steps) * trend.ahead(steps)


@dataclass(frozen=True)
class CategorySeasons:
    """Units of each category, C × T, how far their seasons come back, and who follows them.

    exponent   N, how strongly each series follows the season of its category
    """

    units: Float64Array
    category: Int64Array
    strength: SeasonStrength
    exponent: Float64Array

    @classmethod
    def fit(cls, units: Float64Array, category: Int64Array, strength: SeasonStrength) -> Self:
        """Return the seasons of N × T units."""
        exponent = fit_exponents(units, category) if strength else np.ones(len(units))
        return cls(sum_by_category(units, category), category, strength, exponent)

    def predict(self, forecast: Forecast, steps: Sequence[int]) -> Float64Array:
        """Return N × steps factors on a forecast: what earlier years sold over it at this time."""
        if not self.strength:
            return np.ones((len(self.category), len(steps)))
        factors = measure_seasons(self.units, steps, forecast).scale(self.strength)
        return np.asarray(factors[self.category] ** self.exponent[:, None], np.float64)


def _list_forecasts(steps: Sequence[int]) -> list[Forecast]:
    """Return the levels and the trends, in the order of SIMPLE."""
    trends = partial(predict_theta, steps=steps), partial(predict_damped_trend, steps=steps)
    return [*map(_repeat_level, _LEVELS.values()), *trends]


def _repeat_level(level: Callable[[Float64Array], Float64Array]) -> Forecast:
    return lambda units: level(units)[:, None]


def measure_trend(panel: DemandPanel, strength: SeasonStrength) -> ZoneTrend:
    """Return the trend of each zone of a panel, without the season where earlier years show one."""
    if knows_season(panel.n_known):
        return measure_drift(panel, strength).fit_trend()
    share = (_NO_TREND - panel.n_known) / (_NO_TREND - _TREND_IN_FULL)
    trend = measure_drift(panel).fit_trend()
    return ZoneTrend(trend.slopes * min(max(share, 0.0), 1.0), trend.zone)


def lower_spikes(units: Float64Array) -> Float64Array:
    """Return units with a single week far above all others of the last half year lowered.

    >>> lower_spikes(np.array([[1.0, 2, 1, 0, 40, 1]])).tolist()
    [[1.0, 2.0, 1.0, 0.0, 2.0, 1.0]]
    """
    recent = units[:, -_SPIKE_MEMORY:]
    if recent.shape[1] < _SPIKE_MIN_WEEKS:
        return units
    second = np.partition(recent, -2, axis=1)[:, -2:-1]
    lowered = units.copy()
    is_spike = recent > _SPIKE * (second + _SPIKE_UNITS)
    lowered[:, -_SPIKE_MEMORY:] = np.where(is_spike, second, recent)
    return lowered


def mean_while_alive(units: Float64Array) -> Float64Array:
    """Return the decaying mean times the chance that the item is still sold.

    A week without a sale is a chance event or the end of the item, which is as likely in any week.
    How rare weeks without a sale were between its first and its last sale decides between both.

    >>> mean_while_alive(np.array([[8.0, 8, 8, 8, 8, 8, 0, 0]])).round(2).tolist()
    [0.43]
    """
    n_weeks = units.shape[1]
    sold = units > 0
    silent = np.where(sold.any(axis=1), np.argmax(sold[:, ::-1], axis=1), 0)
    week = np.arange(n_weeks)
    active = (np.cumsum(sold, axis=1) > 0) & (week < (n_weeks - silent)[:, None])
    n_active = np.maximum(active.sum(axis=1), 1)
    rate = (units * active).sum(axis=1) / n_active
    n_empty = (active & ~sold).sum(axis=1)
    empty = np.clip((n_empty + np.exp(-rate)) / (n_active + 1), *_EMPTY_WEEKS)
    # Ended one, two, ... or `silent` weeks ago; the silent weeks before the end are chance.
    ended = _END_OF_ITEM * (empty ** -np.minimum(silent, _MOST_SILENT) - 1) / (1 - empty)
    return np.asarray(decaying_mean(units, _SLOW) / (1 + ended), np.float64)


def predict_theta(units: Float64Array, steps: Sequence[int]) -> Float64Array:
    """Return N × steps: a smoothed level with half the slope of the straight line, at least 0."""
    n_weeks, alpha = units.shape[1], _THETA_SMOOTHING
    week = np.arange(n_weeks) - (n_weeks - 1) / 2
    slope = units @ week / max(float((week**2).sum()), 1.0)
    start = (1 - (1 - alpha) ** n_weeks) / alpha
    rise = np.array(steps) - 1 + start
    return np.asarray(np.maximum(ses(units, alpha)[:, None] + slope[:, None] / 2 * rise, 0.0))


def predict_damped_trend(units: Float64Array, steps: Sequence[int]) -> Float64Array:
    """Return N × steps of Holt's method with a trend that fades, at least 0."""
    level, trend = units[:, :4].mean(axis=1), np.zeros(len(units))
    for week in range(units.shape[1]):
        expected = level + _DAMPING * trend
        new_level = expected + _THETA_SMOOTHING * (units[:, week] - expected)
        trend = _DAMPING * trend + _TREND_SMOOTHING * (new_level - level - _DAMPING * trend)
        level = new_level
    reach = np.array([sum(_DAMPING**k for k in range(1, step + 1)) for step in steps])
    return np.asarray(np.maximum(level[:, None] + trend[:, None] * reach, 0.0))


def repeat_cycle(units: Float64Array, steps: Sequence[int]) -> Float64Array:
    """Return N × steps: the mean of the weeks four, eight and twelve weeks before each.

    Subscriptions come every four weeks and deals every second one. Weeks ahead repeat the last
    cycle; with fewer weeks there are fewer cycles.

    >>> repeat_cycle(np.array([[9.0, 1, 2, 3, 5, 1, 2, 3]]), [1, 2, 5]).tolist()
    [[7.0, 1.0, 7.0]]
    """
    n_weeks = units.shape[1]
    n_cycles = min(max(n_weeks // MONTH, 1), _CYCLES)
    period = min(MONTH, n_weeks)
    recent = units[:, n_weeks - n_cycles * period :]
    cycle = recent.reshape(len(units), n_cycles, period).mean(axis=1)
    return np.asarray(cycle[:, [(step - 1) % period for step in steps]])


def estimate_season(
    units: Float64Array, categories: Int64Array, steps: Sequence[int]
) -> Float64Array:
    """Return N × steps: a week's sales over those of the weeks before the origin, in past years.

    Ratios of a category's sums, shrunk towards the shop's; 1 where no year before is known.
    """
    by_category = sum_by_category(units, categories)

    def forecast(before: Float64Array) -> Float64Array:
        return np.asarray(before[:, -_LEVEL_WEEKS:].mean(axis=1, keepdims=True), np.float64)

    factors = measure_seasons(by_category, steps, forecast).scale(FULL_SEASON)
    return factors[categories]


_LEVELS: Mapping[str, Callable[[Float64Array], Float64Array]] = {
    "naive": naive,
    "mean of 8 weeks": lambda units: mean_since_launch(units, _LEVEL_WEEKS),
    "mean of 26 weeks": lambda units: mean_since_launch(units, _HALF_YEAR),
    "mean of 52 weeks": lambda units: mean_since_launch(units, YEAR),
    "decaying mean": lambda units: decaying_mean(units, _SLOW),
    "fast decaying mean": lambda units: decaying_mean(units, _FAST),
    "mean while alive": mean_while_alive,
    "CrostonSBA": croston_sba,
    "ADIDA": adida,
}
SIMPLE = (
    *_LEVELS,
    "Theta",
    "damped trend",
    "cycle of 4 weeks",
    "seasonal naive",
    "seasonal profile",
    planned_baseline.NAME,
)
