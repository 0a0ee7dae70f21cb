"""Versions of pricing rules as rows: appended, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa

from serving.database.desk_tables import pricing_rule_versions


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
    """The repository of versions, on one connection."""

    connection: sa.Connection = field(repr=False)

    def add(self, version: RuleVersion) -> None:
        """Store a new version."""
        row = {**vars(version), "values": dict(version.values)}
        self.connection.execute(pricing_rule_versions.insert(), [row])

    def list_newest(self) -> dict[str, RuleVersion]:
        """Return the newest version of every name that has one."""
        table = pricing_rule_versions.c
        newest = sa.select(table.name, sa.func.max(table.number)).group_by(table.name)
        query = sa.select(pricing_rule_versions).where(
            sa.tuple_(table.name, table.number).in_(newest)
        )
        return {row.name: _read_version(row) for row in self.connection.execute(query)}

    def list_versions(self, name: str) -> list[RuleVersion]:
        """Return every version of a name, oldest first."""
        table = pricing_rule_versions.c
        query = sa.select(pricing_rule_versions).where(table.name == name).order_by(table.number)
        return [_read_version(row) for row in self.connection.execute(query)]


def _read_version(row: sa.Row) -> RuleVersion:
    return RuleVersion(**row._mapping)
