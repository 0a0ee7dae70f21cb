"""Rows of events that are small enough to compute by hand, and rows as tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import ibis
import pyarrow as pa

from features.contracts.tables import TABLES

AS_OF = datetime(2024, 3, 4, 12, tzinfo=UTC)
_NUMBERS = count()


def days_before(days: float, as_of: datetime = AS_OF) -> datetime:
    return as_of - timedelta(days=days)


def make_event(
    user_id: str | None, item_id: str, at: datetime, kind: str = "purchase", **values: Any
) -> dict[str, Any]:
    """Return a row of `events`; by default a purchase of one unit at 100."""
    row = {
        "event_id": f"e{next(_NUMBERS)}",
        "event_type": kind,
        "occurred_at": at,
        "user_id": user_id,
        "item_id": item_id,
        "zone": "default",
        "quantity": 1.0,
        "line_amount_minor": 100 if kind == "purchase" else None,
    }
    return row | values


def make_table(name: str, rows: Iterable[Mapping[str, Any]] = ()) -> pa.Table:
    """Return rows in the stored schema of a table."""
    return pa.Table.from_pylist([dict(row) for row in rows], schema=TABLES[name].arrow)


def make_relation(name: str, rows: Iterable[Mapping[str, Any]] = ()) -> Any:
    """Return rows as an Ibis table."""
    return ibis.memtable(make_table(name, rows))


def read_by_key(relation: Any, *keys: str) -> dict[Any, dict[str, Any]]:
    """Return the rows of a relation by key."""
    rows = relation.to_pyarrow().to_pylist()
    by_key = {tuple(row.pop(key) for key in keys): row for row in rows}
    assert len(by_key) == len(rows)
    return {key[0] if len(keys) == 1 else key: row for key, row in by_key.items()}
