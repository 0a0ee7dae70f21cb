"""What is on hand and on order of each item, and what the catalogue says of ordering it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from features.contracts.tables import DEFAULT_ZONE

if TYPE_CHECKING:
    from features.facts.facts import Facts

_ATTRIBUTES = ("lead_time_days", "service_level")


@dataclass(frozen=True)
class ItemStock:
    """None where nothing is known. `list_price_minor` is that of the catalogue; on_hand and
    on_order are units."""

    title: str | None = None
    category: str = ""
    list_price_minor: int | None = None
    on_hand: float | None = None
    on_order: float | None = None
    lead_time_days: float | None = None
    service_level: float | None = None


def item_stock(facts: Facts, zone: str, now: datetime) -> Mapping[str, ItemStock]:
    """Every item of the catalogue: the latest count of `zone` up to `now`, else what the catalogue
    says is on hand.

    The catalogue's number counts for the default zone, and for any in a shop that counts no stock
    by zone. On order is what the same count says: an earlier one knows nothing of what has arrived
    since.
    """
    counted = _latest_counts(facts, zone, now)
    by_zone = not facts.is_empty("stock") and zone != DEFAULT_ZONE
    items = facts.read("items")
    columns = ("item_id", "title", "category", "list_price_minor", "stock_on_hand", "attributes")
    found = {}
    for row in items.select(*columns).to_pyarrow().to_pylist():
        more = json.loads(row["attributes"]) if row["attributes"] else {}
        lead, level = (_number(more.get(name)) for name in _ATTRIBUTES)
        on_hand, on_order = counted.get(
            row["item_id"], (None if by_zone else row["stock_on_hand"], None)
        )
        found[row["item_id"]] = ItemStock(
            title=row["title"],
            category=row["category"] or "",
            list_price_minor=row["list_price_minor"],
            on_hand=on_hand,
            on_order=on_order,
            lead_time_days=lead if lead is not None and lead > 0 else None,
            service_level=level if level is not None and 0 < level < 1 else None,
        )
    return found


def _latest_counts(facts: Facts, zone: str, now: datetime) -> dict[str, tuple[float, float | None]]:
    """On hand and on order of each item, by its latest count up to `now`."""
    import ibis  # here, because a server is ready without it

    stock = facts.read("stock")
    known = stock.filter(stock["at"] <= ibis.literal(now, "timestamp('UTC')"), stock.zone == zone)
    # Not the latest value of each column: that would pass over a count that says nothing of orders.
    place = ibis.row_number().over(ibis.window(group_by="item_id", order_by=known["at"].desc()))
    latest = known.mutate(place=place)
    latest = latest.filter(latest.place == 0).select("item_id", "on_hand", "on_order")
    return {
        row["item_id"]: (row["on_hand"], row["on_order"]) for row in latest.to_pyarrow().to_pylist()
    }


def _number(text: object) -> float | None:
    try:
        return float(str(text))
    except ValueError:
        return None
