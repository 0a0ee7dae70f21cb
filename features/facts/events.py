"""Events received over HTTP: the SQL table `events`, with each event once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.tables import DEFAULT_ZONE, EVENTS, EventType
from features.database import insert_new, reading_stored
from features.database_tables import events
from features.facts.exclusions import RowFilter

_COLUMNS = tuple(EVENTS.arrow.names)
_FETCH = 50_000
_MAX_SEALED = 500_000


@dataclass(frozen=True)
class Appended:
    """The numbers of new rows and of rows known before or repeated in the call."""

    accepted: int
    duplicates: int


class EventLog:
    """The repository of received events, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def append(self, rows: Sequence[Mapping[str, object]], received_at: datetime) -> Appended:
        """Store each event once, however often it is sent.

        `rows` map stored column names of EVENTS to values; event_id, event_type, occurred_at and
        item_id must be there. The first event of an id is kept. Acknowledge only after the
        transaction is committed.
        """
        distinct: dict[str, dict[str, object]] = {}
        for row in rows:
            values = {name: row.get(name) for name in _COLUMNS}
            values["zone"] = values["zone"] or DEFAULT_ZONE
            distinct.setdefault(str(row["event_id"]), {**values, "received_at": received_at})
        # In one order everywhere: two senders of the same events wait for each other instead of
        # deadlocking.
        ordered = [distinct[key] for key in sorted(distinct)]
        accepted = insert_new(self._connection, events, "event_id", ordered)
        return Appended(accepted, len(rows) - accepted)

    def summarize(self) -> tuple[int, datetime | None]:
        """Return how many events are stored here, and when the last one was received."""
        query = sa.select(sa.func.count(), sa.func.max(events.c.received_at))
        count, latest = self._connection.execute(query.select_from(events)).one()
        return count, latest

    def find(self, event_ids: Sequence[str]) -> dict[str, dict[str, object]]:
        """Return the stored events with these ids, by id."""
        query = sa.select(*(events.c[name] for name in _COLUMNS))
        rows = self._connection.execute(query.where(events.c.event_id.in_(event_ids))).mappings()
        return {row["event_id"]: dict(row) for row in rows}

    def read_matching(self, rows: sa.ColumnElement[bool]) -> list[dict[str, object]]:
        """Return the events that match, in the order in which they occurred."""
        query = sa.select(*(events.c[name] for name in _COLUMNS)).where(rows)
        ordered = query.order_by(events.c.occurred_at, events.c.event_id)
        return [dict(row) for row in self._connection.execute(ordered).mappings()]

    def erase(self, rows: sa.ColumnElement[bool]) -> int:
        """Erase the events that match and return how many there were."""
        return self._connection.execute(events.delete().where(rows)).rowcount

    def mark(self, rows: RowFilter, *, exclude: bool) -> int:
        """Mark the events as counted for nothing, or as counted; return how many changed."""
        differs = events.c.exclude.is_not(sa.true() if exclude else sa.null())
        statement = events.update().where(rows.build_clause(events), differs)
        return self._connection.execute(statement.values(exclude=exclude or None)).rowcount

    def remove_matching(self, rows: RowFilter) -> int:
        """Remove the events for good and return how many there were."""
        return self._connection.execute(events.delete().where(rows.build_clause(events))).rowcount

    def read_marked(self) -> pa.Table:
        """Return the events that count for nothing, in the stored schema of EVENTS."""
        query = sa.select(*(events.c[name] for name in _COLUMNS))
        return self._read_table(query.where(events.c.exclude.is_(sa.true())))

    def as_arrow(self) -> pa.Table:
        """Return every event, in the stored schema of EVENTS, ordered by event_id."""
        return self._read_table(
            sa.select(*(events.c[name] for name in _COLUMNS)).order_by(events.c.event_id)
        )

    def read_sealable(self, before: datetime, after_id: str, limit: int = _MAX_SEALED) -> pa.Table:
        """Return up to `limit` events before `before`, by event_id from `after_id` on.

        Without purchases and refunds of no user, in the stored schema of EVENTS.
        """
        may_leave = events.c.user_id.is_not(None) | events.c.event_type.not_in(
            (EventType.PURCHASE, EventType.REFUND)
        )
        query = sa.select(*(events.c[name] for name in _COLUMNS))
        query = query.where(events.c.event_id > after_id, events.c.occurred_at < before, may_leave)
        return self._read_table(query.order_by(events.c.event_id).limit(limit))

    def remove(self, event_ids: Sequence[str]) -> int:
        """Remove events that are stored elsewhere and return how many there were."""
        if not event_ids:
            return 0
        statement = events.delete().where(events.c.event_id == sa.bindparam("removed_id"))
        result = self._connection.execute(
            statement,
            [{"removed_id": event_id} for event_id in event_ids],
            execution_options={"preserve_rowcount": True},
        )
        return result.rowcount

    def _read_table(self, query: sa.Select) -> pa.Table:
        result = self._connection.execute(query.execution_options(stream_results=True))
        batches = [_build_batch(rows) for rows in result.partitions(_FETCH)]
        return pa.Table.from_batches(batches, EVENTS.arrow)


def read_received_events(settings: Settings) -> pa.Table | None:
    """Return the received events of the database, None when it has no such table yet."""
    with reading_stored(settings, events) as connection:
        return None if connection is None else EventLog(connection).as_arrow()


def _build_batch(rows: Iterable[sa.Row]) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True))
    arrays = [
        pa.array(values, field.type) for values, field in zip(columns, EVENTS.arrow, strict=True)
    ]
    return pa.record_batch(arrays, schema=EVENTS.arrow)
