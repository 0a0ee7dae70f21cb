"""What became of experiments: started, stopped or decided by hand; the others are as their files
say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from experiments.definition import Status
from features.database import insert
from serving.database.tables import experiment_looks, experiment_states


@dataclass(frozen=True)
class ExperimentState:
    """The state of one experiment.

    started_at, stopped_at   business time of the last start, and of the stop
    stop_reason   why it was stopped, where a rule stopped it
    decision      what was decided, as DecisionResponse has it
    weights       where results move them: the shares of its variants by the business time from
                  which on they were valid
    override_secret   signs the tokens of its overrides
    """

    status: Status
    started_at: datetime | None = None
    stopped_at: datetime | None = None
    stop_reason: str | None = None
    decision: Mapping[str, object] | None = None
    weights: Mapping[str, Mapping[str, float]] | None = None
    override_secret: str | None = None


class ExperimentStates:
    """The repository of states, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def all(self) -> dict[str, ExperimentState]:
        """Return the states by experiment key."""
        rows = self._connection.execute(sa.select(experiment_states)).mappings()
        names = ExperimentState.__dataclass_fields__
        return {row["key"]: ExperimentState(**{name: row[name] for name in names}) for row in rows}

    def set(self, key: str, state: ExperimentState, at: datetime) -> None:
        """Store a state in place of the one before; `at` is system time."""
        changes = {**vars(state), "updated_at": at}
        statement = insert(self._connection, experiment_states).values(key=key, **changes)
        self._connection.execute(
            statement.on_conflict_do_update(index_elements=["key"], set_=changes)
        )

    def claim_look(self, key: str, now: datetime, pause: timedelta) -> bool:
        """Return whether the caller is to look at an experiment at `now`, in system time: of
        several processes the first one, once in every `pause`. A clock that was ahead holds no
        claim."""
        table = experiment_looks.c
        is_free = sa.or_(table.looked_at <= now - pause, table.looked_at > now)
        statement = insert(self._connection, experiment_looks).values(key=key, looked_at=now)
        claim = statement.on_conflict_do_update(
            index_elements=["key"], set_={"looked_at": now}, where=is_free
        )
        result = self._connection.execute(claim, execution_options={"preserve_rowcount": True})
        return result.rowcount == 1
