"""The mean spend of orders on some items: one number over all orders, nothing about a person."""

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
