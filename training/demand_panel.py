"""From facts to the panel that a demand model learns from."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.settings import Settings
from features.contracts.calendar import add_weeks, week_start, week_starts
from features.contracts.errors import BadInput
from features.contracts.tables import TIMESTAMP, EventType
from features.pipelines.demand import REACH, weekly_demand
from features.pipelines.expressions import before, promotion_kinds
from features.store.facts import Facts
from models.demand.panel import DemandPanel

Revenue = npt.NDArray[np.float64]
_BETWEEN = "\x1f"  # stands between zone and item while both are one key
_ALMOST_OVER = timedelta(days=2)  # a week with a sale on one of its last two days counts as over


def build_panel(facts: Facts, settings: Settings, *, until: datetime | None, ahead: int) -> tuple[DemandPanel, Revenue]:
    """Every series sold in the whole weeks before `until`, with plans for `ahead` weeks more.

    Also N × weeks of revenue, minor units: it weighs errors, and no model sees it. Raises BadInput without sales.
    """
    first, end = _span(facts, settings, until)
    starts = week_starts(first, add_weeks(end, ahead - 1, settings.timezone), settings.timezone)
    promotions = facts.read("promotions")
    kinds = promotion_kinds(promotions)
    relation = weekly_demand(
        facts.read("events"), promotions, facts.read("price_history"), as_of=end, week_starts=starts, kinds=kinds
    )
    columns = ["item_id", "zone", "week_start", "units", "revenue_minor", "promotion_depth"]
    columns += ["planned_list_price_minor", "planned_offer_price_minor", *(REACH + kind for kind in kinds)]
    rows = relation.select(*columns).to_pyarrow()
    return _arranged(rows, _categories(facts), tuple(starts), starts.index(end), kinds)


def catalogue_rows(facts: Facts) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.object_]]:
    """Items of the catalogue and their categories ('' when none)."""
    items = facts.read("items").select("item_id", "category").order_by("item_id").to_pyarrow()
    ids = items["item_id"].to_numpy(zero_copy_only=False)
    return ids, items["category"].fill_null("").to_numpy(zero_copy_only=False)


def unsold_panel(
    panel: DemandPanel, item_ids: npt.NDArray[np.object_], categories: npt.NDArray[np.object_]
) -> DemandPanel:
    """The items of the catalogue that never sold, in every zone, on the panel's weeks; units are 0, plans unknown."""
    missing = np.flatnonzero(~np.isin(item_ids.astype(str), panel.item_ids.astype(str)))
    zones = np.array(sorted(set(panel.zones.tolist())), object)
    n = len(missing) * len(zones)
    blank = np.full((n, len(panel.week_starts)), np.nan, np.float32)
    return DemandPanel(
        item_ids=np.repeat(item_ids[missing], len(zones)),
        zones=np.tile(zones, len(missing)),
        categories=np.repeat(categories[missing], len(zones)),
        week_starts=panel.week_starts,
        n_known=panel.n_known,
        units=np.zeros((n, panel.n_known), np.float32),
        kinds=panel.kinds,
        reach=np.zeros((len(panel.kinds), n, len(panel.week_starts)), np.float32),
        depth=None if panel.depth is None else blank,
        list_price=None if panel.list_price is None else blank,
        offer_price=None if panel.offer_price is None else blank,
    )


def _span(facts: Facts, settings: Settings, until: datetime | None) -> tuple[datetime, datetime]:
    """When the first sale was, and the end of the last whole week before `until`."""
    events = facts.read("events")
    events = events.filter(events.event_type == EventType.PURCHASE.value)
    if until is not None:
        events = before(events, until)
    row = events.aggregate(first=events.occurred_at.min(), last=events.occurred_at.max()).to_pyarrow().to_pylist()[0]
    if row["first"] is None:
        raise BadInput("there are no purchases to learn demand from", hint="Try: shopwright import DIR")
    latest = row["last"] + _ALMOST_OVER
    end = week_start(latest if until is None else min(until, latest), settings.timezone)
    return row["first"], end


def _categories(facts: Facts) -> pa.Table:
    items = facts.read("items")
    return items.select("item_id", category=items.category.fill_null("")).to_pyarrow()


def _arranged(
    rows: pa.Table, categories: pa.Table, starts: tuple[datetime, ...], n_known: int, kinds: tuple[str, ...]
) -> tuple[DemandPanel, Revenue]:
    """Long rows as arrays; series are in order of zone, then item."""
    weeks = pc.index_in(rows["week_start"], value_set=pa.array(starts, TIMESTAMP)).to_numpy()
    key = pc.binary_join_element_wise(rows["zone"], rows["item_id"], _BETWEEN).combine_chunks().dictionary_encode()
    names, codes = key.dictionary.to_numpy(zero_copy_only=False), key.indices.to_numpy()
    units = rows["units"].fill_null(0.0).to_numpy()
    sold = np.bincount(codes, weights=units * (weeks < n_known), minlength=len(names)) > 0
    order = np.flatnonzero(sold)
    order = order[np.argsort(names[order].astype(str), kind="stable")]
    position = np.full(len(names), -1)
    position[order] = np.arange(len(order))
    kept = position[codes] >= 0
    series, week = position[codes[kept]], weeks[kept]
    shape = (len(order), len(starts))

    def matrix(column: str, empty: float) -> npt.NDArray[np.float32]:
        values = np.full(shape, empty, np.float32)
        values[series, week] = rows[column].cast(pa.float64()).to_numpy(zero_copy_only=False)[kept]
        return values

    def plan(column: str) -> npt.NDArray[np.float32] | None:
        return None if rows[column].null_count == rows.num_rows else matrix(column, np.nan)

    zones, _, ids = np.char.partition(names[order].astype(str), _BETWEEN).T
    found = pc.index_in(pa.array(ids), value_set=categories["item_id"].combine_chunks()).to_numpy(zero_copy_only=False)
    labels = categories["category"].to_numpy(zero_copy_only=False)
    category = np.array([labels[int(i)] if i == i else "" for i in found], object)
    reach = [np.nan_to_num(matrix(REACH + kind, 0.0)) for kind in kinds]
    panel = DemandPanel(
        item_ids=ids.astype(object),
        zones=zones.astype(object),
        categories=category,
        week_starts=starts,
        n_known=n_known,
        units=np.nan_to_num(matrix("units", 0.0))[:, :n_known],
        kinds=kinds,
        reach=np.stack(reach) if reach else np.zeros((0, *shape), np.float32),
        depth=plan("promotion_depth"),
        list_price=plan("planned_list_price_minor"),
        offer_price=plan("planned_offer_price_minor"),
    )
    return panel, np.nan_to_num(matrix("revenue_minor", 0.0))[:, :n_known].astype(np.float64)
