"""What happened while items were promoted: sales, baskets, conversion, buyers who came back.

Only sums and counts over many leave this module, and no price is made from them: they tell a shop
whether a promotion was worth it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import ibis
import ibis.expr.types as ir

from features.contracts.event_types import VIEW_TYPES
from features.contracts.tables import EventType
from features.pipelines.expressions import instant, zone_of


@dataclass(frozen=True)
class SoldSpan:
    """Some items in one zone from `since` until just before `until`."""

    item_ids: Sequence[str]
    zone: str
    since: datetime
    until: datetime

    @property
    def length(self) -> timedelta:
        return self.until - self.since

    def move(self, by: timedelta) -> SoldSpan:
        """Return the same items at another time."""
        return SoldSpan(self.item_ids, self.zone, self.since + by, self.until + by)


def sum_sales(events: ir.Table, span: SoldSpan) -> ir.Table:
    """Return item_id, units and amount_minor (paid, with tax) of each item that sold.

    Refunds made in the span are taken off.
    """
    types = (EventType.PURCHASE.value, EventType.REFUND.value)
    lines = _select_lines(events, span, types).filter(events.item_id.isin(list(span.item_ids)))
    sign = ibis.ifelse(lines.event_type == EventType.PURCHASE.value, 1.0, -1.0)
    quantity, amount = _quantity(lines) * sign, _amount(lines) * sign
    return lines.group_by("item_id").aggregate(units=quantity.sum(), amount_minor=amount.sum())


def measure_baskets(events: ir.Table, span: SoldSpan) -> ir.Table:
    """Return one row: n_orders with any of the items, mean and standard deviation of the spend of
    the whole order in minor units (mean_minor, sd_minor)."""
    bought = _select_lines(events, span, (EventType.PURCHASE.value,))
    bought = bought.filter(bought.order_id.notnull())
    lines = bought.select(
        "order_id", amount=_amount(bought), is_promoted=bought.item_id.isin(list(span.item_ids))
    )
    orders = lines.group_by("order_id").aggregate(
        amount=lines.amount.sum(), has_any=lines.is_promoted.any()
    )
    orders = orders.filter(orders.has_any)
    return orders.aggregate(
        n_orders=orders.count(),
        mean_minor=orders.amount.mean(),
        sd_minor=orders.amount.std(how="pop"),
    )


def count_conversions(events: ir.Table, span: SoldSpan) -> ir.Table:
    """Return one row: n_visits that looked at any of the items, and n_bought of them.

    A visit is a session; without one, whatever a visitor or user did in the span.
    """
    seen = _select_lines(events, span, (*VIEW_TYPES, EventType.PURCHASE.value))
    seen = seen.filter(seen.item_id.isin(list(span.item_ids)))
    lines = seen.select(
        visit=seen.session_id.coalesce(seen.visitor_id).coalesce(seen.user_id),
        is_view=seen.event_type.isin(list(VIEW_TYPES)),
        is_purchase=seen.event_type == EventType.PURCHASE.value,
    )
    lines = lines.filter(lines.visit.notnull())
    visits = lines.group_by("visit").aggregate(
        looked=lines.is_view.any(), bought=lines.is_purchase.any()
    )
    looked = visits.filter(visits.looked)
    return looked.aggregate(
        n_visits=looked.count(), n_bought=looked.bought.cast("int64").sum().fill_null(0)
    )


def count_returns(events: ir.Table, span: SoldSpan, within: timedelta) -> ir.Table:
    """Return one row: n_buyers of any of the items, and n_returned of them.

    A buyer returned who bought anything in the zone in another order within `within` after the
    first purchase of the span. Purchases of no known user are left out.
    """
    bought = _select_lines(events, span, (EventType.PURCHASE.value,))
    bought = bought.filter(bought.user_id.notnull(), bought.item_id.isin(list(span.item_ids)))
    first = bought.group_by("user_id").aggregate(
        first_at=bought.occurred_at.min(), first_order=bought.order_id.argmin(bought.occurred_at)
    )
    until = span.until + within
    later = _select_lines(
        events, SoldSpan((), span.zone, span.since, until), (EventType.PURCHASE.value,)
    )
    later = later.select(buyer=later.user_id, at=later.occurred_at, order=later.order_id)
    is_other = (later.order != first.first_order).fill_null(True)  # orders without ids
    came_back = first.semi_join(
        later,
        [
            first.user_id == later.buyer,
            later["at"] > first.first_at,
            later["at"] <= first.first_at + ibis.interval(seconds=int(within.total_seconds())),
            is_other,
        ],
    )
    n_buyers = first.aggregate(n_buyers=first.count())
    n_returned = came_back.aggregate(n_returned=came_back.count())
    return n_buyers.cross_join(n_returned)


def _select_lines(events: ir.Table, span: SoldSpan, types: Sequence[str]) -> ir.Table:
    """Return the events of these types in the zone and time of a span."""
    return events.filter(
        events.event_type.isin(list(types)),
        zone_of(events) == span.zone,
        events.occurred_at >= instant(span.since),
        events.occurred_at < instant(span.until),
    )


def _quantity(events: ir.Table) -> ir.FloatingValue:
    return events.quantity.fill_null(1.0)


def _amount(events: ir.Table) -> ir.FloatingValue:
    """Return what was paid for a line, minor units; 0 where that is not known."""
    amount = events.line_amount_minor.cast("float64")
    return amount.fill_null(events.unit_price_minor * _quantity(events)).fill_null(0.0)
