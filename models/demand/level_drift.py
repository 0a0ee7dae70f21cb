"""Drift of a whole zone's sales: how far its level moved between an origin and a later week.

All items of a shop sell more or less together as months go by. What moved in the training weeks
says nothing about the weeks to come, so the learner sees each series beside its zone's movement;
otherwise it would take one autumn's decline for the usual course of every forecast. A season that
comes back every year is no drift.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float32Array, Float64Array, Int64Array
from models.demand.censoring import fill_censored_weeks
from models.demand.features import compute_levels_of_sums
from models.demand.panel import DemandPanel, encode
from models.demand.seasons import knows_season, measure_past_season, measure_season
from models.demand.week_effects import WeekEffects

_SMOOTHED = 2  # weeks on each side of a week over which the level of the zone is averaged
_TREND_WEEKS = 26
_MIN_TREND_WEEKS = 12
_ERRORS = 3.0  # standard errors from no trend within which there is none
_DAMPING = 0.95  # share of a week's trend that is left a week later
_MOST_ALIKE = 0.9
_MOST_GROWTH = 2.0  # of a zone's level over all weeks ahead
_PRIOR_UNITS = 100.0  # weekly units of a zone whose movement counts half, as mostly noise


@dataclass(frozen=True)
class LevelDrift:
    """Weekly units of each zone, zones × n_known, and the row of each of N series in them.

    season_strength   how far the seasons of earlier years come back, of fit_season_strength
    """

    units: Float64Array
    zone: Int64Array
    season_strength: float = 0.0

    def take(self, series: Int64Array) -> LevelDrift:
        """Return the drift of some series."""
        return LevelDrift(self.units, self.zone[series], self.season_strength)

    def factors(self, origin: int, week: int) -> Float32Array:
        """Return N factors: the level around `week` over that known at `origin`.

        Levels of zones that sell little are noise: their factor is shrunk towards 1.
        """
        before = compute_levels_of_sums(self.units[:, :origin])
        around = self.units[:, max(week - _SMOOTHED, origin) : week + _SMOOTHED + 1].mean(axis=1)
        if self.season_strength and knows_season(origin):
            season = measure_season(
                self.units[:, :origin], week - origin + 1, compute_levels_of_sums
            )
            around = around / season**self.season_strength
        weight = _trust(before)
        with np.errstate(divide="ignore", invalid="ignore"):
            factor = np.where((before > 0) & (around > 0), (around / before) ** weight, 1.0)
        return np.asarray(factor[self.zone], np.float32)

    def forecast(self, steps: Sequence[int]) -> Float64Array:
        """Return N × steps factors that are expected `steps` weeks after the last known one.

        The zone's level moves on with its trend, less with every week ahead. A trend counts as far
        as it is more than three standard errors from none, so most zones have none.
        """
        factors = np.ones((len(self.units), len(steps)))
        weight = _trust(compute_levels_of_sums(self.units))
        for row, units in enumerate(self._recent_units()):
            slope = _fit_trend(units)
            if slope:
                line = np.exp(slope * np.arange(1.0 - len(units), 1.0))
                level = compute_levels_of_sums(line[None])[0]
                ahead = slope * _DAMPING * (1 - _DAMPING ** np.array(steps)) / (1 - _DAMPING)
                factor = np.exp(np.minimum(ahead, np.log(_MOST_GROWTH))) / level
                factors[row] = factor ** weight[row]
        return np.asarray(factors[self.zone], np.float64)

    def _recent_units(self) -> Float64Array:
        """Return the last weeks' units of each zone without their season; none where that is not
        known of each of them."""
        recent = self.units[:, -_TREND_WEEKS:]
        if not self.season_strength:
            return recent
        season = measure_past_season(self.units, recent.shape[1])
        if season is None:
            return recent[:, :0]
        return np.asarray(recent / season**self.season_strength, np.float64)


def _trust(level: Float64Array) -> Float64Array:
    """Return how far the movement of zones of these levels is more than noise, 0 to 1."""
    return np.asarray(level / (level + _PRIOR_UNITS), np.float64)


def _fit_trend(units: Float64Array) -> float:
    """Return the weekly trend of a zone's logarithm; 0 where it is not far from none.

    Errors of successive weeks are alike, so the standard error is that of fewer weeks.
    """
    if len(units) < _MIN_TREND_WEEKS or units.min() <= 0:
        return 0.0
    logs = np.log(units)
    weeks = np.arange(len(logs)) - (len(logs) - 1) / 2
    squares = float(weeks @ weeks)
    slope = float(weeks @ logs) / squares
    errors = logs - logs.mean() - slope * weeks
    variance = float(errors @ errors)
    if variance <= 0:
        return slope
    alike = min(max(float(errors[1:] @ errors[:-1]) / variance, 0.0), _MOST_ALIKE)
    squared_error = variance / (len(logs) - 2) / squares * (1 + alike) / (1 - alike)
    return slope * max(0.0, 1 - _ERRORS**2 * squared_error / slope**2) if slope else 0.0


def measure_past_drift(
    panel: DemandPanel,
    effects: WeekEffects,
    season_strength: float,
    origin: int,
    weeks: Int64Array,
) -> Float64Array:
    """Return N × weeks factors of known weeks after a past origin over those expected at it."""
    filled = fill_censored_weeks(panel).divide_units(effects.factors(panel))
    drift = measure_drift(filled, season_strength)
    factors = [drift.factors(origin, week) for week in weeks.tolist()]
    known = measure_drift(filled.truncate(origin), season_strength)
    expected = known.forecast((weeks - origin + 1).tolist())
    return np.stack(factors, axis=1) / expected


def measure_drift(panel: DemandPanel, season_strength: float = 0.0) -> LevelDrift:
    """Return the weekly units of each zone of a panel."""
    zone = encode(panel.zones.tolist())
    units = np.zeros((int(zone.max(initial=-1)) + 1, panel.n_known))
    np.add.at(units, zone, panel.units)
    return LevelDrift(units, zone, season_strength)
