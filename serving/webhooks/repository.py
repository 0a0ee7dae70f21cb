"""Webhooks and their deliveries as rows.

A delivery names rows of the ledger or of the audit log by their numbers. Both logs only grow, so a
repeated delivery carries the same items.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from serving.database.tables import audit_log, webhook_deliveries, webhooks

PRICE_CHANGES, ACTIONS = "price_changes", "actions"
DELIVERY_STATUSES = ("waiting", "delivered", "dead")


@dataclass(frozen=True)
class Webhook:
    """A receiver, what it is told, and how far the logs were read for it.

    previous_secret   signs beside `secret` until `previous_until`
    """

    id: str
    url: str
    events: tuple[str, ...]
    secret: str
    created_at: datetime
    created_by: str
    ledger_seq: int
    audit_seq: int
    previous_secret: str | None = None
    previous_until: datetime | None = None

    def list_secrets(self, now: datetime) -> tuple[str, ...]:
        """Return the secrets that sign now, the newest first."""
        if self.previous_secret is None or self.previous_until is None:
            return (self.secret,)
        return (self.secret, self.previous_secret)[: 2 if now < self.previous_until else 1]


@dataclass(frozen=True)
class NewDelivery:
    """Rows of a log for a receiver, the first and the last by number; `kind` names the log."""

    id: str
    webhook_id: str
    kind: str
    first_seq: int
    last_seq: int
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Delivery(NewDelivery):
    """A delivery and what became of it so far. `seq` is the order of sending."""

    seq: int
    status: str
    attempts: int
    first_attempt_at: datetime | None
    next_attempt_at: datetime
    delivered_at: datetime | None
    answer_status: int | None
    error: str | None


@dataclass(frozen=True)
class Action:
    """A row of the audit log."""

    seq: int
    at: datetime
    actor: str
    action: str
    subject_type: str
    subject_id: str
    details: Mapping[str, object]


class Webhooks:
    """The repository of receivers, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, webhook: Webhook) -> None:
        """Store a new receiver."""
        values = {**vars(webhook), "events": " ".join(webhook.events)}
        self._connection.execute(webhooks.insert().values(**values))

    def all(self) -> list[Webhook]:
        """Return every receiver, oldest first."""
        query = sa.select(webhooks).order_by(webhooks.c.created_at, webhooks.c.id)
        return [_read_webhook(row) for row in self._connection.execute(query)]

    def get(self, webhook_id: str) -> Webhook | None:
        """Return a receiver, None for an unknown id."""
        query = sa.select(webhooks).where(webhooks.c.id == webhook_id)
        row = self._connection.execute(query).one_or_none()
        return None if row is None else _read_webhook(row)

    def remove(self, webhook_id: str) -> None:
        """Remove a receiver and its deliveries."""
        self._connection.execute(
            webhook_deliveries.delete().where(webhook_deliveries.c.webhook_id == webhook_id)
        )
        self._connection.execute(webhooks.delete().where(webhooks.c.id == webhook_id))

    def note_position(self, webhook_id: str, ledger_seq: int, audit_seq: int) -> None:
        """Note how far the logs were read for a receiver."""
        statement = webhooks.update().where(webhooks.c.id == webhook_id)
        self._connection.execute(statement.values(ledger_seq=ledger_seq, audit_seq=audit_seq))

    def change_secret(self, webhook: Webhook, secret: str, previous_until: datetime) -> None:
        """Give a receiver another secret; the one that it has signs too until a time."""
        statement = webhooks.update().where(webhooks.c.id == webhook.id)
        self._connection.execute(
            statement.values(
                secret=secret, previous_secret=webhook.secret, previous_until=previous_until
            )
        )

    def lease(self, webhook_id: str, owner: str, now: datetime, until: datetime) -> bool:
        """Let one process send to a receiver until a time, and return whether it may."""
        table = webhooks.c
        is_free = sa.or_(
            table.leased_by == owner, table.leased_until.is_(None), table.leased_until < now
        )
        result = self._connection.execute(
            webhooks.update()
            .where(table.id == webhook_id, is_free)
            .values(leased_by=owner, leased_until=until)
        )
        return result.rowcount == 1

    def release(self, webhook_id: str, owner: str) -> None:
        """Let others send to a receiver."""
        self._connection.execute(
            webhooks.update()
            .where(webhooks.c.id == webhook_id, webhooks.c.leased_by == owner)
            .values(leased_by=None, leased_until=None)
        )


