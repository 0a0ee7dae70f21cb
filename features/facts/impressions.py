"""Impressions: the items that placements which explore have shown, each with its chance, for
off-policy estimates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import sqlalchemy as sa

from features.contracts.tables import TIMESTAMP
from features.database import impressions, insert_new

SCHEMA = pa.schema(
    [
        ("recommendation_id", pa.string()),
        ("rank", pa.int64()),
        ("item_id", pa.string()),
        ("propensity", pa.float64()),
        ("explored", pa.bool_()),
        ("shown_at", TIMESTAMP),
    ]
)


@dataclass(frozen=True)
class Impression:
    """One place of one slate.

    impression_id   names it, so that writing it twice keeps it once
    propensity      chance of this item at this place given the places before it, 0 < p <= 1; the
                    product over a slate
                    is the chance of the slate. The chance of the experiment's variant is not in it
                    (see exposures)
    explored        whether it was drawn instead of the best that was left
    unit_id         the user, else visitor, else session; None when nobody was named
    shown_at        business time; recorded_at is system time
    """

    impression_id: str
    recommendation_id: str
    placement: str
    rank: int
    item_id: str
    propensity: float
    explored: bool
    unit_id: str | None
    shown_at: datetime
    recorded_at: datetime
    model_name: str | None = None
    model_version: str | None = None


def append(connection: sa.Connection, rows: Sequence[Impression]) -> int:
    """Keeps each impression once; returns how many were new."""
    ordered = sorted(
        {row.impression_id: row for row in rows}.values(), key=lambda row: row.impression_id
    )
    return insert_new(connection, impressions, "impression_id", [vars(row) for row in ordered])


def of_placement(
    connection: sa.Connection,
    placement: str,
    *,
    after: datetime | None = None,
    until: datetime | None = None,
) -> pa.Table:
    """The slates of a placement place by place, columns of SCHEMA; `after` < shown_at <=
    `until`."""
    table = impressions.c
    query = (
        sa.select(*(table[name] for name in SCHEMA.names))
        .where(table.placement == placement)
        .order_by(table.shown_at, table.recommendation_id, table.rank)
    )
    if after is not None:
        query = query.where(table.shown_at > after)
    if until is not None:
        query = query.where(table.shown_at <= until)
    return pa.Table.from_pylist([dict(row) for row in connection.execute(query).mappings()], SCHEMA)


def erase(connection: sa.Connection, unit_id: str) -> int:
    """Forgets whom a unit's impressions were shown to; what was shown and with which chance stays.
    Returns how many."""
    query = impressions.update().where(impressions.c.unit_id == unit_id).values(unit_id=None)
    return connection.execute(query).rowcount
