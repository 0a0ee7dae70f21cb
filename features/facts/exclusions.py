"""Events that are kept and counted for nothing: orders of a wholesaler, of staff, of a machine.

An event is marked by its column `exclude`, in a file or over HTTP, or by a rule: every event with
these values, stored or still to come. The mark is written to the row, so readers need nothing but
`Facts.read`, which leaves marked events out, and the server's query of recent events. An event
that says `exclude: false` itself is not marked by a rule.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.errors import UnknownName
from features.contracts.manifest import read_segments, stamp_manifest
from features.contracts.tables import EVENTS, EXCLUSIONS, Kind, TableSchema
from features.contracts.texts import sql_name
from features.facts.stored_columns import open_segment

EXCLUDE = "exclude"


class RowCondition(Protocol):
    """Which rows of a table are meant."""

    def build_sql(self) -> tuple[str, list[object]]:
        """Return a condition for DuckDB that is never null, and its parameters."""
        ...


@dataclass(frozen=True)
class RowFilter:
    """The rows of a table with these values in its text columns, and those of a span of time.

    equals   column and value, sorted by column
    since    occurred at or after; of events only
    until    occurred before; of events only
    """

    equals: tuple[tuple[str, str], ...]
    since: datetime | None = None
    until: datetime | None = None

    def check(self, schema: TableSchema) -> None:
        """Raise UnknownName for a column that is no text column of the table."""
        valid = [column.name for column in schema.columns if column.kind is Kind.TEXT]
        for name, _ in self.equals:
            if name not in valid:
                raise UnknownName(name, valid, kind=f"column of {schema.name}")

    def matches(self, row: Mapping[str, object]) -> bool:
        """Return whether an event matches. The twin of `build_sql` and `build_clause`."""
        at = row["occurred_at"]
        return (
            all(row[name] == value for name, value in self.equals)
            and (self.since is None or (isinstance(at, datetime) and at >= self.since))
            and (self.until is None or (isinstance(at, datetime) and at < self.until))
        )

    def build_sql(self) -> tuple[str, list[object]]:
        """Return a condition for DuckDB that is never null, and its parameters."""
        conditions = [f"{sql_name(name)} IS NOT DISTINCT FROM ?" for name, _ in self.equals]
        parameters: list[object] = [value for _, value in self.equals]
        for operator, instant in ((">=", self.since), ("<", self.until)):
            if instant is not None:
                conditions.append(f"occurred_at {operator} ?")
                parameters.append(instant)
        return " AND ".join(conditions) or "true", parameters

    def build_clause(self, table: sa.Table) -> sa.ColumnElement[bool]:
        """Return the condition on the received events."""
        clauses = [table.c[name] == value for name, value in self.equals]
        if self.since is not None:
            clauses.append(table.c.occurred_at >= self.since)
        if self.until is not None:
            clauses.append(table.c.occurred_at < self.until)
        return sa.and_(sa.true(), *clauses)

    def to_text(self) -> str:
        """Return the filter as JSON, one text for equal filters."""
        span = {"since": self.since, "until": self.until}
        times = {name: at.isoformat() for name, at in span.items() if at is not None}
        return json.dumps({"equals": dict(self.equals), **times}, ensure_ascii=False)

    @classmethod
    def from_text(cls, text: str) -> RowFilter:
        """Return the filter that `to_text` wrote."""
        stored = json.loads(text)
        since, until = (stored.get(name) for name in ("since", "until"))
        return cls(
            tuple(sorted(stored["equals"].items())),
            None if since is None else datetime.fromisoformat(since),
            None if until is None else datetime.fromisoformat(until),
        )


class Exclusions:
    """The rules of a shop, read anew when one was added or taken back. Safe between threads."""

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.home / "tables"
        self._lock = Lock()
        self._stamp: tuple[int, int] | None = None
        self._rules: tuple[RowFilter, ...] = ()

    def find(self) -> tuple[RowFilter, ...]:
        """Return the rules that are valid."""
        stamp = stamp_manifest(self._folder)
        with self._lock:
            if stamp != self._stamp:
                segments = read_segments(self._folder).get(EXCLUSIONS.name, [])
                tables = [open_segment(self._folder / segment).read() for segment in segments]
                rows = [row for table in tables for row in table.to_pylist() if row["excluded"]]
                self._rules = tuple(RowFilter.from_text(row["rule"]) for row in rows)
                self._stamp = stamp
            return self._rules


def is_marked_by(row: Mapping[str, object], rules: Sequence[RowFilter]) -> bool:
    """Return whether a rule marks an event, which says nothing itself."""
    return row.get(EXCLUDE) is None and any(rule.matches(row) for rule in rules)


def mark_rows(events: pa.Table, rules: Sequence[RowFilter]) -> pa.Table:
    """Return the events with those marked that match a rule and say nothing themselves."""
    if not rules:
        return events
    marked = pa.array([False] * events.num_rows)
    for rule in rules:
        marked = pc.or_(marked, match_rows(events, rule))
    own = events[EXCLUDE]
    chosen = pc.if_else(pc.and_(pc.is_null(own), marked), True, own)
    index = events.schema.get_field_index(EXCLUDE)
    return events.set_column(index, EVENTS.arrow.field(EXCLUDE), chosen)


def match_rows(events: pa.Table, rule: RowFilter) -> pa.ChunkedArray | pa.Array:
    """Return which events a rule matches, whatever they say themselves."""
    matching = pa.array([True] * events.num_rows)
    for name, value in rule.equals:
        matching = pc.and_(matching, pc.fill_null(pc.equal(events[name], value), False))
    if rule.since is not None:
        matching = pc.and_(matching, pc.greater_equal(events["occurred_at"], rule.since))
    if rule.until is not None:
        matching = pc.and_(matching, pc.less(events["occurred_at"], rule.until))
    return matching
