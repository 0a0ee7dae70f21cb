"""The weekly panel of demand, built from facts."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.settings import Settings
from features.contracts.arrays import Float32Array, Float64Array, Int64Array, ObjectArray
from features.contracts.calendar import add_weeks, week_starts
from features.contracts.tables import TIMESTAMP
from features.facts.facts import Facts
from features.facts.stock_shares import IN_STOCK, complete_short_weeks
from features.pipelines.demand import (
    Plans,
    reach_column,
    week_spans,
    weekly_demand,
    weekly_prices,
)
from features.pipelines.expressions import promotion_kinds
from features.pipelines.weekly_stock import weekly_stock
from models.demand.panel import DemandPanel
from training.demand.calendar_signals import read_zone_signals
from training.demand.catalogue_items import find_listed_week, read_items, to_instants
from training.splits import SalesSpan, span_of_sales

_SEPARATOR = "\x1f"  # between zone and item while both are one key
_SOLD = ("units", "revenue_minor", "largest_order", "given_units")


class WeeklySales(NamedTuple):
    """A panel as sold, and what else is known of its N series in the n_known weeks.

    revenue         N × n_known, minor units; it weighs errors, and no model reads it
    largest_order   N × n_known, units of the largest order
    given_units     N × n_known, units given away
    """

    panel: DemandPanel
    revenue: Float64Array
    largest_order: Float64Array
    given_units: Float64Array


def build_panel(
    facts: Facts, settings: Settings, *, until: datetime | None, ahead: int
) -> WeeklySales:
    """Return the panel and what was sold in its weeks.

    The panel has every series sold in the whole weeks before `until`, and plans for `ahead` weeks
    from then on, as known at `until`. Raises BadInput without sales.
    """
    span = span_of_sales(facts, until, settings)
    return build_panel_of(facts, settings, span, ahead=ahead, known_at=until)


def build_panel_of(
    facts: Facts, settings: Settings, span: SalesSpan, *, ahead: int, known_at: datetime | None
) -> WeeklySales:
    """Return the panel of a span of sales, as `build_panel` does."""
    end, last = span.end, add_weeks(span.present, ahead - 1, settings.timezone)
    starts = week_starts(span.first, last, settings.timezone)
    promotions = facts.read("promotions", known_at=known_at)
    kinds = promotion_kinds(promotions)
    relation = weekly_demand(
        facts.read("events"),
        Plans(promotions, facts.read("price_history").limit(0)),
        as_of=end,
        week_starts=starts,
        kinds=kinds,
    )
    columns = ["item_id", "zone", "week_start", "promotion_depth", *_SOLD]
    columns += [reach_column(kind) for kind in kinds]
    rows = relation.select(*columns).to_pyarrow()
    weeks = _Weeks(tuple(starts), starts.index(end))
    sales = _arrange_rows(rows, read_items(facts), weeks, kinds)
    panel = _add_stock(sales.panel, facts, end)
    return sales._replace(panel=add_plans(panel, facts, settings, known_at=known_at))


def add_plans(
    panel: DemandPanel, facts: Facts, settings: Settings, *, known_at: datetime | None
) -> DemandPanel:
    """Return the panel with the prices and the signals of weeks that were known at `known_at`.

    None: with all of them.
    """
    zones = tuple(sorted(set(panel.zones.tolist())))
    names, signals = read_zone_signals(facts, settings, panel.week_starts, zones, known_at)
    panel = replace(panel, signal_names=names, signal_zones=zones, signals=signals)
    return add_planned_prices(panel, facts, settings, known_at=known_at)


def _add_stock(panel: DemandPanel, facts: Facts, end: datetime) -> DemandPanel:
    """Return the panel with the shares of weeks in stock, 1 without a count, if there are any.

    Weeks of items that run out in most weeks are completed.
    """
    weeks = week_spans(panel.week_starts[: panel.n_known])
    stock = weekly_stock(facts.read("stock"), facts.read("events"), weeks, as_of=end).to_pyarrow()
    rows, series, week = _locate_rows(panel, stock)
    if not rows.num_rows:
        return panel
    share = np.ones((panel.n_series, panel.n_known))
    share[series, week] = rows["share_in_stock"].to_numpy()
    units, is_short = complete_short_weeks(panel.units.astype(np.float64), share, share < IN_STOCK)
    share = np.where(is_short, share, np.maximum(share, IN_STOCK))
    return replace(panel, units=units.astype(np.float32), in_stock=share.astype(np.float32))


def _locate_rows(panel: DemandPanel, rows: pa.Table) -> tuple[pa.Table, Int64Array, Int64Array]:
    """Return the rows of the panel's series, with the series and the week of each."""
    rows, series = match_series(panel, rows)
    starts = pa.array(panel.week_starts, TIMESTAMP)
    return rows, series, pc.index_in(rows["week_start"], value_set=starts).to_numpy()


