"""Visitors who came back as users: both count as one unit."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import ibis
import ibis.expr.types as ir
import pyarrow as pa


def select_links(links: pa.Table | None, until: datetime) -> dict[str, str]:
    """Return the users by the visitors they were, of the links made up to `until`."""
    rows = [] if links is None else links.to_pylist()
    return {row["visitor_id"]: row["user_id"] for row in rows if row["linked_at"] <= until}


def merge_units(rows: ir.Table, column: str, links: Mapping[str, str]) -> ir.Table:
    """Return the rows with the user in place of each visitor of `links` in the column."""
    if not links:
        return rows
    pairs = {"linked_visitor": list(links), "linked_user": list(links.values())}
    users = ibis.memtable(pa.table(pairs))
    merged = rows.left_join(users, rows[column] == users.linked_visitor)
    unit = ibis.coalesce(merged.linked_user, merged[column])
    return merged.mutate(**{column: unit}).drop(*pairs)
