"""Exposures: the answers that a unit got under a variant, with the model that answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import sqlalchemy as sa

from features.contracts.tables import TIMESTAMP
from features.database import exposures, insert_new

SCHEMA = pa.schema(
    [
        ("unit_id", pa.string()),
        ("variant", pa.string()),
        ("exposed_at", TIMESTAMP),
        ("n_exposures", pa.int64()),
    ]
)


@dataclass(frozen=True)
class Exposure:
    """One answer that a unit got under an experiment.

    exposure_id    the key: writing it twice stores it once
    unit_id        what the experiment assigns (a user or a visitor)
    exposed_at     business time
    recorded_at    system time
    propensity     probability with which this variant was chosen, 0 < p <= 1
    """

    exposure_id: str
    experiment: str
    variant: str
    unit_id: str
    exposed_at: datetime
    recorded_at: datetime
    recommendation_id: str | None = None
    placement: str | None = None
    model_name: str | None = None
    model_version: str | None = None
    propensity: float | None = None


def append(connection: sa.Connection, rows: Sequence[Exposure]) -> int:
    """Store each exposure once and return how many were new."""
    ordered = sorted(
        {row.exposure_id: row for row in rows}.values(), key=lambda row: row.exposure_id
    )
    return insert_new(connection, exposures, "exposure_id", [vars(row) for row in ordered])


def read_first_exposures(
    connection: sa.Connection,
    experiment: str,
    *,
    after: datetime | None = None,
    until: datetime | None = None,
) -> pa.Table:
    """Return the first exposure and the number of exposures by unit and variant.

    A unit in two variants has two rows. Columns of SCHEMA, ordered by unit and variant;
    `after` < exposed_at <= `until`.
    """
    table = exposures.c
    query = (
        sa.select(
            table.unit_id,
            table.variant,
            sa.func.min(table.exposed_at, type_=table.exposed_at.type).label("exposed_at"),
            sa.func.count().label("n_exposures"),
        )
        .where(table.experiment == experiment)
        .group_by(table.unit_id, table.variant)
        .order_by(table.unit_id, table.variant)
    )
    if after is not None:
        query = query.where(table.exposed_at > after)
    if until is not None:
        query = query.where(table.exposed_at <= until)
    rows = connection.execute(query).mappings().all()
    return pa.Table.from_pylist([dict(row) for row in rows], SCHEMA)


def erase(connection: sa.Connection, unit_id: str) -> int:
    """Erase the exposures of a unit and return how many there were."""
    return connection.execute(exposures.delete().where(exposures.c.unit_id == unit_id)).rowcount
