"""Stock on hand and on order of each item, and its terms of ordering in the catalogue."""

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
    """Stock and terms of one item, each None where it is not known.

    list_price_minor    of the catalogue
    on_hand, on_order   units
    """

    title: str | None = None
    category: str = ""
    list_price_minor: int | None = None
    on_hand: float | None = None
    on_order: float | None = None
    lead_time_days: float | None = None
    service_level: float | None = None


def read_item_stock(facts: Facts, zone: str, now: datetime) -> Mapping[str, ItemStock]:
    """Return every item of the catalogue with its latest count in `zone` up to `now`.

    Without a count, or where it is newer, the catalogue's number is used in the default zone, and
    without one in any zone of a shop that counts no stock by zone. On order is taken
    from the same count: an earlier one does not know what has arrived since.
    """
    counts = _latest_counts(facts, zone, now)
    by_zone = not facts.is_empty("stock") and zone != DEFAULT_ZONE
    items = facts.read("items")
    columns = ("item_id", "title", "category", "list_price_minor", "stock_on_hand", "attributes")
    stock = {}
    for row in items.select(*columns).to_pyarrow().to_pylist():
        item_id = row["item_id"]
        attributes = json.loads(row["attributes"]) if row["attributes"] else {}
        lead, level = (_parse_number(attributes.get(name)) for name in _ATTRIBUTES)
        uncounted = None if by_zone else row["stock_on_hand"], None
        on_hand, on_order = counts.get(item_id, uncounted)
        stock[item_id] = ItemStock(
            title=row["title"],
            category=row["category"] or "",
            list_price_minor=row["list_price_minor"],
            on_hand=on_hand,
            on_order=on_order,
            lead_time_days=lead if lead is not None and lead > 0 else None,
            service_level=level if level is not None and 0 < level < 1 else None,
        )
    return stock


def _latest_counts(facts: Facts, zone: str, now: datetime) -> dict[str, tuple[float, float | None]]:
    """Return on hand and on order of each item, by its latest count up to `now`."""
    import ibis  # here, because a server is ready without it

    from features.pipelines.stock_counts import counts_of_zone

    stock = facts.read("stock")
    known = stock.filter(stock["at"] <= ibis.literal(now, "timestamp('UTC')"))
    rows = counts_of_zone(known, facts.read("items"), zone).to_pyarrow().to_pylist()
    return {row["item_id"]: (row["on_hand"], row["on_order"]) for row in rows}


def _parse_number(text: object) -> float | None:
    try:
        return float(str(text))
    except ValueError:
        return None
