"""The audit log: who did what, as a chain in which each row hashes the one before.

Changing, removing or reordering a row breaks the chain from there on. Cutting off its end does not,
so whoever checks should keep a `Head` elsewhere (every answer of `GET /v1/audit` carries it) and
hand it to `verify`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from features.contracts.pricing import PriceLaw
from features.database import lock
from serving.database.tables import audit_log

ORIGIN = "0" * 64
# Who acts when no person does.
SYSTEM = "system"
# Whoever has the command line.
OPERATOR = "operator"
_FETCH = 10_000


@dataclass(frozen=True)
class AuditEntry:
    """One deed: `actor` is a key's id, "operator" or "system", `details` are plain JSON values."""

    actor: str
    action: str
    subject_type: str
    subject_id: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Decider:
    """Who decides and when: `now` is business time (prices), `at` system time (audit).

    `law_of` tells from which earlier prices a reduction in a zone is counted.
    """

    actor: str
    now: datetime
    at: datetime
    reason: str | None = None
    law_of: Callable[[str], PriceLaw] = field(default=lambda _zone: PriceLaw.EU30, compare=False)


@dataclass(frozen=True)
class AuditRecord(AuditEntry):
    """A deed in the log."""

    seq: int = 0
    at: datetime | None = None
    hash: str = ""


@dataclass(frozen=True)
class Head:
    """The newest row's number and hash; number 0 when the log is empty."""

    seq: int
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


class AuditLog:
    """The repository of deeds, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def append(self, entries: Sequence[AuditEntry], at: datetime) -> None:
        """Appends deeds in the given order, in the transaction of what was done."""
        if not entries:
            return
        lock(self._connection, "audit_log")
        head = self.head()
        seq, previous = head.seq, head.hash
        rows = []
        for entry in entries:
            seq += 1
            row = {
                "seq": seq,
                "at": at,
                "actor": entry.actor,
                "action": entry.action,
                "subject_type": entry.subject_type,
                "subject_id": entry.subject_id,
                "details": json.dumps(entry.details, sort_keys=True, ensure_ascii=False),
                "previous_hash": previous,
            }
            previous = _hash(row)
            rows.append({**row, "hash": previous})
        self._connection.execute(audit_log.insert(), rows)

    def head(self) -> Head:
        """The end of the chain."""
        query = (
            sa.select(audit_log.c.seq, audit_log.c.hash).order_by(audit_log.c.seq.desc()).limit(1)
        )
        row = self._connection.execute(query).one_or_none()
        return Head(0, ORIGIN) if row is None else Head(row.seq, row.hash)

    def page(
        self,
        *,
        after: int = 0,
        limit: int = 100,
        subject_id: str | None = None,
        actor: str | None = None,
        action: str | None = None,
    ) -> list[AuditRecord]:
        """Deeds after number `after`, in order."""
        query = (
            sa.select(audit_log)
            .where(audit_log.c.seq > after)
            .order_by(audit_log.c.seq)
            .limit(limit)
        )
        for name, value in {"subject_id": subject_id, "actor": actor, "action": action}.items():
            if value is not None:
                query = query.where(audit_log.c[name] == value)
        return [_record(row) for row in self._connection.execute(query)]

    def verify(self, anchor: Head | None = None) -> Verification:
        """Walks the whole chain; with an `anchor` taken earlier, that row must still be there as it
        was."""
        seq, previous = 0, ORIGIN
        query = sa.select(audit_log).order_by(audit_log.c.seq)
        result = self._connection.execute(query.execution_options(stream_results=True))
        for rows in result.partitions(_FETCH):
            for row in rows:
                values = dict(row._mapping)
                fits = (
                    row.seq == seq + 1
                    and row.previous_hash == previous
                    and _hash(values) == row.hash
                )
                anchored = anchor is None or anchor.seq != row.seq or anchor.hash == row.hash
                if not (fits and anchored):
                    result.close()
                    return Verification(seq, Head(seq, previous), seq + 1)
                seq, previous = row.seq, row.hash
        missing = anchor is not None and anchor.seq > seq
        return Verification(seq, Head(seq, previous), seq + 1 if missing else None)


def _hash(row: Mapping[str, Any]) -> str:
    names = ("seq", "actor", "action", "subject_type", "subject_id", "details", "previous_hash")
    parts = [*(row[name] for name in names), row["at"].isoformat(timespec="microseconds")]
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()


def _record(row: sa.Row[Any]) -> AuditRecord:
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
