"""Item features: one pure function per column or column group, each keyed by item_id.

They look at one zone, or at all zones together. Promotions are a calendar that is known in advance:
their features use planned weeks ahead and past weeks. All others use only what occurred before
`as_of`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce

import ibis
import ibis.expr.types as ir

from features.contracts.calendar import SECONDS_PER_WEEK
from features.contracts.histories import FAST_DECAY_PER_WEEK
from features.contracts.tables import EventType
from features.contracts.texts import name_column
from features.pipelines.expressions import (
    age_seconds,
    before,
    decay,
    epoch_seconds,
    in_zone,
    instant,
    kind_of,
    promotion_kinds,
    since,
    spread_plans,
)
from features.pipelines.feature_constants import (
    ALL_ZONES,
    PROMOTION_WINDOWS,
    SECONDS_PER_DAY,
)
from features.pipelines.item_prices import price_position
from features.pipelines.stock_counts import counts_of_zone, latest_counts
from features.pipelines.user_item import order_lines, select_kept_lines, user_item_history

NAMES = (
    "units_1w",
    "units_4w",
    "units_13w",
    "orders_1w",
    "orders_4w",
    "orders_decayed",
    "orders_decayed_fast",
    "buyers",
    "buyers_4w",
    "repeat_rate",
    "repeat_interval_days",
    "days_since_sale",
    "views_1w",
    "age_days",
    "price_minor",
    "list_price_minor",
    "price_position",
    "discount_depth",
    "margin",
    "promotion_reach_next_1w",
    "promotion_reach_next_4w",
    "promotion_reach_past_4w",
    "promotion_depth_next_1w",
    "promotion_depth_next_4w",
    "promotion_depth_past_4w",
    "stock_on_hand",
)


def limit_repeats(events: ir.Table, as_of: datetime, per_visitor: int) -> ir.Table:
    """Return purchases or views with at most `per_visitor` of one item by one visitor in a week,
    the latest.

    So sixty orders by one account do not outweigh what everybody else wants. Who gives no user_id
    counts as a visitor, else by session or order. Weeks are counted back from `as_of`.
    """
    visitor = ibis.coalesce(
        *(events[name] for name in ("user_id", "visitor_id", "session_id", "order_id")),
        events.event_id,
    )
    age = age_seconds(epoch_seconds(events.occurred_at), as_of)
    latest_first = ibis.window(
        group_by=[events.item_id, visitor, (age / SECONDS_PER_WEEK).floor()],
        order_by=[events.occurred_at.desc(), events.event_id],
    )
    numbered = events.mutate(n_later=ibis.row_number().over(latest_first))
    return numbered.filter(numbered.n_later < per_visitor).drop("n_later")


def velocity(purchases: ir.Table, as_of: datetime) -> ir.Table:
    """Return units and purchases a week over the last 1, 4 and 13 weeks, and decayed purchases."""
    second = epoch_seconds(purchases.occurred_at)
    units = purchases.quantity.coalesce(1.0)

    def within(weeks: int) -> ir.BooleanValue:
        return purchases.occurred_at >= instant(as_of - timedelta(weeks=weeks))

    return purchases.group_by("item_id").aggregate(
        units_1w=units.sum(where=within(1)).coalesce(0.0),
        units_4w=units.sum(where=within(4)).coalesce(0.0) / 4.0,
        units_13w=units.sum(where=within(13)).coalesce(0.0) / 13.0,
        orders_1w=within(1).sum().cast("float64"),
        orders_4w=within(4).sum() / 4.0,
        orders_decayed=decay(second, as_of).sum(),
        orders_decayed_fast=decay(second, as_of, FAST_DECAY_PER_WEEK).sum(),
        buyers_4w=purchases.user_id.nunique(where=within(4)).cast("float64"),
        days_since_sale=age_seconds(second.max(), as_of) / float(SECONDS_PER_DAY),
    )


def repeat_rate(history: ir.Table) -> ir.Table:
    """Return buyers, the share of them with two orders or more, and the mean days between orders.

    `history` has user × item rows.
    """
    again = history.n_orders > 1
    span = (history.last_at - history.first_at).sum(where=again)
    gaps = (history.n_orders - 1).sum(where=again).nullif(0)
    return history.group_by("item_id").aggregate(
        buyers=history.count().cast("float64"),
        repeat_rate=again.mean(),
        repeat_interval_days=span / float(SECONDS_PER_DAY) / gaps,
    )


def views_1w(events: ir.Table, as_of: datetime, per_visitor: int) -> ir.Table:
    """Return the views of the item's page in the last 7 days, `per_visitor` of one visitor."""
    viewed = since(before(events, as_of), as_of, 7)
    viewed = viewed.filter(viewed.event_type == EventType.VIEW_ITEM.value)
    viewed = limit_repeats(viewed, as_of, per_visitor)
    return viewed.group_by("item_id").aggregate(views_1w=viewed.count().cast("float64"))


