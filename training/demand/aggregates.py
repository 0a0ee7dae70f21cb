"""Categories, departments and zones of a backtest: the nodes above all items, those without a sale
yet included."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from features.contracts.arrays import Float64Array
from models.demand.new_items import ItemRates, waiting
from models.demand.panel import DemandPanel
from models.demand.reconcile import Hierarchy, hierarchy
from training.demand.panel import Catalogue, unsold_panel


class Nodes:
    """U nodes above the N series of a panel and the items of the catalogue that are not in it."""

    def __init__(self, panel: DemandPanel, items: Catalogue) -> None:
        self._panel = panel
        self._never = unsold_panel(panel, items)

    @cached_property
    def tree(self) -> Hierarchy:
        """The nodes."""
        return hierarchy(self._both("zones"), self._both("categories"))

    def _both(self, name: str) -> np.ndarray:
        return np.concatenate([getattr(self._panel, name), getattr(self._never, name)])

    def units(self, units: Float64Array) -> Float64Array:
        """U × H sums of the N × H units of the panel's series; the others sold none."""
        blank = np.zeros((self._never.n_series, units.shape[1]))
        return self.tree.bottom_up(np.concatenate([units, blank]))

    def means(self, known: DemandPanel, rates: ItemRates, means: Float64Array) -> Float64Array:
        """U × H sums of the N × H means of the panel's series; what had not sold yet counts with
        the rate of its like.

        known   the panel at the origin
        """
        never = self._never.known_until(known.n_known)
        waits = np.concatenate([waiting(known), waiting(never)])
        unsold = np.concatenate([~(known.units > 0).any(axis=1), np.ones(never.n_series, bool)])
        whole = np.concatenate([means, np.zeros((never.n_series, means.shape[1]))])
        about = [self._both(name) for name in ("zones", "categories", "brands")]
        for series in np.flatnonzero(unsold):
            zone, category, brand = (str(values[series]) for values in about)
            whole[series] = rates.of(zone, category, brand, waits=bool(waits[series]))
        return self.tree.bottom_up(whole)
