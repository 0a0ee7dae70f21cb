"""Exposures: the answers that a unit got under a variant, with the model that answered."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import sqlalchemy as sa

from features.contracts.tables import TIMESTAMP
from features.database import insert_new
from features.database_tables import exposures
from features.one_of import one_of

SCHEMA = pa.schema(
    [
        ("unit_id", pa.string()),
        ("variant", pa.string()),
        ("exposed_at", TIMESTAMP),
        ("n_exposures", pa.int64()),
    ]
)
LINKS = pa.schema([("visitor_id", pa.string()), ("user_id", pa.string()), ("linked_at", TIMESTAMP)])


@dataclass(frozen=True)
class Exposure:
    """One answer that a unit got under an experiment.

    exposure_id    the key: writing it twice stores it once
    unit_id        what the experiment assigns (a user or a visitor)
    exposed_at     business time
    recorded_at    system time
    propensity     probability with which this variant was chosen, 0 < p <= 1
    visitor_id     the visitor as whom the user came; None where the unit is no user
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
    visitor_id: str | None = None


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


def read_links(connection: sa.Connection, experiment: str, *, until: datetime) -> pa.Table:
    """Return the visitors who were exposed as a user, with the first such user and instant.

    Columns of LINKS, ordered by visitor. A browser that several people share belongs to the first
    who signed in, so that it does not join them to one unit.
    """
    table = exposures.c
    linked_at = sa.func.min(table.exposed_at, type_=table.exposed_at.type).label("linked_at")
    query = (
        sa.select(table.visitor_id, table.unit_id.label("user_id"), linked_at)
        .where(table.experiment == experiment, table.exposed_at <= until)
        .where(table.visitor_id.is_not(None), table.visitor_id != table.unit_id)
        .group_by(table.visitor_id, table.unit_id)
        .order_by(table.visitor_id, linked_at, table.unit_id)
    )
    first_links: dict[str, dict[str, object]] = {}
    for row in connection.execute(query).mappings():
        first_links.setdefault(row["visitor_id"], dict(row))
    return pa.Table.from_pylist(list(first_links.values()), LINKS)


def find_first_variant(connection: sa.Connection, experiment: str, unit_id: str) -> str | None:
    """Return the variant that the unit met first; None where it met none."""
    table = exposures.c
    query = (
        sa.select(table.variant)
        .where(table.experiment == experiment, table.unit_id == unit_id)
        .order_by(table.exposed_at, table.exposure_id)
        .limit(1)
    )
    return connection.execute(query).scalar()


def find_joined_variant(connection: sa.Connection, experiment: str, user_id: str) -> str | None:
    """Return the variant that a user met first, where a visitor ever became this user; else None,
    and the user's own hash decides."""
    table = exposures.c
    query = sa.select(table.exposure_id).where(
        table.experiment == experiment, table.unit_id == user_id, table.visitor_id.is_not(None)
    )
    if connection.execute(query.limit(1)).first() is None:
        return None
    return find_first_variant(connection, experiment, user_id)


def read_of_units(connection: sa.Connection, unit_ids: Collection[str]) -> list[dict[str, object]]:
    """Return the exposures of units in their order."""
    query = sa.select(exposures).where(one_of(exposures.c.unit_id, unit_ids))
    ordered = query.order_by(exposures.c.exposed_at, exposures.c.exposure_id)
    return [dict(row) for row in connection.execute(ordered).mappings()]


def erase(connection: sa.Connection, unit_ids: Collection[str]) -> int:
    """Erase the exposures of units and return how many there were."""
    chosen = exposures.delete().where(one_of(exposures.c.unit_id, unit_ids))
    return connection.execute(chosen).rowcount
