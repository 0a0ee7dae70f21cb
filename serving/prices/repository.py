"""Who decided about the rows of the ledger, and why: of suggestions, and of rollbacks."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

import sqlalchemy as sa

from serving.database.desk_tables import price_suggestions
from serving.database.tables import audit_log


class ChangeOrigin(NamedTuple):
    """The suggestion that a change came from: its item, and who decided, and why."""

    title: str | None
    category: str
    proposed_by: str
    decided_by: str | None
    reason: str | None


def read_origins(
    connection: sa.Connection, suggestion_ids: Iterable[str]
) -> dict[str, ChangeOrigin]:
    """Return the origins of changes by suggestion id; unknown ids are left out."""
    table = price_suggestions.c
    columns = (table[name] for name in ChangeOrigin._fields)
    query = sa.select(table.id, *columns).where(table.id.in_(set(suggestion_ids)))
    return {row[0]: ChangeOrigin(*row[1:]) for row in connection.execute(query)}


class RollbackOrigin(NamedTuple):
    """Who rolled a change back, and why."""

    decided_by: str
    reason: str | None


def read_rollbacks(
    connection: sa.Connection, price_ids: Iterable[str]
) -> dict[str, RollbackOrigin]:
    """Return who rolled changes back, by the id of the change that was undone."""
    table = audit_log.c
    query = sa.select(table.subject_id, table.actor, table.details).where(
        table.subject_id.in_(set(price_ids)), table.action == "rollback"
    )
    return {
        row.subject_id: RollbackOrigin(row.actor, json.loads(row.details).get("reason"))
        for row in connection.execute(query)
    }
