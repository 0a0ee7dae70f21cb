"""What the week itself does to a whole zone's sales: the first days of a month, holidays, weather,
events.

A ridge regression of the logarithm of a zone's weekly units on its signals and a straight trend.
Series are seen without these effects and forecasts get those of their week, so that one loud week
is not taken for a new level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float32Array, Float64Array
from models.demand.panel import DemandPanel

_PENALTY = 0.1  # noise of a week's logarithm over the spread of a usual effect, squared
_TREND_PENALTY = 0.01
_MIN_WEEKS = 8
_BOUND = 0.7  # no week is thought to double or halve a zone


@dataclass(frozen=True)
class WeekEffects:
    """Slopes Z × R of the logarithm of units, by zone and signal, and the signals' usual values Z ×
    R."""

    zones: tuple[str, ...]
    names: tuple[str, ...]
    slopes: Float64Array
    usual: Float64Array

    def factors(self, panel: DemandPanel) -> Float32Array:
        """N × T: what each week does to each series; 1 in a usual week and in a zone that is not
        known."""
        result = np.ones((panel.n_series, len(panel.week_starts)), np.float32)
        for place, zone in enumerate(self.zones):
            if zone in panel.signal_zones and panel.signal_names == self.names:
                signals = panel.signals[:, panel.signal_zones.index(zone)]
                effect = self.slopes[place] @ (signals - self.usual[place][:, None])
                result[panel.zones == zone] = np.exp(np.clip(effect, -_BOUND, _BOUND))
        return result


def fit_week_effects(panel: DemandPanel) -> WeekEffects:
    """From the known weeks but the first, which may be recorded in part. Zones of few weeks have no
    effects."""
    n_signals = len(panel.signal_names)
    zones = panel.signal_zones if n_signals else ()
    slopes, usual = np.zeros((len(zones), n_signals)), np.zeros((len(zones), n_signals))
    weeks = np.arange(1, panel.n_known)
    for place, zone in enumerate(zones):
        totals = panel.units[panel.zones == zone].sum(axis=0, dtype=np.float64)[1:]
        signals = panel.signals[:, place, 1 : panel.n_known].astype(np.float64)
        if len(weeks) < _MIN_WEEKS or totals.min() <= 0:
            continue
        usual[place] = signals.mean(axis=1)
        rows = np.vstack(
            [np.ones(len(weeks)), (weeks - weeks.mean()) / 26, signals - usual[place][:, None]]
        ).T
        penalty = np.diag([0.0, _TREND_PENALTY, *[_PENALTY] * n_signals])
        slopes[place] = np.linalg.solve(rows.T @ rows + penalty, rows.T @ np.log(totals))[2:]
    return WeekEffects(zones, panel.signal_names, slopes, usual)
