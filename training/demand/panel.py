"""From facts to the panel that a demand model learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.settings import Settings
from features.contracts.arrays import (
    DatetimeArray,
    Float32Array,
    Float64Array,
    Int64Array,
    ObjectArray,
)
from features.contracts.calendar import add_weeks, week_starts
from features.contracts.tables import TIMESTAMP
from features.facts.facts import Facts
from features.pipelines.demand import (
    REACH,
    week_spans,
    weekly_demand,
    weekly_prices,
    weekly_stock,
)
from features.pipelines.expressions import promotion_kinds
from models.demand.panel import DemandPanel
from training.demand.calendar_signals import zone_signals
from training.splits import span_of_sales

_BETWEEN = "\x1f"  # stands between zone and item while both are one key


def build_panel(
    facts: Facts, settings: Settings, *, until: datetime | None, ahead: int
) -> tuple[DemandPanel, Float64Array]:
    """Every series sold in the whole weeks before `until`, with plans for `ahead` weeks more, as
    known at `until`.

    Also N × weeks of revenue, minor units: it weighs errors, and no model sees it. Raises BadInput
    without sales.
    """
    first, end = span_of_sales(facts, until, settings.timezone)
    starts = week_starts(first, add_weeks(end, ahead - 1, settings.timezone), settings.timezone)
    promotions = facts.read("promotions")
    kinds = promotion_kinds(promotions)
    relation = weekly_demand(
        facts.read("events"),
        promotions,
        facts.read("price_history").limit(0),
        as_of=end,
        week_starts=starts,
        kinds=kinds,
    )
    columns = ["item_id", "zone", "week_start", "units", "revenue_minor", "promotion_depth"]
    columns += [REACH + kind for kind in kinds]
    rows = relation.select(*columns).to_pyarrow()
    panel, revenue = _arranged(rows, _about_items(facts), tuple(starts), starts.index(end), kinds)
    panel = replace(panel, in_stock=_in_stock(panel, facts, end))
    return as_planned(panel, facts, settings, known_at=until), revenue


def as_planned(
    panel: DemandPanel, facts: Facts, settings: Settings, *, known_at: datetime | None
) -> DemandPanel:
    """The panel with the prices and the signals of weeks that were known at `known_at`."""
    zones = tuple(sorted(set(panel.zones.tolist())))
    names, signals = zone_signals(facts, settings, panel.week_starts, zones, known_at)
    panel = replace(panel, signal_names=names, signal_zones=zones, signals=signals)
    return with_planned_prices(panel, facts, settings, known_at=known_at)


def _in_stock(panel: DemandPanel, facts: Facts, end: datetime) -> Float32Array | None:
    """N × n_known share of each week in stock; 1 where no count is known, None where there are none
    at all."""
    weeks = week_spans(panel.week_starts[: panel.n_known])
    rows = weekly_stock(facts.read("stock"), weeks, as_of=end).to_pyarrow()
    rows, series, week = _placed(panel, rows)
    if not rows.num_rows:
        return None
    values = np.ones((panel.n_series, panel.n_known), np.float32)
    values[series, week] = rows["share_in_stock"].to_numpy()
    return values


def _placed(panel: DemandPanel, rows: pa.Table) -> tuple[pa.Table, Int64Array, Int64Array]:
    """The rows of the panel's series, and their series and week."""
    rows, series = of_series(panel, rows)
    weeks = pc.index_in(
        rows["week_start"], value_set=pa.array(panel.week_starts, TIMESTAMP)
    ).to_numpy()
    return rows, series, weeks


def of_series(panel: DemandPanel, rows: pa.Table) -> tuple[pa.Table, Int64Array]:
    """The rows of item_id and zone that are of the panel's series, and each one's series."""
    keys = pa.array(
        [f"{zone}{_BETWEEN}{item}" for zone, item in zip(panel.zones, panel.item_ids, strict=True)],
        pa.string(),
    )
    places = pc.index_in(
        pc.binary_join_element_wise(rows["zone"], rows["item_id"], _BETWEEN), value_set=keys
    )
    return rows.filter(pc.is_valid(places)), places.drop_null().to_numpy().astype(np.int64)


def with_planned_prices(
    panel: DemandPanel, facts: Facts, settings: Settings, *, known_at: datetime | None
) -> DemandPanel:
    """The panel with the prices that were planned at `known_at`: what the desk decided from then on
    is missing.

    A decision holds from its record on at the earliest, so prices of weeks before `known_at` are
    all there.
    """
    prices = (
        facts.read("price_history")
        if known_at is None
        else facts.read("price_history", known_at=known_at)
    )
    foreign = [zone for zone, each in settings.zones.items() if each.currency != settings.currency]
    rows = weekly_prices(
        prices, facts.read("events"), week_spans(panel.week_starts), foreign
    ).to_pyarrow()
    rows, series, weeks = _placed(panel, rows)

    def plan(column: str) -> Float32Array | None:
        if not rows.num_rows:
            return None
        values = np.full((panel.n_series, len(panel.week_starts)), np.nan, np.float32)
        values[series, weeks] = rows[column].cast(pa.float64()).to_numpy()
        return values

    return replace(
        panel,
        list_price=plan("planned_list_price_minor"),
        offer_price=plan("planned_offer_price_minor"),
    )


