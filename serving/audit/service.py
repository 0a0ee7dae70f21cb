"""Reads and verifies the audit log."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from features.database import reading
from serving.audit.repository import AuditLog, AuditRecord, Head, Verification


@dataclass(frozen=True)
class AuditPage:
    """Deeds in order, and the end of the chain to anchor elsewhere."""

    records: list[AuditRecord]
    head: Head


def page(
    engine: sa.Engine,
    *,
    after: int,
    limit: int,
    subject_id: str | None = None,
    actor: str | None = None,
    action: str | None = None,
) -> AuditPage:
    """Deeds after number `after`."""
    with reading(engine) as connection:
        log = AuditLog(connection)
        records = log.page(
            after=after, limit=limit, subject_id=subject_id, actor=actor, action=action
        )
        return AuditPage(records, log.head())


def verify(engine: sa.Engine, anchor: Head | None = None) -> Verification:
    """Walks the whole chain; an `anchor` noted earlier also shows whether its end was cut off."""
    with reading(engine) as connection:
        return AuditLog(connection).verify(anchor)
