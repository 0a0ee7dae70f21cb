"""Prices and amounts of orders on some items: aggregates, nothing about a person."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import ibis.expr.types as ir

from features.contracts.tables import EventType
from features.pipelines.expressions import before, instant, zone_of


def spend_per_order(
    events: ir.Table, item_ids: Sequence[str], zone: str, *, since: datetime, until: datetime
) -> ir.Table:
    """Return one row: mean_minor (spend of an order with any of the items on them), n_orders.

    Purchases of `zone` from `since` until just before `until`. Lines without an order_id or without
    an amount are left out; without any line mean_minor is null and n_orders 0.
    """
    amount = events.line_amount_minor.cast("float64").fill_null(
        events.unit_price_minor * events.quantity
    )
    lines = before(events, until).filter(
        events.event_type == EventType.PURCHASE.value,
        events.item_id.isin(list(item_ids)),
        zone_of(events) == zone,
        events.occurred_at >= instant(since),
        events.order_id.notnull(),
        amount > 0,
    )
    lines = lines.select("order_id", amount=amount)
    n_orders = lines.order_id.nunique()
    return lines.aggregate(mean_minor=lines.amount.sum() / n_orders.nullif(0), n_orders=n_orders)


def list_sold_prices(
    events: ir.Table, item_ids: Sequence[str], zone: str, *, since: datetime, until: datetime
) -> ir.Table:
    """Return item_id, price_minor, first_at, last_at: per item, day (UTC) and price paid per unit.

    Purchases of `zone` from `since` until just before `until`; lines without an amount are left
    out.
    """
    amount = events.line_amount_minor.cast("float64").fill_null(
        events.unit_price_minor * events.quantity
    )
    lines = before(events, until).filter(
        events.event_type == EventType.PURCHASE.value,
        events.item_id.isin(list(item_ids)),
        zone_of(events) == zone,
        events.occurred_at >= instant(since),
        events.quantity > 0,
        amount > 0,
    )
    lines = lines.select(
        "item_id",
        "occurred_at",
        day=lines.occurred_at.truncate("D"),
        price_minor=(amount / lines.quantity).round(2),
    )
    days = lines.group_by(["item_id", "day", "price_minor"]).aggregate(
        first_at=lines.occurred_at.min(), last_at=lines.occurred_at.max()
    )
    ordered = days.order_by(["item_id", "day", "price_minor"])
    return ordered.select("item_id", "price_minor", "first_at", "last_at")
