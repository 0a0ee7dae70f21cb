"""Weeks without stock or with closed doors: their units are a lower bound of the demand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from features.contracts.arrays import BoolArray
from models.demand.panel import DemandPanel

_IN_STOCK = 0.95  # share of a week in stock from which its units count as the demand
_MEMORY = 8
# A zone that sold nothing in a week was closed if it sold this many units in its open weeks before:
# by chance alone that happens once in exp(10) = 22,000 weeks.
_UNITS_OF_OPEN_WEEK = 10.0
_OPEN_WEEKS = 4  # that must be known before


def find_censored_weeks(panel: DemandPanel) -> BoolArray:
    """Return N × n_known: weeks whose units are a lower bound, by stock or because of closed doors.

    Weeks without a stock count are taken to be in stock.
    """
    closed = _find_closed_weeks(panel)
    if panel.in_stock is None:
        return closed
    return np.asarray(closed | (panel.in_stock < _IN_STOCK))


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
