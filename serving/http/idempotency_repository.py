"""Responses kept under the caller's Idempotency-Key, so that a repeated request is answered without
doing its work again."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import sqlalchemy as sa

from features.database import lock
from serving.database.tables import idempotency_keys

# Two days: a client may retry for one, whatever its clock says.
RETENTION = timedelta(hours=48)
BEGUN = 102


@dataclass(frozen=True)
class StoredResponse:
    """The first response, and the fingerprint of the request that it answers; BEGUN while there is
    none yet."""

    fingerprint: str
    status: int
    body: str
    created_at: datetime | None = field(default=None, compare=False)


class StoredResponses:
    """The repository of responses, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def find(self, key_id: str, idempotency_key: str, now: datetime) -> StoredResponse | None:
        """Return the response given under this key, None where there is none.

        Waits for a transaction that is answering under the same key, and deletes what is older than
        RETENTION.
        """
        lock(self._connection, f"idempotency {key_id} {idempotency_key}")
        columns = idempotency_keys.c
        expired = columns.created_at < now - RETENTION
        self._connection.execute(idempotency_keys.delete().where(expired))
        row = self._connection.execute(
            sa.select(idempotency_keys).where(
                columns.key_id == key_id, columns.idempotency_key == idempotency_key
            )
        ).one_or_none()
        if row is None:
            return None
        return StoredResponse(row.fingerprint, row.status, row.body, row.created_at)

    def add(
        self, key_id: str, idempotency_key: str, response: StoredResponse, at: datetime
    ) -> None:
        """Store the first response, in the transaction of the work that it answers."""
        self._connection.execute(
            idempotency_keys.insert().values(
                key_id=key_id,
                idempotency_key=idempotency_key,
                fingerprint=response.fingerprint,
                status=response.status,
                body=response.body,
                created_at=at,
            )
        )

    def remove(self, key_id: str, idempotency_key: str) -> None:
        """Remove the response under this key."""
        columns = idempotency_keys.c
        mine = (columns.key_id == key_id, columns.idempotency_key == idempotency_key)
        self._connection.execute(idempotency_keys.delete().where(*mine))
