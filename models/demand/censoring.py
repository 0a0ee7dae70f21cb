"""Weeks in which an item was out of stock: their units are a lower bound of the demand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from features.contracts.arrays import BoolArray
from models.demand.panel import DemandPanel

_IN_STOCK = 0.95  # share of a week in stock from which its units count as the demand
_MEMORY = 8


def find_censored_weeks(panel: DemandPanel) -> BoolArray:
    """Return N × n_known: weeks whose units are a lower bound; none where no stock is known."""
    if panel.in_stock is None:
        return np.zeros(panel.units.shape, bool)
    return np.asarray(panel.in_stock < _IN_STOCK)


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
