"""What is on hand of each item, and what the catalogue says of ordering it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from features.contracts.tables import DEFAULT_ZONE

if TYPE_CHECKING:
    from features.store.facts import Facts

_ATTRIBUTES = ("lead_time_days", "service_level")


@dataclass(frozen=True)
class ItemStock:
    """None where nothing is known. `list_price_minor` is that of the catalogue."""

    title: str | None
    category: str
    list_price_minor: int | None
    on_hand: float | None
    lead_time_days: float | None
    service_level: float | None


def item_stock(facts: Facts, zone: str, now: datetime) -> Mapping[str, ItemStock]:
    """Every item of the catalogue: the latest count of `zone` before `now`, else what the catalogue says is on hand.

    The catalogue's number counts for the default zone, and for any in a shop that counts no stock by zone.
    """
    import ibis  # here, because a server is ready without it

    stock = facts.read("stock")
    known = stock.filter(stock["at"] <= ibis.literal(now, "timestamp('UTC')"))
    counts = known.filter(known.zone == zone).group_by("item_id").aggregate(on_hand=known.on_hand.argmax(known["at"]))
    counted = {row["item_id"]: row["on_hand"] for row in counts.to_pyarrow().to_pylist()}
    by_zone = not facts.is_empty("stock") and zone != DEFAULT_ZONE
    items = facts.read("items")
    columns = ("item_id", "title", "category", "list_price_minor", "stock_on_hand", "attributes")
    found = {}
    for row in items.select(*columns).to_pyarrow().to_pylist():
        more = json.loads(row["attributes"]) if row["attributes"] else {}
        lead, level = (_number(more.get(name)) for name in _ATTRIBUTES)
        found[row["item_id"]] = ItemStock(
            title=row["title"],
            category=row["category"] or "",
            list_price_minor=row["list_price_minor"],
            on_hand=counted.get(row["item_id"], None if by_zone else row["stock_on_hand"]),
            lead_time_days=lead if lead is not None and lead > 0 else None,
            service_level=level if level is not None and 0 < level < 1 else None,
        )
    return found


def _number(text: object) -> float | None:
    try:
        return float(str(text))
    except ValueError:
        return None