def age_days(events: ir.Table, items: ir.Table, as_of: datetime) -> ir.Table:
    """Return the days since the item is available, else since its first event before `as_of`."""
    known = before(events, as_of)
    first = known.group_by("item_id").aggregate(at=known.occurred_at.min())
    nothing = ibis.null("float64")
    stated = items.select("item_id", available=_seconds(items.available_from), seen=nothing)
    seen = first.select("item_id", available=nothing, seen=_seconds(first["at"]))
    both = stated.union(seen)
    started = both.available.max().coalesce(both.seen.max())
    return both.group_by("item_id").aggregate(
        age_days=age_seconds(started, as_of) / float(SECONDS_PER_DAY)
    )


def promotion_column(kind: str, window: str) -> str:
    """Return the name of the reach column of one kind, `promotion_reach_display_next_1w`."""
    return f"promotion_reach_{name_column(kind)}_{window}"


def promotion_state(promotions: ir.Table, as_of: datetime, kinds: Sequence[str]) -> ir.Table:
    """Return reach and depth of an item's promotions in past weeks and in planned weeks ahead.

    Reach of a window: the sum over its promotions of reach × share of the window they cover, at
    most 1; over all kinds together and for each kind. Depth: the deepest discount in the window,
    null when none states one.
    """
    now = int(as_of.timestamp())
    starts, ends = epoch_seconds(promotions.starts_at), epoch_seconds(promotions.ends_at)
    reach = promotions.reach.coalesce(1.0)
    columns: dict[str, ir.Value] = {}
    for window, (first, last) in PROMOTION_WINDOWS.items():
        low, high = now + first * SECONDS_PER_DAY, now + last * SECONDS_PER_DAY
        covered = ibis.greatest(ibis.least(ends, high) - ibis.greatest(starts, low), 0)
        share = reach * covered / float(high - low)
        columns[f"promotion_reach_{window}"] = ibis.least(share.sum(), 1.0)
        columns[f"promotion_depth_{window}"] = promotions.depth.max(where=covered > 0)
        for kind in kinds:
            of_kind = share.sum(where=kind_of(promotions) == kind).coalesce(0.0)
            columns[promotion_column(kind, window)] = ibis.least(of_kind, 1.0)
    return _select_within_windows(promotions, as_of).group_by("item_id").aggregate(**columns)


def stock_on_hand(stock: ir.Table, items: ir.Table, as_of: datetime, zone: str) -> ir.Table:
    """Return units on hand: the latest count before `as_of`, else the catalogue's number.

    Over all zones counts add up, and the catalogue's number replaces a sum that is older.
    """
    known = stock.filter(stock["at"] < instant(as_of))
    if zone == ALL_ZONES:
        latest = latest_counts(known)
        counted = latest.group_by("item_id").aggregate(
            on_hand=latest.on_hand.sum(), counted_at=latest["at"].max()
        )
    else:
        counted = counts_of_zone(known, items, zone).mutate(
            counted_at=ibis.null("timestamp('UTC')")
        )
    joined = items.select("item_id", "stock_on_hand", "stock_on_hand_at").left_join(
        counted, "item_id"
    )
    is_older = (joined.stock_on_hand_at > joined.counted_at).fill_null(False)
    stated = joined.stock_on_hand
    on_hand = ibis.ifelse(is_older, stated, joined.on_hand.coalesce(stated))
    return joined.select("item_id", stock_on_hand=on_hand)


