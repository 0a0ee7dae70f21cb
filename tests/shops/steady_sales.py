"""A shop that sells the same every day: its tables, with weeks in which it sells nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from configs.settings import Settings
from features.facts.facts import Facts
from tests.shops.event_tables import make_event, make_table

MONDAY = datetime(2024, 1, 1, tzinfo=UTC)


def week(number: int) -> datetime:
    """The start of a week, 0 is the first."""
    return MONDAY + timedelta(weeks=number)


def sell(
    weeks: Collection[int], *, items: Sequence[str] = ("a", "b", "c"), zone: str = "default"
) -> list[dict[str, Any]]:
    """Return a purchase of two units of each item on each day of some weeks, at 5.00 each."""
    return [
        make_event(
            f"u{day}",
            item,
            week(number) + timedelta(days=day, hours=10),
            zone=zone,
            quantity=2.0,
            line_amount_minor=1000,
            order_id=f"{item} {number} {day} {zone}",
        )
        for number in weeks
        for day in range(7)
        for item in items
    ]


def open_shop(
    settings: Settings,
    events: Sequence[Mapping[str, Any]],
    items: Sequence[str] = ("a", "b", "c"),
    **tables: Sequence[Mapping[str, Any]],
) -> Facts:
    """Write the tables into the state folder of the settings."""
    facts = Facts(settings)
    rows = [{"item_id": item, "category": "Food", "stock_on_hand": 10.0} for item in items]
    written = {"events": events, "items": rows, **tables}
    facts.write({name: make_table(name, table) for name, table in written.items()})
    return facts
