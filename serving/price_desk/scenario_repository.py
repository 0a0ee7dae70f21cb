"""Scenarios as rows: what was asked for, how far it is, and what filing it would store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from features.contracts.pricing import DEFAULT_RULES
from features.contracts.tables import DEFAULT_ZONE
from serving.database.desk_tables import price_scenarios
from serving.price_desk.scenario_types import ScenarioOutcome, read_outcome, write_outcome

KEPT = 200
# Scenarios of a zone that can still be filed.
KEPT_PAYLOADS = 10
_PROCESS = "process"  # beside the order, in what is stored of it: who computes it
RUNNING, DONE, FAILED, FILED = "running", "done", "failed", "filed"


@dataclass(frozen=True, kw_only=True)
class ScenarioOrder:
    """What to compute: the rules of a name, with other values.

    values     all values of the rules, instead of those of today
    changes    single values by dotted key, as "max_change" or "scopes"
    """

    zone: str = DEFAULT_ZONE
    title: str = ""
    rules: str = DEFAULT_RULES
    objective: str | None = None
    horizon_weeks: int | None = None
    values: Mapping[str, Any] | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class NewScenario:
    """A scenario to compute, and the process that will; times as in Scenario."""

    id: str
    order: ScenarioOrder
    created_by: str
    process: str
    created_at: datetime
    begun_at: datetime


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A scenario as it is stored; `created_at` is business time, `begun_at` system time.

    problem   why it failed
    run_id    the run that it was filed as
    """

    seq: int
    id: str
    order: ScenarioOrder
    status: str
    created_by: str
    created_at: datetime
    begun_at: datetime
    outcome: ScenarioOutcome | None = None
    problem: str | None = None
    filed_by: str | None = None
    run_id: str | None = None


_COLUMNS = tuple(
    column for column in price_scenarios.c if column.name not in ("payload", "zone", "request")
)


class Scenarios:
    """The repository of scenarios, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, scenario: NewScenario) -> None:
        """Store a scenario that is being computed, and remove what is beyond those kept."""
        order = scenario.order
        self._connection.execute(
            price_scenarios.insert().values(
                id=scenario.id,
                zone=order.zone,
                request={**vars(order), _PROCESS: scenario.process},
                status=RUNNING,
                created_by=scenario.created_by,
                created_at=scenario.created_at,
                begun_at=scenario.begun_at,
            )
        )
        self._remove_old(order.zone)

    def finish(self, scenario_id: str, outcome: ScenarioOutcome, payload: bytes) -> bool:
        """Store what a running scenario would do; returns whether it was still running."""
        values = {"outcome": write_outcome(outcome), "payload": payload}
        return self._move(scenario_id, RUNNING, status=DONE, **values)

    def fail(self, scenario_id: str, problem: str) -> bool:
        """Store why a running scenario has no outcome; returns whether it was still running."""
        return self._move(scenario_id, RUNNING, status=FAILED, problem=problem)

    def fail_begun_before(self, at: datetime, problem: str) -> None:
        """Fail the scenarios that run for too long: since before `at`."""
        table = price_scenarios.c
        late = price_scenarios.update().where(table.status == RUNNING, table.begun_at < at)
        self._connection.execute(late.values(status=FAILED, problem=problem))

    def mark_filed(self, scenario_id: str, run_id: str, author: str) -> bool:
        """Store the run that a done scenario was filed as; returns whether it was done still."""
        return self._move(scenario_id, DONE, status=FILED, run_id=run_id, filed_by=author)

    def count_running(self) -> int:
        """Return how many scenarios are being computed."""
        query = sa.select(sa.func.count()).where(price_scenarios.c.status == RUNNING)
        return int(self._connection.execute(query).scalar_one())

    def list_running(self) -> dict[str, str]:
        """Return the processes that compute scenarios, by the ids of these."""
        query = sa.select(price_scenarios.c.id, price_scenarios.c.request)
        rows = self._connection.execute(query.where(price_scenarios.c.status == RUNNING))
        return {row.id: row.request[_PROCESS] for row in rows if _PROCESS in row.request}

    def get(self, scenario_id: str) -> Scenario | None:
        """Return the scenario with this id."""
        query = _select().where(price_scenarios.c.id == scenario_id)
        row = self._connection.execute(query).mappings().one_or_none()
        return None if row is None else _build(row)

    def read_payload(self, scenario_id: str) -> bytes | None:
        """Return what filing a scenario would store; None where that is not kept any more."""
        query = sa.select(price_scenarios.c.payload).where(price_scenarios.c.id == scenario_id)
        payload: bytes | None = self._connection.execute(query).scalar_one()
        return payload

    def page(self, zone: str | None, *, before: int | None, limit: int) -> list[Scenario]:
        """Return the scenarios of a zone, or of all, before number `before`, newest first."""
        query = _select().order_by(price_scenarios.c.seq.desc()).limit(limit)
        if zone is not None:
            query = query.where(price_scenarios.c.zone == zone)
        if before is not None:
            query = query.where(price_scenarios.c.seq < before)
        return [_build(row) for row in self._connection.execute(query).mappings()]

    def _move(self, scenario_id: str, source: str, **values: object) -> bool:
        """Change a scenario that is in the status `source`; returns whether it was."""
        table = price_scenarios.c
        statement = price_scenarios.update().where(table.id == scenario_id, table.status == source)
        return self._connection.execute(statement.values(**values)).rowcount == 1

    def _remove_old(self, zone: str) -> None:
        table = price_scenarios.c
        newest_first = sa.select(table.id).where(table.zone == zone).order_by(table.seq.desc())
        ids = list(self._connection.execute(newest_first.limit(KEPT + KEPT)).scalars())
        dropped = price_scenarios.update().where(
            table.id.in_(ids[KEPT_PAYLOADS:]), table.payload.is_not(None)
        )
        self._connection.execute(dropped.values(payload=None))
        if ids[KEPT:]:
            self._connection.execute(price_scenarios.delete().where(table.id.in_(ids[KEPT:])))


def _select() -> sa.Select[tuple[object, ...]]:
    return sa.select(*_COLUMNS, price_scenarios.c.request)


def _build(row: sa.RowMapping) -> Scenario:
    stored = row["outcome"]
    request = {name: value for name, value in row["request"].items() if name != _PROCESS}
    values = {name: value for name, value in row.items() if name not in ("request", "outcome")}
    return Scenario(
        **values,
        order=ScenarioOrder(**request),
        outcome=None if stored is None else read_outcome(stored),
    )
