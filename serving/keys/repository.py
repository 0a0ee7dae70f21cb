"""API keys as rows. A key itself is never stored, only its SHA-256 and the first letters, to tell
keys apart."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from serving.database.tables import api_keys


@dataclass(frozen=True)
class KeyRecord:
    """What is known about a key."""

    id: str
    name: str
    prefix: str
    scopes: tuple[str, ...]
    created_at: datetime
    revoked_at: datetime | None


class Keys:
    """The repository of keys, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, record: KeyRecord, digest: str) -> None:
        """Stores a new key under the digest of its secret."""
        self._connection.execute(
            api_keys.insert().values(
                id=record.id,
                name=record.name,
                prefix=record.prefix,
                hash=digest,
                scopes=" ".join(record.scopes),
                created_at=record.created_at,
                revoked_at=record.revoked_at,
            )
        )

    def by_digest(self, digest: str) -> KeyRecord | None:
        """The key with this digest, revoked or not."""
        row = self._connection.execute(
            sa.select(api_keys).where(api_keys.c.hash == digest)
        ).one_or_none()
        return None if row is None else _record(row)

    def all(self) -> list[KeyRecord]:
        """Every key, oldest first."""
        rows = self._connection.execute(
            sa.select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id)
        )
        return [_record(row) for row in rows]

    def revoke(self, key_id: str, at: datetime) -> bool:
        """Whether there is such a key; one revoked before keeps its time."""
        at_first = sa.func.coalesce(
            api_keys.c.revoked_at, sa.bindparam("at", at, api_keys.c.revoked_at.type)
        )
        done = self._connection.execute(
            api_keys.update().where(api_keys.c.id == key_id).values(revoked_at=at_first)
        )
        return done.rowcount == 1


def _record(row: sa.Row) -> KeyRecord:
    return KeyRecord(
        row.id, row.name, row.prefix, tuple(row.scopes.split()), row.created_at, row.revoked_at
    )
