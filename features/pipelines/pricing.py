"""Stock-outs and unit costs by week, the inputs of price response beside weekly demand; rows of a
price list that overlap."""

from __future__ import annotations

from collections.abc import Sequence

import ibis
import ibis.expr.types as ir

from features.pipelines.demand import KEY, weekly_prices
from features.pipelines.expressions import spread_plans


def weekly_stock_outs(stock: ir.Table, events: ir.Table, weeks: ir.Table) -> ir.Table:
    """Return item_id, zone, week_start of weeks in which a count of the stock was 0."""
    empty = stock.filter(stock.on_hand <= 0).select("item_id", "zone", "at")
    empty = spread_plans(empty, events)
    empty = empty.asof_join(weeks, empty["at"] >= weeks.week_start)
    return empty.filter(empty["at"] < empty.week_end).select(*KEY).distinct()


def weekly_costs(
    costs: ir.Table, events: ir.Table, weeks: ir.Table, foreign: Sequence[str] = ()
) -> ir.Table:
    """Return item_id, zone, week_start, unit_cost_minor: the mean over each week with a cost."""
    steps = costs.select("item_id", "zone", "valid_from", list_price_minor=costs.unit_cost_minor)
    steps = steps.mutate(
        valid_to=ibis.null(steps.valid_from.type().copy(nullable=True)),
        offer_price_minor=steps.list_price_minor,
    )
    weekly = weekly_prices(steps, events, weeks, foreign)
    return weekly.select(*KEY, unit_cost_minor=weekly.planned_offer_price_minor)


def overlapping_prices(price_history: ir.Table) -> ir.Table:
    """Return item_id, zone, valid_from of regular prices that begin and end within an earlier one.

    The earlier one is valid again after them. An open end is none: the next row of a list usually
    ends it. Promotions lie over regular prices.
    """
    is_regular = (
        price_history.offer_price_minor == price_history.list_price_minor
    ) & price_history.promotion_id.isnull()
    regular = price_history.filter(is_regular)
    earlier = ibis.window(
        group_by=["item_id", "zone"], order_by="valid_from", preceding=(None, 1), following=None
    )
    regular = regular.mutate(others_end=regular.valid_to.max().over(earlier))
    overlapping = regular.filter(regular.others_end > regular.valid_to)
    return overlapping.select("item_id", "zone", "valid_from").order_by("valid_from", "item_id")