class Deliveries:
    """The repository of deliveries, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, rows: Sequence[NewDelivery]) -> None:
        """Store deliveries to be sent in the given order, at once."""
        if rows:
            values = [
                {
                    **vars(row),
                    "status": "waiting",
                    "attempts": 0,
                    "next_attempt_at": row.created_at,
                }
                for row in rows
            ]
            self._connection.execute(webhook_deliveries.insert(), values)

    def list_due(self, now: datetime) -> list[str]:
        """Return the receivers whose oldest waiting delivery may be tried now."""
        table = webhook_deliveries.c
        heads = (
            sa.select(sa.func.min(table.seq))
            .where(table.status == "waiting")
            .group_by(table.webhook_id)
        )
        query = sa.select(table.webhook_id).where(
            table.seq.in_(heads), table.next_attempt_at <= now
        )
        return list(self._connection.execute(query.order_by(table.seq)).scalars())

    def find_next(self, webhook_id: str, now: datetime) -> Delivery | None:
        """Return the oldest waiting delivery of a receiver; None where it may not be tried yet."""
        table = webhook_deliveries.c
        query = (
            sa.select(webhook_deliveries)
            .where(table.webhook_id == webhook_id, table.status == "waiting")
            .order_by(table.seq)
            .limit(1)
        )
        row = self._connection.execute(query).one_or_none()
        return None if row is None or row.next_attempt_at > now else _read_delivery(row)

    def change(self, seq: int, **values: object) -> None:
        """Set columns of a delivery."""
        statement = webhook_deliveries.update().where(webhook_deliveries.c.seq == seq)
        self._connection.execute(statement.values(**values))

    def page(
        self, webhook_id: str, status: str | None, *, after: int, limit: int
    ) -> list[Delivery]:
        """Return deliveries after number `after`, in order."""
        table = webhook_deliveries.c
        query = sa.select(webhook_deliveries).where(
            table.webhook_id == webhook_id, table.seq > after
        )
        if status is not None:
            query = query.where(table.status == status)
        rows = self._connection.execute(query.order_by(table.seq).limit(limit))
        return [_read_delivery(row) for row in rows]

    def count(self) -> dict[tuple[str, str], int]:
        """Return how many deliveries there are, by receiver and status."""
        table = webhook_deliveries.c
        query = sa.select(table.webhook_id, table.status, sa.func.count()).group_by(
            table.webhook_id, table.status
        )
        return {(row[0], row[1]): row[2] for row in self._connection.execute(query)}

    def replay(self, webhook_id: str, ids: Sequence[str] | None, now: datetime) -> int:
        """Let deliveries of these ids wait again, by default all dead ones; return how many."""
        table = webhook_deliveries.c
        chosen = table.status == "dead" if ids is None else table.id.in_(ids)
        statement = webhook_deliveries.update().where(
            table.webhook_id == webhook_id, table.status != "waiting", chosen
        )
        result = self._connection.execute(
            statement.values(
                status="waiting",
                attempts=0,
                first_attempt_at=None,
                next_attempt_at=now,
                delivered_at=None,
            )
        )
        return int(result.rowcount)

    def forget_delivered(self, before: datetime) -> None:
        """Remove the deliveries that arrived before a time."""
        table = webhook_deliveries.c
        self._connection.execute(
            webhook_deliveries.delete().where(
                table.status == "delivered", table.delivered_at < before
            )
        )


def list_actions(
    connection: sa.Connection, subject_types: Sequence[str], *, after: int, limit: int
) -> list[Action]:
    """Return rows of the audit log about subjects of these types, in order."""
    query = (
        sa.select(audit_log)
        .where(audit_log.c.seq > after, audit_log.c.subject_type.in_(subject_types))
        .order_by(audit_log.c.seq)
        .limit(limit)
    )
    return [
        Action(
            seq=row.seq,
            at=row.at,
            actor=row.actor,
            action=row.action,
            subject_type=row.subject_type,
            subject_id=row.subject_id,
            details=json.loads(row.details),
        )
        for row in connection.execute(query)
    ]


def _read_webhook(row: sa.Row) -> Webhook:
    return Webhook(
        id=row.id,
        url=row.url,
        events=tuple(row.events.split()),
        secret=row.secret,
        created_at=row.created_at,
        created_by=row.created_by,
        ledger_seq=row.ledger_seq,
        audit_seq=row.audit_seq,
        previous_secret=row.previous_secret,
        previous_until=row.previous_until,
    )


def _read_delivery(row: sa.Row) -> Delivery:
    return Delivery(**row._mapping)
