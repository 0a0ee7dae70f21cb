"""Weeks without stock or with closed doors: their units are a lower bound of the demand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from features.contracts.arrays import BoolArray, Float64Array
from models.demand.panel import DemandPanel

# Shares of a week in stock, and of its usual sales on open days, from which units are the demand.
_IN_STOCK, _OPEN = 0.95, 0.95
_MEMORY = 8
# A zone that sold nothing in a week was closed if it sold this many units in its open weeks before:
# by chance alone that happens once in exp(10) = 22,000 weeks.
_UNITS_OF_OPEN_WEEK = 10.0
_OPEN_WEEKS = 4  # that must be known before


def find_censored_weeks(panel: DemandPanel) -> BoolArray:
    """Return N × n_known: weeks whose units are a lower bound, by stock or because of closed doors.

    Weeks without a stock count are taken to be in stock. Doors are known to be closed by the table
    of closures, and are taken to be where a whole zone sold nothing for a while.
    """
    censored = _find_closed_weeks(panel)
    if panel.open_share is not None:
        censored |= panel.open_share[:, : panel.n_known] < _OPEN
    return np.asarray(censored | find_unstocked_weeks(panel))


def find_unstocked_weeks(panel: DemandPanel) -> BoolArray:
    """Return N × n_known: weeks in which the item was not in stock all the time."""
    if panel.in_stock is None:
        return np.zeros(panel.units.shape, bool)
    return np.asarray(panel.in_stock < _IN_STOCK)


def _find_closed_weeks(panel: DemandPanel) -> BoolArray:
    """Return N × n_known: weeks in which the series' whole zone was closed.

    It sold nothing, though it sold well before, and it sold again later: a shop that sells nothing
    up to the last known week may have stopped for good.
    """
    closed = np.zeros(panel.units.shape, bool)
    for zone in np.unique(panel.zones.astype(str)):
        of_zone = panel.zones == zone
        totals = panel.units[of_zone].sum(axis=0, dtype=np.float64)
        sold = np.flatnonzero(totals > 0)
        for week in np.flatnonzero(totals == 0):
            before = sold[sold < week][-_MEMORY:]
            if len(before) < _OPEN_WEEKS or week > sold[-1]:
                continue
            closed[of_zone, week] = totals[before].mean() >= _UNITS_OF_OPEN_WEEK
    return closed


def measure_activity(panel: DemandPanel) -> Float64Array:
    """Return N: how far a zone still sells, 1 where it sold in the last known weeks that were open.

    A zone that sold well and then nothing for weeks may have stopped: after the first of them each
    halves what is expected of all its series.
    """
    activity = np.ones(panel.n_series)
    weeks = slice(panel.n_known)
    for zone in np.unique(panel.zones.astype(str)):
        of_zone = np.flatnonzero(panel.zones == zone)
        totals = panel.units[of_zone].sum(axis=0, dtype=np.float64)
        if panel.open_share is not None:
            totals = totals[panel.open_share[of_zone[0], weeks] >= _OPEN]
        sold = np.flatnonzero(totals > 0)
        n_silent = len(totals) - 1 - sold[-1] if len(sold) else 0
        usual = totals[sold[-_MEMORY:]].mean() if len(sold) >= _OPEN_WEEKS else 0.0
        if n_silent > 1 and usual >= _UNITS_OF_OPEN_WEEK:
            activity[of_zone] = 0.5 ** (n_silent - 1)
    return activity


def fill_censored_weeks(panel: DemandPanel) -> DemandPanel:
    """Return the panel with censored weeks raised to the mean of the eight weeks before.

    Weeks raised earlier are part of that mean. Only earlier weeks are read, so a feature at an
    origin still knows no later week.
    """
    censored = find_censored_weeks(panel)
    if not censored.any():
        return panel
    units = panel.units.copy()
    for week in np.flatnonzero(censored.any(axis=0)):
        if week:
            rows = censored[:, week]
            usual = units[rows, max(week - _MEMORY, 0) : week].mean(axis=1)
            units[rows, week] = np.maximum(units[rows, week], usual)
    return replace(panel, units=units)
