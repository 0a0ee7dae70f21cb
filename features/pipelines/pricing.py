"""What price response needs beside weekly demand: weeks in which an item sold out, and what it
cost."""

from __future__ import annotations

from typing import Any

import ibis

from features.pipelines.demand import KEY, weekly_prices
from features.pipelines.expressions import spread_plans


def weekly_stock_outs(stock: Any, events: Any, weeks: Any) -> Any:
    """item_id, zone, week_start of weeks in which a count of the stock was 0."""
    empty = stock.filter(stock.on_hand <= 0).select("item_id", "zone", "at")
    empty = spread_plans(empty, events)
    empty = empty.asof_join(weeks, empty["at"] >= weeks.week_start)
    return empty.filter(empty["at"] < empty.week_end).select(*KEY).distinct()


def weekly_costs(costs: Any, events: Any, weeks: Any, foreign: Any = ()) -> Any:
    """item_id, zone, week_start, unit_cost_minor: the mean over the week, from when a cost is first
    known."""
    steps = costs.select("item_id", "zone", "valid_from", list_price_minor=costs.unit_cost_minor)
    steps = steps.mutate(
        valid_to=ibis.null(steps.valid_from.type().copy(nullable=True)),
        offer_price_minor=steps.list_price_minor,
    )
    found = weekly_prices(steps, events, weeks, foreign)
    return found.select(*KEY, unit_cost_minor=found.planned_offer_price_minor)
