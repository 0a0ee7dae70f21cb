"""Statuses of experiments that were started or stopped by hand; the others are as their files
say."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from features.database import insert
from serving.database.tables import experiment_states


class ExperimentStates:
    """The repository of statuses, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def all(self) -> dict[str, str]:
        """Return the status ("running" or "stopped") by experiment key."""
        columns = experiment_states.c
        rows = self._connection.execute(sa.select(columns.key, columns.status))
        return {row.key: row.status for row in rows}

    def set(self, key: str, status: str, at: datetime) -> None:
        """Store a status in place of the one before."""
        statement = insert(self._connection, experiment_states).values(
            key=key, status=status, updated_at=at
        )
        changes = {"status": status, "updated_at": at}
        self._connection.execute(
            statement.on_conflict_do_update(index_elements=["key"], set_=changes)
        )
