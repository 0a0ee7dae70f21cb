"""Versions of rules as rows: appended, never changed. Each kind of rules has a table of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa

from features.database import reading


@dataclass(frozen=True)
class RuleVersion:
    """A version of the rules of one name; `values` are all of them, as a file would hold them.

    number          counts from 1 by name
    restored_from   the version whose values these are, 0 for the file; None for new values
    """

    name: str
    number: int
    values: Mapping[str, object]
    author: str
    comment: str
    created_at: datetime
    restored_from: int | None = None


@dataclass(frozen=True)
class RuleVersions:
    """The repository of the versions in one table, on one connection."""

    connection: sa.Connection = field(repr=False)
    table: sa.Table

    def add(self, version: RuleVersion) -> None:
        """Store a new version."""
        row = {**vars(version), "values": dict(version.values)}
        self.connection.execute(self.table.insert(), [row])

    def list_newest(self) -> dict[str, RuleVersion]:
        """Return the newest version of every name that has one."""
        newest = sa.select(self.table.c.name, sa.func.max(self.table.c.number))
        newest = newest.group_by(self.table.c.name)
        query = sa.select(self.table).where(
            sa.tuple_(self.table.c.name, self.table.c.number).in_(newest)
        )
        return {row.name: _read_version(row) for row in self.connection.execute(query)}

    def list_versions(self, name: str) -> list[RuleVersion]:
        """Return every version of a name, oldest first."""
        query = sa.select(self.table).where(self.table.c.name == name)
        query = query.order_by(self.table.c.number)
        return [_read_version(row) for row in self.connection.execute(query)]

    def read_numbers(self) -> dict[str, int]:
        """Return the number of the newest version of every name that has one."""
        columns = self.table.c
        query = sa.select(columns.name, sa.func.max(columns.number).label("number"))
        query = query.group_by(columns.name)
        return {row.name: row.number for row in self.connection.execute(query)}


def _read_version(row: sa.Row) -> RuleVersion:
    return RuleVersion(**row._mapping)


@dataclass(frozen=True)
class SavedVersions:
    """Reads the versions in one table for what serves slates."""

    engine: sa.Engine
    table: sa.Table

    def read_numbers(self) -> dict[str, int]:
        """Return the number of the newest version of every name that has one."""
        with reading(self.engine) as connection:
            return RuleVersions(connection, self.table).read_numbers()

    def read_versions(self, name: str) -> list[RuleVersion]:
        """Return every version of a name, newest first."""
        with reading(self.engine) as connection:
            versions = RuleVersions(connection, self.table).list_versions(name)
        return versions[::-1]
