"""Prices and amounts of orders on some items: aggregates, nothing about a person."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

import ibis.expr.types as ir

from features.contracts.tables import DEFAULT_ZONE, EventType
from features.pipelines.expressions import before, instant, zone_of

COUPON = "coupon"  # the kind of promotion

Spans = Sequence[tuple[datetime, datetime]]


def spend_per_order(
    events: ir.Table,
    item_ids: Sequence[str],
    zone: str,
    *,
    since: datetime,
    until: datetime,
    without: Spans = (),
) -> ir.Table:
    """Return one row: mean_minor, log_mean, log_sd of the spend of orders on the items, n_orders.

    Orders with any of the items, in `zone` from `since` until just before `until`, outside the
    times of `without`. Lines without an order_id or without an amount are left out; without any
    line n_orders is 0 and the others are null.
    """
    spend = _sum_orders(events, item_ids, zone, since=since, until=until, without=without)
    log_spend = spend.amount.ln()
    return spend.aggregate(
        mean_minor=spend.amount.mean(),
        log_mean=log_spend.mean(),
        log_sd=log_spend.std(how="pop"),
        n_orders=spend.count(),
    )


def count_spend(
    events: ir.Table,
    item_ids: Sequence[str],
    zone: str,
    *,
    span: tuple[datetime, datetime],
    edges: Sequence[float],
) -> ir.Table:
    """Return one row with a column per bin of spend: the number of orders from `edges` k to k + 1.

    Orders as in `spend_per_order`, before anything is saved on the whole order.
    """
    since, until = span
    spend = _sum_orders(events, item_ids, zone, since=since, until=until)
    counts = {
        f"bin_{number}": ((spend.amount >= low) & (spend.amount < high)).sum().fill_null(0)
        for number, (low, high) in enumerate(pairwise(edges))
    }
    return spend.aggregate(**counts)


def _sum_orders(
    events: ir.Table,
    item_ids: Sequence[str],
    zone: str,
    *,
    since: datetime,
    until: datetime,
    without: Spans = (),
) -> ir.Table:
    """Return the spend of each order on the items, minor units, without its id: column amount."""
    amount = _compute_amount(events)
    lines = _select_purchases(events, zone, since, until).filter(
        events.item_id.isin(list(item_ids)), events.order_id.notnull(), amount > 0
    )
    lines = lines.select("order_id", "occurred_at", amount=amount)
    for start, end in without:
        inside = (lines.occurred_at >= instant(start)) & (lines.occurred_at < instant(end))
        lines = lines.filter(~inside)
    orders = lines.group_by("order_id").aggregate(amount=lines.amount.sum())
    return orders.select("amount")


def count_redemptions(
    promotions: ir.Table, events: ir.Table, zone: str, *, since: datetime, until: datetime
) -> ir.Table:
    """Return one row: n_lines, n_redeemed and mean_reach of lines bought while a coupon ran.

    A line counts as redeemed where it was paid less than its list price by more than half of the
    coupon's depth. Lines without a list price are left out, and so are coupons without a depth.
    """
    coupons = promotions.filter(
        promotions.kind == COUPON,
        promotions.depth > 0,
        promotions.starts_at < instant(until),
        promotions.ends_at > instant(since),
        promotions.zone.fill_null(DEFAULT_ZONE).isin([DEFAULT_ZONE, zone]),
    )
    coupons = coupons.select(
        "starts_at",
        "ends_at",
        "depth",
        coupon_item=coupons.item_id,
        reach=coupons.reach.fill_null(1.0),
    )
    paid = (events.line_amount_minor / events.quantity.nullif(0)).fill_null(events.unit_price_minor)
    lines = _select_purchases(events, zone, since, until).filter(
        events.list_price_minor > 0, paid > 0
    )
    lines = lines.select("item_id", "occurred_at", share_off=1 - paid / lines.list_price_minor)
    bought = lines.join(
        coupons,
        [
            lines.item_id == coupons.coupon_item,
            lines.occurred_at >= coupons.starts_at,
            lines.occurred_at < coupons.ends_at,
        ],
    )
    return bought.aggregate(
        n_lines=bought.count(),
        n_redeemed=(bought.share_off > bought.depth / 2).sum().fill_null(0),
        mean_reach=bought.reach.mean(),
    )


def list_sold_prices(
    events: ir.Table, item_ids: Sequence[str], zone: str, *, since: datetime, until: datetime
) -> ir.Table:
    """Return item_id, price_minor, first_at, last_at: per item, day (UTC) and price paid per unit.

    Purchases of `zone` from `since` until just before `until`; lines without an amount are left
    out.
    """
    amount = _compute_amount(events)
    lines = _select_purchases(events, zone, since, until).filter(
        events.item_id.isin(list(item_ids)), events.quantity > 0, amount > 0
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


def _select_purchases(events: ir.Table, zone: str, since: datetime, until: datetime) -> ir.Table:
    """Return the purchases of `zone` from `since` until just before `until`."""
    return before(events, until).filter(
        events.event_type == EventType.PURCHASE.value,
        zone_of(events) == zone,
        events.occurred_at >= instant(since),
    )


def _compute_amount(events: ir.Table) -> ir.FloatingColumn:
    """Return what was paid for each line, minor units; null where that is not known."""
    return events.line_amount_minor.cast("float64").fill_null(
        events.unit_price_minor * events.quantity
    )
