"""Items of the catalogue, and the panel of those that never sold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa

from features.contracts.arrays import DatetimeArray, Float64Array, ObjectArray
from features.contracts.tables import TIMESTAMP
from features.facts.facts import Facts
from models.demand.panel import DemandPanel


@dataclass(frozen=True)
class Catalogue:
    """Items by id, ascending; text is '' and available_from (UTC) is NaT where unknown."""

    item_ids: ObjectArray
    categories: ObjectArray
    brands: ObjectArray
    available_from: DatetimeArray


def read_catalogue(facts: Facts) -> Catalogue:
    """Return all items of the catalogue."""
    rows = read_items(facts).sort_by("item_id")
    item_ids, categories, brands = (
        rows[name].to_numpy(zero_copy_only=False) for name in ("item_id", "category", "brand")
    )
    return Catalogue(item_ids, categories, brands, to_instants(rows["available_from"]))


def read_items(facts: Facts) -> pa.Table:
    """Return item_id, available_from, category and brand of all items; '' without the last two."""
    items = facts.read("items")
    labels = {name: items[name].fill_null("") for name in ("category", "brand")}
    return items.select("item_id", "available_from", **labels).to_pyarrow()


def build_unsold_panel(panel: DemandPanel, items: Catalogue) -> DemandPanel:
    """Return a panel of the items that are not in `panel`, in every zone, on the same weeks.

    Units are 0, plans unknown.
    """
    missing = np.flatnonzero(~np.isin(items.item_ids.astype(str), panel.item_ids.astype(str)))
    zones = np.array(sorted(set(panel.zones.tolist())), object)
    n = len(missing) * len(zones)
    blank = np.full((n, len(panel.week_starts)), np.nan, np.float32)
    listed_week = find_listed_week(items.available_from[missing], panel.week_starts)
    first_of_zone = np.array([panel.zones.tolist().index(zone) for zone in zones], np.int64)
    open_share = panel.open_share
    if open_share is not None:
        open_share = np.tile(open_share[first_of_zone], (len(missing), 1))
    return DemandPanel(
        item_ids=np.repeat(items.item_ids[missing], len(zones)),
        zones=np.tile(zones, len(missing)),
        categories=np.repeat(items.categories[missing], len(zones)),
        week_starts=panel.week_starts,
        n_known=panel.n_known,
        units=np.zeros((n, panel.n_known), np.float32),
        kinds=panel.kinds,
        reach=np.zeros((len(panel.kinds), n, len(panel.week_starts)), np.float32),
        depth=None if panel.depth is None else blank,
        list_price=None if panel.list_price is None else blank,
        offer_price=None if panel.offer_price is None else blank,
        signal_names=panel.signal_names,
        signal_zones=panel.signal_zones,
        signals=panel.signals,
        brands=np.repeat(items.brands[missing], len(zones)),
        listed_week=np.repeat(listed_week, len(zones)),
        open_share=open_share,
    )


def find_listed_week(available_from: DatetimeArray, starts: Sequence[datetime]) -> Float64Array:
    """Return the week of each instant: -1 before the first week, -inf for an unknown instant."""
    weeks = pa.array(starts, TIMESTAMP).to_numpy(zero_copy_only=False)
    positions = np.searchsorted(weeks, available_from, side="right") - 1.0
    return np.where(np.isnat(available_from), -np.inf, positions)


def to_instants(column: pa.ChunkedArray) -> DatetimeArray:
    """Return a column of times as numpy times in UTC, microseconds."""
    return np.asarray(column.cast(TIMESTAMP).to_numpy(zero_copy_only=False), "datetime64[us]")
