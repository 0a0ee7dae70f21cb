"""Stock-outs and unit costs by week: the inputs of price response beside weekly demand."""

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