@dataclass(frozen=True)
class Catalogue:
    """Item ids, ascending, and what is said of them ('' where nothing is); available_from in UTC,
    NaT where unknown."""

    item_ids: ObjectArray
    categories: ObjectArray
    brands: ObjectArray
    available_from: DatetimeArray


def catalogue(facts: Facts) -> Catalogue:
    """All items of the catalogue."""
    items = _about_items(facts).sort_by("item_id")
    item_ids, categories, brands = (
        items[name].to_numpy(zero_copy_only=False) for name in ("item_id", "category", "brand")
    )
    return Catalogue(item_ids, categories, brands, _times(items["available_from"]))


def unsold_panel(panel: DemandPanel, items: Catalogue) -> DemandPanel:
    """The items of the catalogue that never sold, in every zone, on the panel's weeks; units are 0,
    plans unknown."""
    missing = np.flatnonzero(~np.isin(items.item_ids.astype(str), panel.item_ids.astype(str)))
    zones = np.array(sorted(set(panel.zones.tolist())), object)
    n = len(missing) * len(zones)
    blank = np.full((n, len(panel.week_starts)), np.nan, np.float32)
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
        listed_week=np.repeat(
            _listed_week(items.available_from[missing], panel.week_starts), len(zones)
        ),
    )


def _listed_week(available_from: DatetimeArray, starts: Sequence[datetime]) -> Float64Array:
    """The place of the week that holds each instant; -1 before the first week, -inf where the
    instant is not known."""
    weeks = pa.array(starts, TIMESTAMP).to_numpy(zero_copy_only=False)
    places = np.searchsorted(weeks, available_from, side="right") - 1.0
    return np.where(np.isnat(available_from), -np.inf, places)


def _times(column: pa.ChunkedArray) -> DatetimeArray:
    return np.asarray(column.cast(TIMESTAMP).to_numpy(zero_copy_only=False), "datetime64[us]")


def _about_items(facts: Facts) -> pa.Table:
    items = facts.read("items")
    named = {name: items[name].fill_null("") for name in ("category", "brand")}
    return items.select("item_id", "available_from", **named).to_pyarrow()


def _arranged(
    rows: pa.Table,
    items: pa.Table,
    starts: tuple[datetime, ...],
    n_known: int,
    kinds: tuple[str, ...],
) -> tuple[DemandPanel, Float64Array]:
    """Long rows as arrays; series are in order of zone, then item."""
    weeks = pc.index_in(rows["week_start"], value_set=pa.array(starts, TIMESTAMP)).to_numpy()
    key = (
        pc.binary_join_element_wise(rows["zone"], rows["item_id"], _BETWEEN)
        .combine_chunks()
        .dictionary_encode()
    )
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

    def matrix(column: str, empty: float) -> Float32Array:
        values = np.full(shape, empty, np.float32)
        values[series, week] = rows[column].cast(pa.float64()).to_numpy(zero_copy_only=False)[kept]
        return values

    zones, _, ids = np.char.partition(names[order].astype(str), _BETWEEN).T
    found = pc.index_in(pa.array(ids), value_set=items["item_id"].combine_chunks()).to_numpy(
        zero_copy_only=False
    )

    def said(column: str) -> ObjectArray:
        labels = items[column].to_numpy(zero_copy_only=False)
        return np.array([labels[int(i)] if i == i else "" for i in found], object)

    times = np.append(_times(items["available_from"]), np.datetime64("NaT"))
    available = times[np.where(np.isnan(found), -1, found).astype(np.int64)]

    reach = [np.nan_to_num(matrix(REACH + kind, 0.0)) for kind in kinds]
    panel = DemandPanel(
        item_ids=ids.astype(object),
        zones=zones.astype(object),
        categories=said("category"),
        brands=said("brand"),
        listed_week=_listed_week(available, starts),
        week_starts=starts,
        n_known=n_known,
        units=np.nan_to_num(matrix("units", 0.0))[:, :n_known],
        kinds=kinds,
        reach=np.stack(reach) if reach else np.zeros((0, *shape), np.float32),
        depth=None
        if rows["promotion_depth"].null_count == rows.num_rows
        else matrix("promotion_depth", np.nan),
        list_price=None,
        offer_price=None,
    )
    return panel, np.nan_to_num(matrix("revenue_minor", 0.0))[:, :n_known].astype(np.float64)
