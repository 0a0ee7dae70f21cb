"""Categories, departments and zones of a shop: sums over all items, including those never sold."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from features.contracts.arrays import Float64Array
from models.demand.new_items import ItemRates, find_waiting
from models.demand.panel import DemandPanel
from models.demand.reconcile import Hierarchy, build_hierarchy
from training.demand.catalogue_items import Catalogue, build_unsold_panel


class CatalogueAggregates:
    """U aggregates of the N series of a panel and of the catalogue's items that are not in it."""

    def __init__(self, panel: DemandPanel, items: Catalogue) -> None:
        self._panel = panel
        self._never_sold = build_unsold_panel(panel, items)
        self._zones = np.concatenate([panel.zones, self._never_sold.zones])
        self._categories = np.concatenate([panel.categories, self._never_sold.categories])
        self._brands = np.concatenate([panel.brands, self._never_sold.brands])

    @cached_property
    def hierarchy(self) -> Hierarchy:
        """The aggregates."""
        return build_hierarchy(self._zones, self._categories)

    def sum_units(self, units: Float64Array) -> Float64Array:
        """Return U × H sums of the N × H units of the panel's series; the others sold none."""
        none = np.zeros((self._never_sold.n_series, units.shape[1]))
        return self.hierarchy.bottom_up(np.concatenate([units, none]))

    def sum_means(self, known: DemandPanel, rates: ItemRates, means: Float64Array) -> Float64Array:
        """Return U × H sums of the N × H means of the panel's series.

        known   the panel at the origin; series that had not sold then count with their rate
        """
        never_sold = self._never_sold.truncate(known.n_known)
        waits = np.concatenate([find_waiting(known), find_waiting(never_sold)])
        unsold = ~(known.units > 0).any(axis=1)
        unsold = np.concatenate([unsold, np.ones(never_sold.n_series, bool)])
        no_means = np.zeros((never_sold.n_series, means.shape[1]))
        all_means = np.concatenate([means, no_means])
        for series in np.flatnonzero(unsold):
            all_means[series] = rates.look_up(
                str(self._zones[series]),
                str(self._categories[series]),
                str(self._brands[series]),
                waits=bool(waits[series]),
            )
        return self.hierarchy.bottom_up(all_means)
