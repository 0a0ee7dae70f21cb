"""Reads and verifies the rows of the audit log."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from serving.database.audit_log import ORIGIN, AuditEntry, AuditLog, Head, hash_row
from serving.database.tables import audit_log

_FETCH = 10_000


@dataclass(frozen=True)
class AuditFilter:
    """Which rows to read: those that agree with every value that is not None."""

    subject_id: str | None = None
    actor: str | None = None
    action: str | None = None


ALL_ACTIONS = AuditFilter()


@dataclass(frozen=True, kw_only=True)
class AuditRecord(AuditEntry):
    """An action in the log."""

    seq: int
    at: datetime
    hash: str


@dataclass(frozen=True)
class Verification:
    """`broken_at` is the number of the first row that does not fit, None when the chain is
    whole."""

    rows: int
    head: Head
    broken_at: int | None

    @property
    def intact(self) -> bool:
        """Whether every row fits."""
        return self.broken_at is None


class AuditRecords:
    """The repository of actions, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def head(self) -> Head:
        """Return the end of the chain."""
        return AuditLog(self._connection).head()

    def page(
        self, which: AuditFilter = ALL_ACTIONS, *, after: int = 0, limit: int = 100
    ) -> list[AuditRecord]:
        """Return actions after number `after`, in order."""
        query = (
            sa.select(audit_log)
            .where(audit_log.c.seq > after)
            .order_by(audit_log.c.seq)
            .limit(limit)
        )
        for name in ("subject_id", "actor", "action"):
            value = getattr(which, name)
            if value is not None:
                query = query.where(audit_log.c[name] == value)
        return [_read_record(row) for row in self._connection.execute(query)]

    def verify(self, anchor: Head | None = None) -> Verification:
        """Walk the whole chain; an `anchor` noted earlier must still be there as it was."""
        seq, previous = 0, ORIGIN
        query = sa.select(audit_log).order_by(audit_log.c.seq)
        result = self._connection.execute(query.execution_options(stream_results=True))
        for rows in result.partitions(_FETCH):
            for row in rows:
                follows = row.seq == seq + 1 and row.previous_hash == previous
                fits = follows and hash_row(dict(row._mapping), row.at) == row.hash
                anchored = anchor is None or anchor.seq != row.seq or anchor.hash == row.hash
                if not (fits and anchored):
                    result.close()
                    return Verification(seq, Head(seq, previous), seq + 1)
                seq, previous = row.seq, row.hash
        cut_off = anchor is not None and anchor.seq > seq
        return Verification(seq, Head(seq, previous), seq + 1 if cut_off else None)


def _read_record(row: sa.Row) -> AuditRecord:
    return AuditRecord(
        actor=row.actor,
        action=row.action,
        subject_type=row.subject_type,
        subject_id=row.subject_id,
        details=json.loads(row.details),
        seq=row.seq,
        at=row.at,
        hash=row.hash,
    )
