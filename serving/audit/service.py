"""Reads, exports and verifies the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from features.database import reading
from serving.audit.chain_file import write_chain
from serving.audit.repository import AuditFilter, AuditRecord, AuditRecords, Verification
from serving.audit.sheets import tabulate_actions
from serving.database.audit_log import Head
from serving.spreadsheets import SheetFormat, write_sheet


@dataclass(frozen=True)
class AuditPage:
    """Actions in order, and the end of the chain to note elsewhere."""

    records: list[AuditRecord]
    head: Head


@dataclass(frozen=True)
class AuditChoices:
    """What a log can be filtered by: actions, and actors with their names today."""

    actions: list[str]
    actors: list[tuple[str, str]]


class AuditService:
    """The audit log of one database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def page(self, which: AuditFilter, *, after: int, limit: int) -> AuditPage:
        """Return actions after number `after`."""
        with reading(self._engine) as connection:
            records = AuditRecords(connection)
            return AuditPage(records.page(which, after=after, limit=limit), records.head())

    def read_newest(
        self, which: AuditFilter, *, before: int | None = None, limit: int
    ) -> AuditPage:
        """Return actions before number `before`, the newest first."""
        with reading(self._engine) as connection:
            records = AuditRecords(connection)
            rows = records.newest(which, before=before, limit=limit)
            return AuditPage(rows, records.head())

    def count(self, which: AuditFilter) -> int:
        """Return how many actions match."""
        with reading(self._engine) as connection:
            return AuditRecords(connection).count(which)

    def list_choices(self) -> AuditChoices:
        """Return what the log can be filtered by."""
        with reading(self._engine) as connection:
            records = AuditRecords(connection)
            return AuditChoices(records.list_actions(), records.list_actors())

    def write_sheet(self, which: AuditFilter, path: Path, sheet_format: SheetFormat) -> int:
        """Write the actions that match as a table for people, and return how many."""
        with reading(self._engine) as connection:
            return write_sheet(tabulate_actions(connection, which), path, sheet_format)

    def write_chain(self, path: Path) -> int:
        """Write the whole log as lines of JSON that prove themselves, and return how many."""
        with reading(self._engine) as connection:
            return write_chain(AuditRecords(connection).read_rows(), path)

    def verify(self, anchor: Head | None = None) -> Verification:
        """Walk the whole chain; an `anchor` noted earlier shows whether its end was cut off."""
        with reading(self._engine) as connection:
            return AuditRecords(connection).verify(anchor)
