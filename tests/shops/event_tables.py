"""Rows of a shop small enough to work out by hand."""

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


def event(
    user_id: str | None, item_id: str, at: datetime, kind: str = "purchase", **values: Any
) -> dict[str, Any]:
    """A row of `events`; a purchase of one unit at 100 unless told otherwise."""
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


def arrow(name: str, rows: Iterable[Mapping[str, Any]] = ()) -> pa.Table:
    """Rows in the stored schema of a table."""
    return pa.Table.from_pylist([dict(row) for row in rows], schema=TABLES[name].arrow)


def table(name: str, rows: Iterable[Mapping[str, Any]] = ()) -> Any:
    """Rows as an Ibis table."""
    return ibis.memtable(arrow(name, rows))


def by_key(relation: Any, *keys: str) -> dict[Any, dict[str, Any]]:
    """The rows of a relation by key."""
    rows = relation.to_pyarrow().to_pylist()
    found = {tuple(row.pop(key) for key in keys): row for row in rows}
    assert len(found) == len(rows)
    return {key[0] if len(keys) == 1 else key: row for key, row in found.items()}
