"""Sales of tea and milk, which answer to prices differently, in tables in memory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import ibis
import numpy as np
import pyarrow as pa

from features.contracts.tables import TABLES
from tests.shops.event_tables import make_table

MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
N_WEEKS = 40


class FewFacts:
    """Tables in memory, read like those of a shop."""

    def __init__(self, tables: dict[str, pa.Table]) -> None:
        backend = ibis.duckdb.connect()
        backend.raw_sql("SET TimeZone = 'UTC'")
        for name, schema in TABLES.items():
            backend.con.register(name, tables.get(name, schema.arrow.empty_table()))
        self._backend = backend

    def read(self, name: str, known_at: datetime | None = None) -> Any:
        return self._backend.table(name)

    def latest_event_at(self) -> datetime | None:
        latest: datetime | None = self.read("events").occurred_at.max().to_pyarrow().as_py()
        return latest


def sell_tea_and_milk(
    *,
    n_items: int = 30,
    n_weeks: int = N_WEEKS,
    promoted: float = 0.3,
    users: int = 7,
    list_prices: tuple[int, ...] = (500,),
) -> FewFacts:
    """Return sales of items with elasticity -1 (tea) and -3 (milk) to `users` people.

    Items have the `list_prices` one after the other, for equally long and in weeks of their own.
    """
    rng = np.random.default_rng(21)
    events = []
    for item in range(n_items):
        slope = -1.0 if item < n_items / 2 else -3.0
        for week in range(n_weeks):
            part = (week + 2 * item) * len(list_prices) // n_weeks
            list_price = list_prices[part % len(list_prices)]
            price = list_price * (1 - (0.3 if rng.random() < promoted else 0.0))
            units = rng.poisson(60 * (price / 500) ** slope)
            events.append(
                {
                    "event_id": f"{item}-{week}",
                    "event_type": "purchase",
                    "occurred_at": MONDAY + timedelta(weeks=week, days=5.5),
                    "item_id": f"i{item:02}",
                    "user_id": f"u{(item * 31 + week) % users}",
                    "zone": "default",
                    "quantity": float(units),
                    "line_amount_minor": round(price * units),
                    "unit_price_minor": price,
                    "list_price_minor": float(list_price) if len(list_prices) > 1 else None,
                }
            )
    items = [
        {"item_id": f"i{item:02}", "category": f"Food > {'Tea' if item < n_items / 2 else 'Milk'}"}
        for item in range(n_items)
    ]
    return FewFacts({"events": make_table("events", events), "items": make_table("items", items)})
