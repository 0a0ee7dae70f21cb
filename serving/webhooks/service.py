"""Adds, lists and removes the receivers of webhooks, and replays deliveries."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.clock import Clock
from features.contracts.errors import BadInput, NotFound, UnknownName
from features.database import lock, reading
from features.prices.ledger import Ledger
from serving.database.audit_log import AuditEntry, AuditLog
from serving.webhooks.messages import EVENTS
from serving.webhooks.repository import (
    DELIVERY_STATUSES,
    Deliveries,
    Delivery,
    Webhook,
    Webhooks,
)
from serving.webhooks.signing import make_secret
from serving.webhooks.targets import Targets

_SUBJECT = "webhook"
# How long a replaced secret signs too, where nobody says otherwise, and at most.
USUAL_OVERLAP = timedelta(hours=24)
LONGEST_OVERLAP = timedelta(days=30)


@dataclass(frozen=True)
class WebhookState:
    """A receiver, how many deliveries wait and are dead, and the delivery that is tried now."""

    webhook: Webhook
    n_waiting: int
    n_dead: int
    current: Delivery | None


@dataclass(frozen=True)
class WebhookService:
    """The webhooks of one shop. What writes works on the connection of one transaction."""

    settings: Settings
    engine: sa.Engine
    system_clock: Clock

    def add(
        self, connection: sa.Connection, url: str, events: Sequence[str], *, actor: str
    ) -> Webhook:
        """Store a receiver of what happens from now on.

        Raises BadInput for an address that the settings do not allow, and UnknownName for an
        unknown event.
        """
        Targets.from_settings(self.settings).check_url(url)
        for event in events:
            if event not in EVENTS:
                raise UnknownName(event, EVENTS, kind="event", where="events")
        if not events:
            raise BadInput("a webhook needs an event", hint=f"One or more of {', '.join(EVENTS)}")
        lock(connection, "webhooks")
        webhook = Webhook(
            id=f"hook_{secrets.token_hex(6)}",
            url=url,
            events=tuple(event for event in EVENTS if event in events),
            secret=make_secret(),
            created_at=self.system_clock.now(),
            created_by=actor,
            ledger_seq=Ledger(connection).read_last_seq(),
            audit_seq=AuditLog(connection).head().seq,
        )
        Webhooks(connection).add(webhook)
        details = {"url": url, "events": list(webhook.events)}
        self._log(connection, AuditEntry(actor, "create", _SUBJECT, webhook.id, details))
        return webhook

    def remove(self, connection: sa.Connection, webhook_id: str, *, actor: str) -> Webhook:
        """Remove a receiver with all that waits for it, and return it. Raises NotFound."""
        lock(connection, "webhooks")
        webhook = _require(Webhooks(connection).get(webhook_id), webhook_id)
        Webhooks(connection).remove(webhook_id)
        details = {"url": webhook.url}
        self._log(connection, AuditEntry(actor, "remove", _SUBJECT, webhook_id, details))
        return webhook

    def rotate(
        self, connection: sa.Connection, webhook_id: str, overlap: timedelta, *, actor: str
    ) -> Webhook:
        """Give a receiver a new secret and return it; the old one signs too for so long.

        A secret that was replaced before and still signs stops now. Raises NotFound, and BadInput
        for a time below 0 or above LONGEST_OVERLAP.
        """
        if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
            raise BadInput(
                "the old secret signs for 0 hours to 30 days",
                where="overlap",
                hint="0 ends it at once, for a secret that others know",
            )
        lock(connection, "webhooks")
        repository = Webhooks(connection)
        webhook = _require(repository.get(webhook_id), webhook_id)
        until = self.system_clock.now() + overlap
        repository.change_secret(webhook, make_secret(), until)
        details = {"previous_until": until.isoformat()}
        self._log(connection, AuditEntry(actor, "rotate_secret", _SUBJECT, webhook_id, details))
        return _require(repository.get(webhook_id), webhook_id)

    def replay(
        self,
        connection: sa.Connection,
        webhook_id: str,
        delivery_ids: Sequence[str] | None,
        *,
        actor: str,
    ) -> int:
        """Send deliveries again, by default all dead ones, in their old order; return how many.

        Raises NotFound for an unknown receiver.
        """
        _require(Webhooks(connection).get(webhook_id), webhook_id)
        now = self.system_clock.now()
        count = Deliveries(connection).replay(webhook_id, delivery_ids, now)
        if count:
            details = {"deliveries": count}
            self._log(connection, AuditEntry(actor, "replay", _SUBJECT, webhook_id, details))
        return count

    def list_webhooks(self) -> list[WebhookState]:
        """Return every receiver and its state, oldest first."""
        with reading(self.engine) as connection:
            deliveries = Deliveries(connection)
            counts = deliveries.count()
            states = []
            for webhook in Webhooks(connection).all():
                head = deliveries.page(webhook.id, "waiting", after=0, limit=1)
                states.append(
                    WebhookState(
                        webhook=webhook,
                        n_waiting=counts.get((webhook.id, "waiting"), 0),
                        n_dead=counts.get((webhook.id, "dead"), 0),
                        current=head[0] if head else None,
                    )
                )
            return states

    def list_deliveries(
        self, webhook_id: str, status: str | None, *, after: int, limit: int
    ) -> list[Delivery]:
        """Return deliveries after number `after`, in the order of sending.

        Raises NotFound, and UnknownName for a status that does not exist.
        """
        if status is not None and status not in DELIVERY_STATUSES:
            raise UnknownName(status, DELIVERY_STATUSES, kind="status", where="status")
        with reading(self.engine) as connection:
            _require(Webhooks(connection).get(webhook_id), webhook_id)
            return Deliveries(connection).page(webhook_id, status, after=after, limit=limit)

    def _log(self, connection: sa.Connection, entry: AuditEntry) -> None:
        AuditLog(connection).append([entry], self.system_clock.now())


def _require(webhook: Webhook | None, webhook_id: str) -> Webhook:
    if webhook is None:
        raise NotFound(f"no webhook {webhook_id!r}", hint="See: shopwright webhooks list")
    return webhook
