"""Answers kept under the caller's Idempotency-Key, so that a repeated request is answered and not
done again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from features.database import lock
from serving.database.tables import idempotency_keys

# Kept for two days: a client may retry for one, whatever its clock says.
KEPT = timedelta(hours=48)


@dataclass(frozen=True)
class StoredAnswer:
    """What was answered the first time, and to what."""

    fingerprint: str
    status: int
    body: str


class IdempotentAnswers:
    """The repository of answers, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def find(self, key_id: str, idempotency_key: str, now: datetime) -> StoredAnswer | None:
        """The answer given under this key; waits for a transaction that is just answering under
        it."""
        lock(self._connection, f"idempotency {key_id} {idempotency_key}")
        table = idempotency_keys.c
        self._connection.execute(idempotency_keys.delete().where(table.created_at < now - KEPT))
        row = self._connection.execute(
            sa.select(idempotency_keys).where(
                table.key_id == key_id, table.idempotency_key == idempotency_key
            )
        ).one_or_none()
        return None if row is None else StoredAnswer(row.fingerprint, row.status, row.body)

    def keep(self, key_id: str, idempotency_key: str, answer: StoredAnswer, now: datetime) -> None:
        """Keeps the first answer, in the transaction of what was done."""
        self._connection.execute(
            idempotency_keys.insert().values(
                key_id=key_id,
                idempotency_key=idempotency_key,
                fingerprint=answer.fingerprint,
                status=answer.status,
                body=answer.body,
                created_at=now,
            )
        )
