"""Stock of items: the latest counts of the table `stock`, beside the number of the catalogue."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from features.contracts.tables import DEFAULT_ZONE
from features.pipelines.expressions import zone_of


def latest_counts(stock: ir.Table) -> ir.Table:
    """Return the row of the latest count of each item in each zone."""
    # Not the latest value of each column: that would skip a count that says nothing of orders.
    by_item = [stock.item_id, zone_of(stock)]
    newest_first = ibis.window(group_by=by_item, order_by=stock["at"].desc())
    numbered = stock.mutate(age_rank=ibis.row_number().over(newest_first))
    return numbered.filter(numbered.age_rank == 0).drop("age_rank")


def counts_of_zone(stock: ir.Table, items: ir.Table, zone: str) -> ir.Table:
    """Return item_id, on_hand, on_order of the latest count of each item in one zone.

    Where the catalogue's number is newer than the count, a count of the default zone is left out:
    that number replaces it. In another zone the number, which is of all zones, limits the count.
    """
    latest = latest_counts(stock.filter(zone_of(stock) == zone))
    stated = items.select(
        stated_item=items.item_id, stated=items.stock_on_hand, stated_at=items.stock_on_hand_at
    )
    both = latest.left_join(stated, latest.item_id == stated.stated_item)
    is_older = (both.stated_at > both["at"]).fill_null(False)
    if zone == DEFAULT_ZONE:
        return both.filter(~is_older).select("item_id", "on_hand", "on_order")
    limited = ibis.least(both.on_hand, both.stated.coalesce(both.on_hand))
    on_hand = ibis.ifelse(is_older, limited, both.on_hand)
    return both.select("item_id", on_hand=on_hand, on_order=both.on_order)
