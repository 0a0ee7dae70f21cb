"""Events that came over HTTP: the SQL table `events`, each event once, committed before it is
acknowledged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.tables import DEFAULT_ZONE, EVENTS, EventType
from features.database import engine, events, has_table, insert_new, reading

_COLUMNS = tuple(EVENTS.arrow.names)
_FETCH = 50_000
_SETTLED = 500_000


@dataclass(frozen=True)
class Appended:
    """How many rows were new, and how many were known already (or stood twice in the call)."""

    accepted: int
    duplicates: int


class EventLog:
    """The repository of received events, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def append(self, rows: Sequence[Mapping[str, Any]], received_at: datetime) -> Appended:
        """Keeps each event once, however often it is sent.

        `rows` map stored column names of EVENTS to values; event_id, event_type, occurred_at and
        item_id must be there. The first event under an id stands. Acknowledge only after the
        transaction is committed.
        """
        distinct: dict[str, dict[str, Any]] = {}
        for row in rows:
            values: dict[str, Any] = {name: row.get(name) for name in _COLUMNS}
            values["zone"] = values["zone"] or DEFAULT_ZONE
            distinct.setdefault(row["event_id"], {**values, "received_at": received_at})
        # In one order everywhere: two senders of the same events wait for each other instead of
        # deadlocking.
        ordered = [distinct[key] for key in sorted(distinct)]
        accepted = insert_new(self._connection, events, "event_id", ordered)
        return Appended(accepted, len(rows) - accepted)

    def erase(self, user_id: str) -> int:
        """Forgets a user's events; returns how many there were."""
        return self._connection.execute(events.delete().where(events.c.user_id == user_id)).rowcount

    def as_arrow(self) -> pa.Table:
        """Every event, in the stored schema of EVENTS, ordered by event_id."""
        return self._table(
            sa.select(*(events.c[name] for name in _COLUMNS)).order_by(events.c.event_id)
        )

    def read_sealable(self, before: datetime, after_id: str, limit: int = _SETTLED) -> pa.Table:
        """Up to `limit` events that occurred before `before` and are no purchase or refund without
        a user.

        In the stored schema of EVENTS, by event_id from `after_id` on.
        """
        mine = events.c.user_id.is_not(None) | events.c.event_type.not_in(
            (EventType.PURCHASE, EventType.REFUND)
        )
        query = sa.select(*(events.c[name] for name in _COLUMNS))
        query = query.where(events.c.event_id > after_id, events.c.occurred_at < before, mine)
        return self._table(query.order_by(events.c.event_id).limit(limit))

    def remove(self, event_ids: Sequence[str]) -> int:
        """Takes events out that are kept elsewhere; returns how many there were."""
        if not event_ids:
            return 0
        statement = events.delete().where(events.c.event_id == sa.bindparam("gone"))
        result = self._connection.execute(
            statement,
            [{"gone": each} for each in event_ids],
            execution_options={"preserve_rowcount": True},
        )
        return result.rowcount

    def _table(self, query: sa.Select[Any]) -> pa.Table:
        result = self._connection.execute(query.execution_options(stream_results=True))
        batches = [_batch(rows) for rows in result.partitions(_FETCH)]
        return pa.Table.from_batches(batches, EVENTS.arrow)


def received_events(settings: Settings) -> pa.Table | None:
    """The received events of the settings' database, None when it has no such table yet."""
    if settings.database_url is None and not (settings.home / "shopwright.db").exists():
        return None
    opened = engine(settings)
    try:
        if not has_table(opened, events.name):
            return None
        with reading(opened) as connection:
            return EventLog(connection).as_arrow()
    finally:
        opened.dispose()


def _batch(rows: Iterable[sa.Row[Any]]) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True))
    arrays = [
        pa.array(values, field.type) for values, field in zip(columns, EVENTS.arrow, strict=True)
    ]
    return pa.record_batch(arrays, schema=EVENTS.arrow)
