"""Impressions: the items shown by placements that explore, with their propensities.

Off-policy estimates need them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import sqlalchemy as sa

from features.contracts.tables import TIMESTAMP
from features.database import insert_new
from features.database_tables import impressions

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
    """One rank of one slate.

    impression_id   the key: writing it twice stores it once
    propensity      probability of this item at this rank given the ranks before it, 0 < p <= 1; the
                    product over a slate is the probability of the slate. The probability of the
                    variant of an experiment is not in it (see exposures)
    explored        whether it was drawn at random instead of the best remaining item
    unit_id         the user, else visitor, else session; None when none was given
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
    """Store each impression once and return how many were new."""
    ordered = sorted(
        {row.impression_id: row for row in rows}.values(), key=lambda row: row.impression_id
    )
    return insert_new(connection, impressions, "impression_id", [vars(row) for row in ordered])


def read_placement(
    connection: sa.Connection,
    placement: str,
    *,
    after: datetime | None = None,
    until: datetime | None = None,
) -> pa.Table:
    """Return the slates of a placement rank by rank; `after` < shown_at <= `until`.

    Columns of SCHEMA.
    """
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
    """Erase the unit of its impressions and return how many; the items and propensities stay."""
    query = impressions.update().where(impressions.c.unit_id == unit_id).values(unit_id=None)
    return connection.execute(query).rowcount
