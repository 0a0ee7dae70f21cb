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
from models.demand.features import compute_levels_of_sums, measure_level_seasons
from models.demand.panel import DemandPanel, encode
from models.demand.seasons import NO_SEASON, SeasonStrength, knows_season, measure_past_season
from models.demand.week_effects import WeekEffects
from models.demand.zone_trend import TREND_WEEKS, ZoneTrend, fit_trend

_SMOOTHED = 2  # weeks on each side of a week over which the level of the zone is averaged
_PRIOR_UNITS = 100.0  # weekly units of a zone whose movement counts half, as mostly noise


@dataclass(frozen=True)
class LevelDrift:
    """Weekly units of each zone, zones × n_known, and the row of each of N series in them.

    season_strength   how far the seasons of earlier years come back
    """

    units: Float64Array
    zone: Int64Array
    season_strength: SeasonStrength = NO_SEASON

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
            season = measure_level_seasons(self.units[:, :origin], week - origin + 1)
            around = around / season.scale(self.season_strength)[:, 0]
        weight = _trust(before)
        with np.errstate(divide="ignore", invalid="ignore"):
            factor = np.where((before > 0) & (around > 0), (around / before) ** weight, 1.0)
        return np.asarray(factor[self.zone], np.float32)

    def forecast(self, steps: Sequence[int]) -> Float64Array:
        """Return N × steps factors that are expected `steps` weeks after the last known one.

        The zone's level moves on with its trend, less with every week ahead; most zones have none.
        """
        trend = self.fit_trend()
        return trend.ahead(steps) / self._levels_of_lines(trend)[self.zone][:, None]

    def fit_trend(self) -> ZoneTrend:
        """Return the trend of each zone; that of zones that sell little is shrunk towards none.

        Where seasons come back and those of the last weeks are not known of earlier years, the
        trend counts the less the more of it may be the season.
        """
        recent, seasonal = self.units, 0.0
        if self.season_strength:
            recent = self.units[:, -TREND_WEEKS:]
            season = measure_past_season(self.units, recent.shape[1])
            if season is None:
                recent, seasonal = self.units, self.season_strength.shop
            else:
                recent = recent / season**self.season_strength.shop
        slopes = np.array([fit_trend(units) for units in recent])
        weight = _trust(compute_levels_of_sums(self.units)) * (1 - seasonal)
        return ZoneTrend(np.asarray(slopes * weight, np.float64), self.zone)

    def _levels_of_lines(self, trend: ZoneTrend) -> Float64Array:
        """Return the level of each zone's trend line, whose last known week is 1."""
        by_zone = ZoneTrend(trend.slopes, np.arange(len(self.units)))
        n_weeks = min(self.units.shape[1], TREND_WEEKS)
        return compute_levels_of_sums(by_zone.past(n_weeks).astype(np.float64))


def _trust(level: Float64Array) -> Float64Array:
    """Return how far the movement of zones of these levels is more than noise, 0 to 1."""
    return np.asarray(level / (level + _PRIOR_UNITS), np.float64)


def measure_past_drift(
    panel: DemandPanel,
    effects: WeekEffects,
    season_strength: SeasonStrength,
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


def measure_drift(panel: DemandPanel, season_strength: SeasonStrength = NO_SEASON) -> LevelDrift:
    """Return the weekly units of each zone of a panel."""
    zone = encode(panel.zones.tolist())
    units = np.zeros((int(zone.max(initial=-1)) + 1, panel.n_known))
    np.add.at(units, zone, panel.units)
    return LevelDrift(units, zone, season_strength)
