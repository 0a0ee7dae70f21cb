"""How long items were in stock, in the time in which a shop sells: nights and closed days are none.

A count of 0 in the evening that is filled in the morning loses no sale, and one at noon loses those
of the afternoon. So time is measured by what the zone usually sells in each hour of the week.
"""

from __future__ import annotations

from datetime import datetime

import ibis
import ibis.expr.types as ir

from features.contracts.tables import EventType
from features.pipelines.demand import KEY
from features.pipelines.expressions import before, epoch_seconds, instant, zone_of

_HOUR, _HOURS = 3600.0, 168
_SERIES = ("item_id", "zone")


def weekly_stock(
    stock: ir.Table, events: ir.Table, weeks: ir.Table, *, as_of: datetime
) -> ir.Table:
    """Return item × zone × week: the share of the usual sales in which something was on hand.

    A count is valid until the next one of the same item and zone, at most until `as_of`. Where the
    next count is 0 too, a count of 0 is valid until the item sells: it was filled in between. The
    share is of the time with a valid count; weeks before the first count have no row.
    """
    purchases = before(events, as_of).filter(events.event_type == EventType.PURCHASE.value)
    spans = _end_at_sales(_span_counts(stock, as_of), purchases)
    spans = spans.join(weeks, [spans.since < weeks.week_end, spans.until > weeks.week_start])
    spans = spans.mutate(
        first=epoch_seconds(ibis.greatest(spans.since, spans.week_start)),
        last=epoch_seconds(ibis.least(spans.until, spans.week_end)),
    )
    spans = _measure_sales_time(spans.filter(spans["last"] > spans["first"]), purchases)
    filled = spans.covered.sum(where=spans.is_filled).fill_null(0.0)
    return spans.group_by(KEY).aggregate(share_in_stock=filled / spans.covered.sum())


def _span_counts(stock: ir.Table, as_of: datetime) -> ir.Table:
    """Return item × zone × count: since, until, whether something was on hand, then and next."""
    rows = stock.filter(stock["at"] < instant(as_of))
    rows = rows.select("item_id", zone=zone_of(rows), since=rows["at"], is_filled=rows.on_hand > 0)
    of_series = ibis.window(group_by=_SERIES, order_by="since")
    return rows.mutate(
        until=rows.since.lead().over(of_series).fill_null(instant(as_of)),
        is_filled_next=rows.is_filled.lead().over(of_series).fill_null(False),
    )


def _end_at_sales(spans: ir.Table, purchases: ir.Table) -> ir.Table:
    """Return the spans, those between two empty counts as filled from their first sale on."""
    sales = purchases.select("item_id", zone=zone_of(purchases), sold_at=purchases.occurred_at)
    is_between = ~spans.is_filled & ~spans.is_filled_next
    others, empty = spans.filter(~is_between), spans.filter(is_between)
    # A purchase at the instant of the count is what it counted.
    empty = empty.asof_join(sales, empty.since < sales.sold_at, predicates=list(_SERIES))
    empty = empty.mutate(sold_at=ibis.least(empty.sold_at, empty.until).fill_null(empty.until))
    columns = ["item_id", "zone", "since", "until", "is_filled"]
    out = empty.mutate(until=empty.sold_at).select(columns)
    refilled = empty.mutate(since=empty.sold_at, is_filled=ibis.literal(True)).select(columns)
    others = others.select(columns)
    parts = [part.cast(_open_types(others)) for part in (others, out, refilled)]
    return ibis.union(*parts)


def _open_types(table: ir.Table) -> dict[str, object]:
    """Return the types of columns, all of which may be null: a union asks that its parts agree."""
    return {name: kind.copy(nullable=True) for name, kind in table.schema().items()}


def _measure_sales_time(spans: ir.Table, purchases: ir.Table) -> ir.Table:
    """Return the spans with `covered`: the share of a usual week's sales between first and last.

    One purchase in each hour is assumed beside those that were made, so that a young shop measures
    by the clock.
    """
    sold = purchases.select(
        zone=zone_of(purchases), hour=_hour_of_week(epoch_seconds(purchases.occurred_at))
    )
    counted = sold.group_by(["zone", "hour"]).aggregate(n=ibis._.count().cast("float64"))
    hours = ibis.memtable({"hour": list(range(_HOURS))}, schema={"hour": "int64"})
    zones = spans.select("zone").distinct()
    usual = zones.cross_join(hours).left_join(counted, ["zone", "hour"], rname="{name}_counted")
    usual = usual.select("zone", "hour", weight=usual.n.fill_null(0.0) + 1.0)
    usual = usual.mutate(
        weight=usual.weight / usual.weight.sum().over(ibis.window(group_by="zone"))
    )
    until_hour = ibis.cumulative_window(group_by="zone", order_by="hour")
    usual = usual.mutate(until_hour=usual.weight.sum().over(until_hour))
    for bound in ("first", "last"):
        spans = spans.mutate(hour=_hour_of_week(spans[bound]))
        spans = spans.left_join(usual, ["zone", "hour"], rname="{name}_usual")
        part = (spans[bound] / _HOUR) % 1.0
        passed = (spans[bound] / (_HOUR * _HOURS)).floor() + spans.until_hour
        spans = spans.mutate(**{f"{bound}_passed": passed - (1.0 - part) * spans.weight})
        spans = spans.drop("hour", "weight", "until_hour", "zone_usual", "hour_usual")
    return spans.mutate(covered=spans.last_passed - spans.first_passed)


def _hour_of_week(seconds: ir.NumericValue) -> ir.IntegerValue:
    return ((seconds / _HOUR).floor() % _HOURS).cast("int64")
