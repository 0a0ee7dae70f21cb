"""Effects of a week on a whole zone's sales: first days of a month, holidays, weather, events.

A ridge regression of the logarithm of a zone's weekly units on its signals and a straight trend.
The learner sees series without these effects, and forecasts get those of their week, so that one
loud week is not taken for a new level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float32Array, Float64Array
from models.demand.panel import DemandPanel

_PENALTY = 0.1  # noise of a week's logarithm over the spread of a usual effect, squared
_TREND_PENALTY = 0.01
_TREND_WEEKS = 26  # the trend's unit of time
_MIN_WEEKS = 8
_BOUND = 0.7  # of a week's logarithm: no week doubles or halves a zone


@dataclass(frozen=True)
class WeekEffects:
    """The regression's slopes, Z × R by zone and signal, and the signals' means `usual`, Z × R."""

    zones: tuple[str, ...]
    names: tuple[str, ...]
    slopes: Float64Array
    usual: Float64Array

    def factors(self, panel: DemandPanel) -> Float32Array:
        """Return N × T factors on each series' units by week; 1 in an unknown zone."""
        result = np.ones((panel.n_series, len(panel.week_starts)), np.float32)
        for row, zone in enumerate(self.zones):
            if zone in panel.signal_zones and panel.signal_names == self.names:
                signals = panel.signals[:, panel.signal_zones.index(zone)]
                effect = self.slopes[row] @ (signals - self.usual[row][:, None])
                result[panel.zones == zone] = np.exp(np.clip(effect, -_BOUND, _BOUND))
        return result


def fit_week_effects(panel: DemandPanel) -> WeekEffects:
    """Fit the regression of each zone; a zone with few weeks has no effects.

    The first known week is left out, because it may be recorded in part.
    """
    n_signals = len(panel.signal_names)
    zones = panel.signal_zones if n_signals else ()
    slopes, usual = np.zeros((len(zones), n_signals)), np.zeros((len(zones), n_signals))
    weeks = np.arange(1, panel.n_known)
    penalty = np.diag([0.0, _TREND_PENALTY, *[_PENALTY] * n_signals])
    for row, zone in enumerate(zones):
        totals = panel.units[panel.zones == zone].sum(axis=0, dtype=np.float64)[1:]
        signals = panel.signals[:, row, 1 : panel.n_known].astype(np.float64)
        if len(weeks) < _MIN_WEEKS or totals.min() <= 0:
            continue
        usual[row] = signals.mean(axis=1)
        trend = (weeks - weeks.mean()) / _TREND_WEEKS
        columns = np.vstack([np.ones(len(weeks)), trend, signals - usual[row][:, None]]).T
        gram = columns.T @ columns + penalty
        slopes[row] = np.linalg.solve(gram, columns.T @ np.log(totals))[2:]
    return WeekEffects(zones, panel.signal_names, slopes, usual)
