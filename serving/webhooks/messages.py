"""What receivers are told: which rows of the logs go out, and the JSON of a message."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

import sqlalchemy as sa

from features.prices.ledger import Ledger
from serving.database.audit_log import AuditLog
from serving.prices.documents import describe_change
from serving.webhooks.repository import (
    ACTIONS,
    PRICE_CHANGES,
    Deliveries,
    Delivery,
    NewDelivery,
    Webhook,
    Webhooks,
    list_actions,
)

# By event the subjects in the audit log that it is about; price changes come from the ledger.
EVENTS: dict[str, tuple[str, ...]] = {
    PRICE_CHANGES: (),
    "suggestions": ("price_suggestion", "pricing_run"),
    "promotions": ("promotion",),
    "stop_switch": ("price_desk",),
    "batch_warnings": ("price_batch",),
}
# Rows in one message, and rows that are read at once.
MESSAGE_ROWS = 100
_FETCH = 1_000


def is_behind(connection: sa.Connection, webhook: Webhook) -> bool:
    """Return whether the logs have rows that were not read for a receiver."""
    ledger_seq, audit_seq = Ledger(connection).read_last_seq(), AuditLog(connection).head().seq
    return webhook.ledger_seq < ledger_seq or webhook.audit_seq < audit_seq


def queue_news(connection: sa.Connection, webhook: Webhook, now: datetime) -> None:
    """Queue a delivery for what the logs hold beyond what was read for a receiver."""
    # The ends before the rows: what comes meanwhile is read the next time.
    ledger_seq, audit_seq = Ledger(connection).read_last_seq(), AuditLog(connection).head().seq
    rows: list[NewDelivery] = []
    if PRICE_CHANGES in webhook.events:
        price_seqs = _read_price_seqs(connection, webhook.ledger_seq, ledger_seq)
        rows += _make_deliveries(webhook, PRICE_CHANGES, price_seqs, now)
    if subjects := _list_subjects(webhook):
        action_seqs = _read_action_seqs(connection, subjects, webhook.audit_seq, audit_seq)
        rows += _make_deliveries(webhook, ACTIONS, action_seqs, now)
    Deliveries(connection).add(rows)
    Webhooks(connection).note_position(webhook.id, ledger_seq, audit_seq)


def make_body(connection: sa.Connection, webhook: Webhook, delivery: Delivery) -> bytes:
    """Return the message of a delivery: the same at every attempt."""
    items: list[dict[str, object]]
    after = delivery.first_seq - 1
    if delivery.kind == PRICE_CHANGES:
        prices = Ledger(connection).list_after(after, MESSAGE_ROWS)
        items = [
            describe_change(price).model_dump(mode="json")
            for price in prices
            if price.seq <= delivery.last_seq
        ]
    else:
        actions = list_actions(connection, _list_subjects(webhook), after=after, limit=MESSAGE_ROWS)
        items = [
            {**asdict(action), "at": _write_time(action.at)}
            for action in actions
            if action.seq <= delivery.last_seq
        ]
    message = {
        "type": delivery.kind,
        "timestamp": _write_time(delivery.created_at),
        "data": {"items": items},
    }
    return json.dumps(message, ensure_ascii=False).encode()


def _write_time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _list_subjects(webhook: Webhook) -> list[str]:
    return [subject for event in webhook.events for subject in EVENTS[event]]


def _read_price_seqs(connection: sa.Connection, after: int, last: int) -> Iterator[int]:
    while page := Ledger(connection).list_after(after, _FETCH):
        yield from (price.seq for price in page if price.seq <= last)
        after = page[-1].seq


def _read_action_seqs(
    connection: sa.Connection, subjects: Sequence[str], after: int, last: int
) -> Iterator[int]:
    while page := list_actions(connection, subjects, after=after, limit=_FETCH):
        yield from (action.seq for action in page if action.seq <= last)
        after = page[-1].seq


def _make_deliveries(
    webhook: Webhook, kind: str, seqs: Iterator[int], now: datetime
) -> Iterator[NewDelivery]:
    """Yield deliveries of at most MESSAGE_ROWS rows each."""
    numbers = list(seqs)
    for start in range(0, len(numbers), MESSAGE_ROWS):
        chunk = numbers[start : start + MESSAGE_ROWS]
        yield NewDelivery(
            id=f"msg_{secrets.token_hex(12)}",
            webhook_id=webhook.id,
            kind=kind,
            first_seq=chunk[0],
            last_seq=chunk[-1],
            created_at=now,
        )
