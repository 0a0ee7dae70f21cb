"""Reads and verifies the audit log."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from features.database import reading
from serving.audit.repository import AuditFilter, AuditRecord, AuditRecords, Verification
from serving.database.audit_log import Head


@dataclass(frozen=True)
class AuditPage:
    """Actions in order, and the end of the chain to note elsewhere."""

    records: list[AuditRecord]
    head: Head


class AuditService:
    """The audit log of one database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def page(self, which: AuditFilter, *, after: int, limit: int) -> AuditPage:
        """Return actions after number `after`."""
        with reading(self._engine) as connection:
            records = AuditRecords(connection)
            return AuditPage(records.page(which, after=after, limit=limit), records.head())

    def verify(self, anchor: Head | None = None) -> Verification:
        """Walk the whole chain; an `anchor` noted earlier shows whether its end was cut off."""
        with reading(self._engine) as connection:
            return AuditRecords(connection).verify(anchor)
