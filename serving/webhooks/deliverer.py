"""Sends what waits for the receivers, on threads behind the server.

Every replica runs one. A lease in the database lets one of them at a time send to a receiver, and
the oldest waiting delivery is the only one that is tried, so that the order is kept.
"""

from __future__ import annotations

import random
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta

import sqlalchemy as sa

from features.contracts.clock import Clock
from features.database import lock, reading, transaction
from serving.conditions import Conditions
from serving.webhooks.messages import is_behind, make_body, queue_news
from serving.webhooks.repository import Deliveries, Delivery, Webhook, Webhooks
from serving.webhooks.sender import Answer, Sender
from serving.webhooks.signing import make_headers

POLL_SECONDS = 1.0
# Longer than an attempt can take. Who held it and died is replaced after this time.
LEASE = timedelta(seconds=60)
# A receiver that is down may stay away over a long weekend; then the delivery is dead.
GIVE_UP = timedelta(days=4)
# A message that a working receiver refuses holds up those behind it no longer than this.
MAX_REFUSALS = 5
_FIRST_DELAY, _LONGEST_DELAY = timedelta(seconds=1), timedelta(minutes=10)
# Delivered ones are kept so long, to be looked at and replayed.
_KEPT = timedelta(days=30)
_THREADS = 4


def compute_delay(attempts: int, jitter: float) -> timedelta:
    """Return how long to wait after so many failed attempts.

    It doubles from one second up to ten minutes; `jitter` (0 to 1) takes away up to half of it, so
    that the replicas of a shop do not come back together.
    """
    doubled = _FIRST_DELAY * 2 ** min(attempts - 1, 20)
    delay: timedelta = min(doubled, _LONGEST_DELAY) * (1 - jitter / 2)
    return delay


@dataclass
class Deliverer:
    """The deliveries of one server process."""

    engine: sa.Engine
    system_clock: Clock
    sender: Sender
    conditions: Conditions
    generator: random.Random = field(default_factory=random.SystemRandom)

    def __post_init__(self) -> None:
        self._owner = secrets.token_hex(8)
        self._stopping = threading.Event()
        self._busy: set[str] = set()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="webhooks")
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    def start(self) -> None:
        """Start the threads."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the attempts begun, and begin no further one."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._pool.shutdown()

    def queue_news(self) -> None:
        """Queue what the logs hold that was not queued before."""
        with reading(self.engine) as connection:
            behind = any(is_behind(connection, row) for row in Webhooks(connection).all())
        if not behind:
            return
        with transaction(self.engine) as connection:
            lock(connection, "webhooks")
            now = self.system_clock.now()
            for webhook in Webhooks(connection).all():
                queue_news(connection, webhook, now)
            Deliveries(connection).forget_delivered(now - _KEPT)

    def deliver(self, webhook_id: str) -> int:
        """Send what waits for a receiver until an attempt fails, and return how many arrived.

        Sends nothing while another process does.
        """
        count = 0
        if not self._lease(webhook_id):
            return count
        try:
            while not self._stopping.is_set() and self._deliver_next(webhook_id):
                count += 1
        finally:
            with transaction(self.engine) as connection:
                Webhooks(connection).release(webhook_id, self._owner)
        return count

    def _run(self) -> None:
        while not self._stopping.wait(POLL_SECONDS):
            try:
                self.queue_news()
                with reading(self.engine) as connection:
                    due = Deliveries(connection).list_due(self.system_clock.now())
            except Exception as error:  # the next round may succeed
                self.conditions.report("webhooks", str(error))
                continue
            self.conditions.clear("webhooks")
            for webhook_id in due:
                if webhook_id not in self._busy:
                    self._busy.add(webhook_id)
                    self._pool.submit(self._deliver_quietly, webhook_id)

    def _deliver_quietly(self, webhook_id: str) -> None:
        try:
            self.deliver(webhook_id)
        except Exception as error:  # the next round may succeed
            self.conditions.report(f"webhook {webhook_id}", str(error))
        finally:
            self._busy.discard(webhook_id)

    def _lease(self, webhook_id: str) -> bool:
        with transaction(self.engine) as connection:
            now = self.system_clock.now()
            return Webhooks(connection).lease(webhook_id, self._owner, now, now + LEASE)

    def _deliver_next(self, webhook_id: str) -> bool:
        """Try the oldest waiting delivery, and return whether it arrived."""
        with reading(self.engine) as connection:
            webhook = Webhooks(connection).get(webhook_id)
            now = self.system_clock.now()
            delivery = Deliveries(connection).find_next(webhook_id, now)
            if webhook is None or delivery is None:
                return False
            body = make_body(connection, webhook, delivery)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Shopwright",
            **make_headers(webhook.list_secrets(now), delivery.id, now, body),
        }
        answer = self.sender.send(webhook.url, headers, body)
        return self._record(webhook, delivery, answer) and answer.is_delivered

    def _record(self, webhook: Webhook, delivery: Delivery, answer: Answer) -> bool:
        """Store what became of an attempt, and return whether this process may go on sending."""
        now = self.system_clock.now()
        attempts = delivery.attempts + 1
        first_at = delivery.first_attempt_at or now
        part = f"webhook {webhook.id}"
        values: dict[str, object] = {
            "attempts": attempts,
            "first_attempt_at": first_at,
            "answer_status": answer.status,
            "error": answer.error,
        }
        if answer.is_delivered:
            values |= {"status": "delivered", "delivered_at": now}
            self.conditions.clear(part)
        else:
            refused = answer.is_refused and attempts >= MAX_REFUSALS
            if refused or now - first_at >= GIVE_UP:
                values["status"] = "dead"
            values["next_attempt_at"] = now + compute_delay(attempts, self.generator.random())
            self.conditions.report(part, answer.error or "")
        with transaction(self.engine) as connection:
            if not Webhooks(connection).lease(webhook.id, self._owner, now, now + LEASE):
                return False
            Deliveries(connection).change(delivery.seq, **values)
        return True
