"""API keys as rows: the SHA-256 of a key and its first letters, never the key itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from serving.database.tables import api_keys


@dataclass(frozen=True)
class KeyRecord:
    """One key, without its secret."""

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
        """Store a new key under the digest of its secret."""
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
        """Return the key with this digest, revoked or not."""
        row = self._connection.execute(
            sa.select(api_keys).where(api_keys.c.hash == digest)
        ).one_or_none()
        return None if row is None else _read_record(row)

    def all(self) -> list[KeyRecord]:
        """Return every key, oldest first."""
        rows = self._connection.execute(
            sa.select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id)
        )
        return [_read_record(row) for row in rows]

    def revoke(self, key_id: str, at: datetime) -> bool:
        """Revoke a key and return whether it exists; one revoked before keeps its time."""
        first_time = sa.func.coalesce(
            api_keys.c.revoked_at, sa.bindparam("at", at, api_keys.c.revoked_at.type)
        )
        result = self._connection.execute(
            api_keys.update().where(api_keys.c.id == key_id).values(revoked_at=first_time)
        )
        return result.rowcount == 1


def _read_record(row: sa.Row) -> KeyRecord:
    return KeyRecord(
        id=row.id,
        name=row.name,
        prefix=row.prefix,
        scopes=tuple(row.scopes.split()),
        created_at=row.created_at,
        revoked_at=row.revoked_at,
    )
