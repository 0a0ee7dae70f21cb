"""Weeks in which an item was out of stock say what could be sold, not what was wanted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from features.contracts.arrays import BoolArray
from models.demand.panel import DemandPanel

_IN_STOCK = 0.95  # a week counts as sold from full shelves from this share of its time in stock
_MEMORY = 8


def censored(panel: DemandPanel) -> BoolArray:
    """N × n_known: weeks whose units are a lower bound. None where no stock is known."""
    if panel.in_stock is None:
        return np.zeros(panel.units.shape, bool)
    return np.asarray(panel.in_stock < _IN_STOCK)


def uncensored(panel: DemandPanel) -> DemandPanel:
    """The panel with censored weeks lifted to the mean of the eight weeks before, of which lifted
    ones are part.

    Only earlier weeks are looked at, so a feature at an origin still knows no later week.
    """
    short = censored(panel)
    if not short.any():
        return panel
    units = panel.units.copy()
    for week in np.flatnonzero(short.any(axis=0)):
        if week:
            rows = short[:, week]
            usual = units[rows, max(week - _MEMORY, 0) : week].mean(axis=1)
            units[rows, week] = np.maximum(units[rows, week], usual)
    return replace(panel, units=units)
