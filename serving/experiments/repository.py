"""Which experiments were started or stopped by hand; without a row an experiment is as its file
says."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from features.database import insert
from serving.database.tables import experiment_states


class ExperimentStates:
    """The repository of states, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def all(self) -> dict[str, str]:
        """The status ("running" or "stopped") by experiment key."""
        rows = self._connection.execute(
            sa.select(experiment_states.c.key, experiment_states.c.status)
        )
        return {row.key: row.status for row in rows}

    def set(self, key: str, status: str, at: datetime) -> None:
        """Keeps a status; the last one stands."""
        statement = insert(self._connection, experiment_states).values(
            key=key, status=status, updated_at=at
        )
        changed = {"status": status, "updated_at": at}
        self._connection.execute(
            statement.on_conflict_do_update(index_elements=["key"], set_=changed)
        )