def match_series(panel: DemandPanel, rows: pa.Table) -> tuple[pa.Table, Int64Array]:
    """Return the rows whose item_id and zone are a series of the panel, and the series of each."""
    pairs = zip(panel.zones, panel.item_ids, strict=True)
    keys = pa.array([f"{zone}{_SEPARATOR}{item_id}" for zone, item_id in pairs], pa.string())
    row_keys = pc.binary_join_element_wise(rows["zone"], rows["item_id"], _SEPARATOR)
    series = pc.index_in(row_keys, value_set=keys)
    return rows.filter(pc.is_valid(series)), series.drop_null().to_numpy().astype(np.int64)


def add_planned_prices(
    panel: DemandPanel, facts: Facts, settings: Settings, *, known_at: datetime | None
) -> DemandPanel:
    """Return the panel with the prices planned at `known_at`, without later decisions of the desk.

    A decision is valid from its record on at the earliest, so all prices of weeks before `known_at`
    are there.
    """
    prices = (
        facts.read("price_history")
        if known_at is None
        else facts.read("price_history", known_at=known_at)
    )
    foreign = [name for name, zone in settings.zones.items() if zone.currency != settings.currency]
    weeks = week_spans(panel.week_starts)
    planned = weekly_prices(prices, facts.read("events"), weeks, foreign).to_pyarrow()
    rows, series, week = _locate_rows(panel, planned)

    def arrange(column: str) -> Float32Array | None:
        if not rows.num_rows:
            return None
        values = np.full((panel.n_series, len(panel.week_starts)), np.nan, np.float32)
        values[series, week] = rows[column].cast(pa.float64()).to_numpy()
        return values

    return replace(
        panel,
        list_price=arrange("planned_list_price_minor"),
        offer_price=arrange("planned_offer_price_minor"),
    )


class _Weeks(NamedTuple):
    starts: tuple[datetime, ...]
    n_known: int


def _arrange_rows(
    rows: pa.Table, items: pa.Table, weeks: _Weeks, kinds: tuple[str, ...]
) -> WeeklySales:
    """Return long rows as a panel, and what was sold; series are in order of zone, then item."""
    starts = pa.array(weeks.starts, TIMESTAMP)
    row_weeks = pc.index_in(rows["week_start"], value_set=starts).to_numpy()
    keys = pc.binary_join_element_wise(rows["zone"], rows["item_id"], _SEPARATOR)
    encoded = keys.combine_chunks().dictionary_encode()
    names, codes = encoded.dictionary.to_numpy(zero_copy_only=False), encoded.indices.to_numpy()
    units = rows["units"].fill_null(0.0).to_numpy()
    known_units = units * (row_weeks < weeks.n_known)
    sold = np.bincount(codes, weights=known_units, minlength=len(names)) > 0
    order = np.flatnonzero(sold)
    order = order[np.argsort(names[order].astype(str), kind="stable")]
    series_of_code = np.full(len(names), -1)
    series_of_code[order] = np.arange(len(order))
    in_panel = series_of_code[codes] >= 0
    series, week = series_of_code[codes[in_panel]], row_weeks[in_panel]
    shape = (len(order), len(weeks.starts))

    def arrange(column: str, empty: float) -> Float32Array:
        values = np.full(shape, empty, np.float32)
        numbers = rows[column].cast(pa.float64()).to_numpy(zero_copy_only=False)
        values[series, week] = numbers[in_panel]
        return values

    zones, _, ids = np.char.partition(names[order].astype(str), _SEPARATOR).T
    item_ids = items["item_id"].combine_chunks()
    catalogue_rows = pc.index_in(pa.array(ids), value_set=item_ids)
    item = pc.fill_null(catalogue_rows, -1).to_numpy(zero_copy_only=False).astype(np.int64)

    def read_labels(column: str) -> ObjectArray:
        labels = items[column].to_numpy(zero_copy_only=False)
        return np.array([labels[row] if row >= 0 else "" for row in item.tolist()], object)

    available_from = np.append(to_instants(items["available_from"]), np.datetime64("NaT"))
    reach = [np.nan_to_num(arrange(reach_column(kind), 0.0)) for kind in kinds]
    has_depth = rows["promotion_depth"].null_count < rows.num_rows
    panel = DemandPanel(
        item_ids=ids.astype(object),
        zones=zones.astype(object),
        categories=read_labels("category"),
        brands=read_labels("brand"),
        listed_week=find_listed_week(available_from[item], weeks.starts),
        week_starts=weeks.starts,
        n_known=weeks.n_known,
        units=np.nan_to_num(arrange("units", 0.0))[:, : weeks.n_known],
        kinds=kinds,
        reach=np.stack(reach) if reach else np.zeros((0, *shape), np.float32),
        depth=arrange("promotion_depth", np.nan) if has_depth else None,
        list_price=None,
        offer_price=None,
    )
    revenue, largest_order, given_units = (
        np.nan_to_num(arrange(column, 0.0))[:, : weeks.n_known].astype(np.float64)
        for column in _SOLD[1:]
    )
    return WeeklySales(panel, revenue, largest_order, given_units)
