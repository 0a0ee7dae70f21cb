"""Weekly demand: the one relation item × zone × week that forecasting and pricing both read.

It holds no column about a person. Prices of sales (paid, and regular at the till) are for pricing
only: a price seen in sales exists only where a sale exists, and so leaks to a forecaster that one
happened. What is planned in advance (promotion calendar, price list) is known for weeks to come.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import ibis
import ibis.expr.types as ir

from features.contracts.tables import DEFAULT_ZONE, EventType
from features.contracts.texts import name_column
from features.pipelines.expressions import (
    before,
    epoch_seconds,
    instant,
    kind_of,
    promotion_kinds,
    spread_plans,
    zone_of,
)
from features.pipelines.price_lists import continue_ended_prices

_REDUCED = 0.99  # of the list price: who pays less bought at a reduced price
_QUARTER_HOUR = 900.0  # seconds; days begin at whole quarters of an hour everywhere
REACH = "reach:"  # prefix of the columns that hold the planned reach of one kind of promotion
KEY = ("item_id", "zone", "week_start")


@dataclass(frozen=True)
class Plans:
    """What a shop plans, as Ibis tables in their stored schemas.

    prices    the table `price_history`
    foreign   zones that use another currency than the default zone
    """

    promotions: ir.Table
    prices: ir.Table
    foreign: Sequence[str] = ()


def weekly_demand(
    events: ir.Table,
    plans: Plans,
    *,
    as_of: datetime,
    week_starts: Sequence[datetime],
    kinds: Sequence[str] | None = None,
) -> ir.Table:
    """Return item × zone × week: what was sold before `as_of`, and what was or is planned.

    `events` are in their stored schema. `week_starts` are consecutive business weeks
    (`features.contracts.calendar`); those from `as_of` on hold plans only. There is a row where
    something was sold, promoted or listed; a missing row means nothing sold, no promotion, no known
    price.

    Columns: item_id, zone, week_start; units (purchases less what was refunded in that week, never
    below 0, without what was given away; null from `as_of` on), largest_order (units of the largest
    order), given_units (units given away, see `weekly_sales`), revenue_minor, n_lines,
    mean_unit_price_minor (paid),
    median_list_price_minor (regular price seen in sales), share_bought_reduced (share of the units
    bought below it), planned_list_price_minor and planned_offer_price_minor (price list, mean over
    the week), planned_share_reduced (share of the week with an offer below the list price),
    promotion_depth (largest planned), and a `reach_column` for each of `kinds` (default: every
    kind of promotion planned), 0..1.
    """
    weeks = week_spans(week_starts)
    sales = weekly_sales(before(events, as_of), weeks)
    kinds = promotion_kinds(plans.promotions) if kinds is None else kinds
    promoted = weekly_promotions(plans.promotions, events, weeks, kinds)
    listed = weekly_prices(plans.prices, events, weeks, plans.foreign)
    whole = _join_outer(_join_outer(sales, promoted), listed)
    reaches = {name: whole[name].fill_null(0.0) for name in whole.columns if name.startswith(REACH)}
    known = whole.week_start < instant(as_of)
    return whole.mutate(
        units=ibis.ifelse(known, whole.units.fill_null(0.0), ibis.null("float64")),
        revenue_minor=ibis.ifelse(known, whole.revenue_minor.fill_null(0.0), ibis.null("float64")),
        n_lines=ibis.ifelse(known, whole.n_lines.fill_null(0), ibis.null("int64")),
        **reaches,
    )


def weekly_sales(events: ir.Table, weeks: ir.Table) -> ir.Table:
    """Return units, revenue, lines and prices seen in sales.

    A refund counts against the week in which it was made, so a past week never changes. What is
    given away says nothing about what sells at a price: purchases at price 0 are counted apart, as
    given_units, but where the item never has another price.
    """
    types = (EventType.PURCHASE.value, EventType.REFUND.value)
    quantity = events.quantity.fill_null(1.0)
    amount = (
        events.line_amount_minor.cast("float64")
        .fill_null(events.unit_price_minor * quantity)
        .fill_null(0.0)
    )
    lines = events.filter(events.event_type.isin(types)).select(
        item_id=events.item_id,
        zone=zone_of(events),
        occurred_at=events.occurred_at,
        bought=events.event_type == EventType.PURCHASE.value,
        order=events.order_id.fill_null(events.event_id),
        quantity=quantity,
        amount=amount,
        is_priced=events.line_amount_minor.notnull() | events.unit_price_minor.notnull(),
        list_price_minor=events.list_price_minor,
        is_reduced=(amount < _REDUCED * quantity * events.list_price_minor).fill_null(False),
    )
    lines = lines.asof_join(weeks, lines.occurred_at >= weeks.week_start)
    lines = _mark_given_away(lines.filter(lines.occurred_at < lines.week_end))
    sold = lines.bought & ~lines.is_given
    of_order = ibis.window(group_by=[*KEY, "order"])
    lines = lines.mutate(order_units=ibis.ifelse(sold, lines.quantity, 0.0).sum().over(of_order))
    sold, counted = lines.bought & ~lines.is_given, ~lines.is_given
    sign = ibis.ifelse(lines.bought, 1.0, -1.0)
    bought = lines.quantity.sum(where=sold)
    reduced = lines.quantity.sum(where=sold & lines.is_reduced).fill_null(0.0)
    return lines.group_by(KEY).aggregate(
        units=ibis.greatest((lines.quantity * sign).sum(where=counted).fill_null(0.0), 0.0),
        largest_order=lines.order_units.max(),
        given_units=lines.quantity.sum(where=lines.is_given).fill_null(0.0),
        revenue_minor=ibis.greatest((lines.amount * sign).sum(where=counted).fill_null(0.0), 0.0),
        n_lines=sold.sum(),
        mean_unit_price_minor=lines.amount.sum(where=sold) / bought.nullif(0.0),
        median_list_price_minor=lines.list_price_minor.median(where=sold),
        share_bought_reduced=reduced / bought.nullif(0.0),
    )


def _mark_given_away(lines: ir.Table) -> ir.Table:
    """Return the lines with `is_given`: bought at price 0 of an item that is sold at a price."""
    of_item = ibis.window(group_by=["item_id", "zone"])
    has_price = (lines.amount > 0).any().over(of_item)
    return lines.mutate(is_given=lines.bought & lines.is_priced & (lines.amount == 0) & has_price)


def daily_units(events: ir.Table, day_starts: Sequence[datetime], *, as_of: datetime) -> ir.Table:
    """Return item × zone × day_start: units sold before `as_of`, of all days with a sale or refund.

    `day_starts` are consecutive business days, the last one at or after `as_of`. A refund counts
    against its own day, so a week with refunds may sum to a little more than its weekly units.
    """
    days = weekly_sales(before(events, as_of), week_spans(day_starts))
    return days.select("item_id", "zone", day_start=days.week_start, units=days.units)


def selling_hours(events: ir.Table) -> ir.Table:
    """Return zone × second: the starts of quarters of an hour (epoch) with a purchase."""
    purchases = events.filter(events.event_type == EventType.PURCHASE.value)
    quarter = (epoch_seconds(purchases.occurred_at) / _QUARTER_HOUR).floor() * _QUARTER_HOUR
    return purchases.select(zone=zone_of(purchases), second=quarter).distinct()


def reach_column(kind: str) -> str:
    """Return the name of the column that holds the planned reach of one kind of promotion."""
    return f"{REACH}{name_column(kind)}"


def weekly_promotions(
    promotions: ir.Table, events: ir.Table, weeks: ir.Table, kinds: Sequence[str]
) -> ir.Table:
    """Return the planned reach by kind and the largest depth.

    The reach of a week is the sum of reach × share of the week covered, at most 1.
    """
    plans = promotions.mutate(kind=kind_of(promotions), reach=promotions.reach.fill_null(1.0))
    plans = spread_plans(plans.drop("attributes", "promotion_id"), events)
    # There are few distinct spans: joining them to the weeks is far cheaper than joining the plans.
    spans = plans.select("starts_at", "ends_at").distinct()
    spans = spans.join(weeks, [spans.starts_at < weeks.week_end, spans.ends_at > weeks.week_start])
    start = ibis.greatest(spans.starts_at, spans.week_start)
    end = ibis.least(spans.ends_at, spans.week_end)
    share = _seconds(start, end) / _seconds(spans.week_start, spans.week_end)
    plans = plans.join(spans.mutate(share=share), ["starts_at", "ends_at"])
    plans = plans.mutate(covered=plans.reach * plans.share)
    # Of null and 1 the least is 1: a kind that is not planned must be 0 before.
    reach = {
        reach_column(k): ibis.least(plans.covered.sum(where=plans.kind == k).fill_null(0.0), 1.0)
        for k in kinds
    }
    return plans.group_by(KEY).aggregate(promotion_depth=plans.depth.max(), **reach)


def weekly_prices(
    prices: ir.Table, events: ir.Table, weeks: ir.Table, foreign: Sequence[str] = ()
) -> ir.Table:
    """Return mean list and offer price of the price list in each week, and the share reduced.

    Weighted by time. Where all rows of an item have ended, its last list price goes on.

    Prices of the default zone do not reach the zones in which the item has prices of its own, nor
    the `foreign` ones, which use another currency.
    """
    rows = prices.select(
        "item_id", "zone", "valid_from", "valid_to", "list_price_minor", "offer_price_minor"
    )
    rows = spread_plans(
        rows.mutate(is_own=rows.zone.notnull() & (rows.zone != DEFAULT_ZONE)), events
    )
    rows = rows.filter(rows.is_own | rows.zone.notin(list(foreign))) if foreign else rows
    rows = rows.mutate(has_own=rows.is_own.any().over(ibis.window(group_by=["item_id", "zone"])))
    rows = rows.filter(rows.is_own | ~rows.has_own).drop("is_own", "has_own")
    rows = _split_into_steps(continue_ended_prices(rows))
    rows = rows.join(weeks, rows.since < weeks.week_end)
    rows = rows.filter(rows.until.isnull() | (rows.until > rows.week_start))
    start = ibis.greatest(rows.since, rows.week_start)
    end = ibis.least(rows.until.fill_null(rows.week_end), rows.week_end)
    rows = rows.mutate(covered=_seconds(start, end))
    rows = rows.filter(rows.covered > 0)
    return rows.group_by(KEY).aggregate(
        planned_list_price_minor=(rows.list_price_minor * rows.covered).sum() / rows.covered.sum(),
        planned_offer_price_minor=(rows.offer_price_minor * rows.covered).sum()
        / rows.covered.sum(),
        planned_share_reduced=rows.covered.sum(
            where=rows.offer_price_minor < rows.list_price_minor
        ).fill_null(0.0)
        / rows.covered.sum(),
    )


def _split_into_steps(rows: ir.Table) -> ir.Table:
    """Return the price list as steps that do not overlap: since, until (null: no end), the price.

    Of the rows that are valid at an instant the one that began last is used, so the end of a
    promotion restores the price before it. The ledger has the same rule (features.prices.ledger),
    and a test compares both.
    """
    series = ["item_id", "zone"]
    begins = rows.select(*series, since=rows.valid_from)
    ends = rows.filter(rows.valid_to.notnull()).select(*series, since=rows.valid_to)
    times = begins.union(ends, distinct=True)
    times = times.mutate(
        until=times.since.lead().over(ibis.window(group_by=series, order_by="since"))
    )
    valid = times.join(rows, series)
    valid = valid.filter(
        (valid.valid_from <= valid.since)
        & (valid.valid_to.isnull() | (valid.valid_to > valid.since))
    )
    latest = ibis.row_number().over(
        ibis.window(group_by=[*series, "since"], order_by=valid.valid_from.desc())
    )
    valid = valid.mutate(order=latest)
    return valid.filter(valid.order == 0).drop("order", "valid_from", "valid_to")


def week_spans(week_starts: Sequence[datetime]) -> ir.Table:
    """Return week_start and week_end (the next start; the last week has seven days)."""
    starts = list(week_starts)
    ends = [*starts[1:], starts[-1] + timedelta(days=7)]
    columns = {"week_start": "timestamp('UTC')", "week_end": "timestamp('UTC')"}
    return ibis.memtable({"week_start": starts, "week_end": ends}, schema=columns)


def _seconds(start: ir.TimestampValue, end: ir.TimestampValue) -> ir.NumericValue:
    """Return the seconds between two instants."""
    return (end.epoch_seconds() - start.epoch_seconds()).cast("float64")


def _join_outer(left: ir.Table, right: ir.Table) -> ir.Table:
    """Return the full outer join on the key, which is never null."""
    joined = left.join(right, KEY, how="outer")
    whole = {name: ibis.coalesce(joined[name], joined[f"{name}_right"]) for name in KEY}
    return joined.mutate(**whole).drop(*(f"{name}_right" for name in KEY))
