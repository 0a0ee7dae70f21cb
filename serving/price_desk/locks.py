"""Locks of prices: nobody and no run changes the price of an item until its lock ends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from features.contracts.errors import BadInput, Conflict, NotFound
from features.database import lock as lock_table
from features.database import reading
from features.prices.currencies import refuse_unknown_zone
from features.prices.ledger import Ledger
from serving.access import Caller, find_objection
from serving.database.audit_log import AuditEntry, AuditLog, Decider
from serving.database.price_locks import EVERY_ZONE, PriceLock, PriceLocks
from serving.price_desk.service import PriceDeskService

SCOPE = "pricing.approve"


@dataclass(frozen=True)
class LockOrder:
    """A lock to set; `zone` None is every zone, `ends_at` business time."""

    item_id: str
    reason: str
    ends_at: datetime
    zone: str | None = None


@dataclass(frozen=True)
class PriceLockService:
    """Sets, ends and lists locks."""

    desk: PriceDeskService

    def set(self, connection: sa.Connection, caller: Caller, order: LockOrder) -> PriceLock:
        """Lock the price of an item.

        Raises Forbidden outside the caller's areas, NotFound for an item without a price, BadInput
        for an end that is over or without a reason, UnknownName for a zone that nobody knows.
        """
        decider = self.desk.decider(caller, SCOPE, order.reason)
        if order.ends_at <= decider.now:
            raise BadInput(
                f"{order.ends_at.isoformat()} is over",
                where="ends_at",
                hint=f"The business time is {decider.now.isoformat(timespec='seconds')}",
            )
        if not order.reason.strip():
            raise BadInput("a lock needs a reason", where="reason")
        if order.zone is not None:
            refuse_unknown_zone(self.desk.settings, connection, order.zone)
        self._require_price(connection, order)
        self._require_area(decider, order.item_id, order.zone or EVERY_ZONE)
        lock_table(connection, "price_desk")
        lock = PriceLocks(connection).add(
            order.item_id,
            order.zone or EVERY_ZONE,
            order.reason,
            decider.actor,
            decider.now,
            order.ends_at,
        )
        _log(connection, decider, "lock", lock)
        return lock

    def end(
        self, connection: sa.Connection, caller: Caller, lock_id: str, reason: str | None = None
    ) -> PriceLock:
        """Let a lock end now. Raises NotFound, Forbidden, and Conflict where it is over."""
        decider = self.desk.decider(caller, SCOPE, reason)
        lock_table(connection, "price_desk")
        locks = PriceLocks(connection)
        lock = locks.get(lock_id)
        if lock is None:
            raise NotFound(f"no price lock {lock_id!r}", hint="See: GET /v1/price-locks")
        if lock.ends_at <= decider.now:
            raise Conflict("this lock has ended")
        self._require_area(decider, lock.item_id, lock.zone)
        locks.end(lock, decider.now, decider.actor)
        _log(connection, decider, "unlock", lock)
        ended = locks.get(lock_id)
        assert ended is not None  # noqa: S101
        return ended

    def list_locks(
        self, *, with_ended: bool = False, after: int = 0, limit: int
    ) -> list[PriceLock]:
        """Return locks after number `after`, oldest first; those that have ended too if asked."""
        active_at = None if with_ended else self.desk.clock.now()
        with reading(self.desk.engine) as connection:
            return PriceLocks(connection).page(active_at=active_at, after=after, limit=limit)

    def find_active(self, item_id: str, zone: str | None) -> list[PriceLock]:
        """Return the locks of an item that have not ended: of a zone, or those of every zone."""
        with reading(self.desk.engine) as connection:
            locks = PriceLocks(connection).page(
                active_at=self.desk.clock.now(), after=0, limit=None
            )
        wanted = zone or EVERY_ZONE
        return [lock for lock in locks if (lock.item_id, lock.zone) == (item_id, wanted)]

    def _require_price(self, connection: sa.Connection, order: LockOrder) -> None:
        ledger = Ledger(connection)
        zones = ledger.list_zones() if order.zone is None else [order.zone]
        if not any(ledger.read_histories([order.item_id], zone) for zone in zones):
            raise NotFound(f"item {order.item_id!r} has no price", hint="Look at the id")

    def _require_area(self, decider: Decider, item_id: str, zone: str) -> None:
        """Raise Forbidden where the decider's areas do not cover the item."""
        from features.facts.facts import Facts

        items = Facts(self.desk.settings).read("items")
        rows = items.filter(items.item_id == item_id).select("category").to_pyarrow().to_pylist()
        category = rows[0]["category"] if rows else None
        if objection := find_objection(decider.areas, category or "", zone):
            raise objection


def _log(connection: sa.Connection, decider: Decider, action: str, lock: PriceLock) -> None:
    details = {
        "item_id": lock.item_id,
        "zone": lock.zone or "every zone",
        "reason": decider.reason,
        "ends_at": lock.ends_at.isoformat(),
    }
    entry = AuditEntry(decider.actor, action, "price_lock", lock.id, details)
    AuditLog(connection).append([entry], decider.at)
