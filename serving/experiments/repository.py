"""Statuses of experiments that were started or stopped by hand; the others are as their files
say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from features.database import insert
from serving.database.tables import experiment_states


@dataclass(frozen=True)
class ExperimentState:
    """Status ("running" or "stopped"), and the business time of the stop."""

    status: str
    stopped_at: datetime | None


class ExperimentStates:
    """The repository of statuses, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def all(self) -> dict[str, ExperimentState]:
        """Return the states by experiment key."""
        columns = experiment_states.c
        rows = self._connection.execute(sa.select(columns.key, columns.status, columns.stopped_at))
        return {row.key: ExperimentState(row.status, row.stopped_at) for row in rows}

    def set(self, key: str, state: ExperimentState, at: datetime) -> None:
        """Store a state in place of the one before; `at` is system time."""
        changes = {"status": state.status, "stopped_at": state.stopped_at, "updated_at": at}
        statement = insert(self._connection, experiment_states).values(key=key, **changes)
        self._connection.execute(
            statement.on_conflict_do_update(index_elements=["key"], set_=changes)
        )