@dataclass(frozen=True)
class ItemTables:
    """The tables from which item features are computed, in their stored schemas.

    Without `stock` and `costs` what is on hand and the margin are unknown.

    orders_per_buyer   so many orders and views of an item by one buyer count in a week
    """

    events: ir.Table
    items: ir.Table
    promotions: ir.Table
    price_history: ir.Table
    stock: ir.Table | None = None
    costs: ir.Table | None = None
    orders_per_buyer: int = 1

    @classmethod
    def read(
        cls, read_table: Callable[[str], ir.Table], *, orders_per_buyer: int = 1
    ) -> ItemTables:
        """Return the tables that `read_table` gives under their names."""
        names = ("events", "items", "promotions", "price_history", "stock", "costs")
        tables = {name: read_table(name) for name in names}
        return cls(**tables, orders_per_buyer=orders_per_buyer)


def item_features(
    tables: ItemTables,
    as_of: datetime,
    *,
    kinds: Sequence[str] | None = None,
    zone: str = ALL_ZONES,
) -> ir.Table:
    """Return one row per item of the catalogue (if available) or with an event before `as_of`.

    item_id, zone, category, brand ("" where unknown), the columns of NAMES and one reach column per
    promotion kind and window (float64, null where unknown; counts are 0 where nothing happened).
    The rows have no order.
    """
    items, promotions, price_history = tables.items, tables.promotions, tables.price_history
    kinds = promotion_kinds(promotions) if kinds is None else kinds
    events = before(tables.events, as_of)
    if zone != ALL_ZONES:  # over all zones together a plan counts once
        promotions = in_zone(spread_plans(promotions, events), zone)
        price_history = in_zone(spread_plans(price_history, events), zone)
    events = in_zone(events, zone)
    available = items.filter(
        items.available_from.isnull() | (items.available_from <= instant(as_of))
    )
    purchases = events.filter(events.event_type == EventType.PURCHASE.value)
    history = user_item_history(select_kept_lines(order_lines(events, as_of)), as_of)
    parts = [
        velocity(limit_repeats(purchases, as_of, tables.orders_per_buyer), as_of),
        repeat_rate(history),
        views_1w(events, as_of, tables.orders_per_buyer),
        price_position(purchases, items, price_history, as_of, tables.costs),
        promotion_state(promotions, as_of, kinds),
    ]
    if tables.stock is not None:
        parts.append(stock_on_hand(tables.stock, items, as_of, zone))
    return _join_parts(age_days(events, available, as_of), items, parts, columns(kinds), zone)


def columns(kinds: Sequence[str]) -> tuple[str, ...]:
    """Return the names of all number columns of `item_features` with these kinds of promotion."""
    return NAMES + tuple(
        promotion_column(kind, window) for kind in kinds for window in PROMOTION_WINDOWS
    )


_ZERO = frozenset(
    {
        "units_1w",
        "units_4w",
        "units_13w",
        "orders_1w",
        "orders_4w",
        "orders_decayed",
        "orders_decayed_fast",
        "buyers",
        "buyers_4w",
        "views_1w",
    }
)


def _join_parts(
    base: ir.Table, items: ir.Table, parts: Sequence[ir.Table], columns: Sequence[str], zone: str
) -> ir.Table:
    """Return the columns of all parts beside the items of `base`, with texts of the catalogue."""

    parts = [items.select("item_id", "category", "brand"), *parts]
    # One selection from all: Ibis looks through every column again for each selection.
    joined = reduce(
        lambda left, part: left.left_join(part, base.item_id == part.item_id), parts, base
    )
    joined = joined.select(
        *(base[name] for name in base.columns),
        *(part[name] for part in parts for name in part.columns if name != "item_id"),
    )
    values: dict[str, ir.Value] = {}
    for name in columns:
        if name not in joined.columns:
            values[name] = ibis.null("float64")
            continue
        value = joined[name].cast("float64")
        counts = name in _ZERO or name.startswith("promotion_reach_")
        values[name] = value.coalesce(0.0) if counts else value
    return joined.select(
        "item_id",
        zone=ibis.literal(zone),
        category=joined.category.coalesce(""),
        brand=joined.brand.coalesce(""),
        **values,
    )


def _seconds(time: ir.TimestampValue) -> ir.NumericValue:
    """Return epoch seconds in a type that does not depend on whether the column may be null."""
    return epoch_seconds(time).cast("float64")


def _select_within_windows(promotions: ir.Table, as_of: datetime) -> ir.Table:
    first = as_of + timedelta(days=min(low for low, _ in PROMOTION_WINDOWS.values()))
    last = as_of + timedelta(days=max(high for _, high in PROMOTION_WINDOWS.values()))
    return promotions.filter(
        (promotions.ends_at > instant(first)) & (promotions.starts_at < instant(last))
    )
