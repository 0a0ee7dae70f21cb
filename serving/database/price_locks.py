"""Prices that the desk may not change for a while: an item in one zone, or in every zone."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from features.contracts.errors import Conflict
from serving.database.desk_tables import price_locks

EVERY_ZONE = ""
# Why a run keeps a locked price.
LOCKED = "its price is locked"


@dataclass(frozen=True, kw_only=True)
class PriceLock:
    """A lock from `begins_at` until `ends_at`, in business time; `zone` is "" for every zone."""

    seq: int
    id: str
    item_id: str
    zone: str
    reason: str
    locked_by: str
    begins_at: datetime
    ends_at: datetime
    unlocked_by: str | None = None

    def describe(self) -> str:
        """Return the lock in words."""
        return f"its price is locked until {self.ends_at:%Y-%m-%d %H:%M} UTC: {self.reason}"


@dataclass(frozen=True)
class ActiveLocks:
    """The locks at one instant, by item and zone."""

    locks: Mapping[tuple[str, str], PriceLock]

    def find(self, item_id: str, zone: str) -> PriceLock | None:
        """Return the lock of an item in a zone."""
        return self.locks.get((item_id, zone)) or self.locks.get((item_id, EVERY_ZONE))

    def find_objection(self, item_id: str, zone: str) -> Conflict | None:
        """Return why no other price may begin; None where one may."""
        why = self.explain(item_id, zone)
        if why is None:
            return None
        return Conflict(why, hint="Wait, or: shopwright prices unlock ITEM")

    def explain(self, item_id: str, zone: str) -> str | None:
        """Return in words why no other price may begin; None where one may."""
        lock = self.find(item_id, zone)
        return None if lock is None else lock.describe()


class PriceLocks:
    """The repository of locks, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(
        self,
        item_id: str,
        zone: str,
        reason: str,
        locked_by: str,
        begins_at: datetime,
        ends_at: datetime,
    ) -> PriceLock:
        """Store a lock and return it."""
        lock_id = f"lock_{secrets.token_hex(8)}"
        values = {
            "id": lock_id,
            "item_id": item_id,
            "zone": zone,
            "reason": reason,
            "locked_by": locked_by,
            "begins_at": begins_at,
            "ends_at": ends_at,
        }
        self._connection.execute(price_locks.insert(), values)
        (lock,) = self._read(price_locks.c.id == lock_id)
        return lock

    def get(self, lock_id: str) -> PriceLock | None:
        """Return the lock with this id."""
        locks = self._read(price_locks.c.id == lock_id)
        return locks[0] if locks else None

    def end(self, lock: PriceLock, at: datetime, unlocked_by: str) -> None:
        """Let a lock end at `at`, or at its beginning where that is later."""
        self._connection.execute(
            price_locks.update()
            .where(price_locks.c.id == lock.id)
            .values(ends_at=max(at, lock.begins_at), unlocked_by=unlocked_by)
        )

    def at(self, instant: datetime) -> ActiveLocks:
        """Return the locks at an instant; of several of an item the one that ends last."""
        table = price_locks.c
        return _index(self._read(table.begins_at <= instant, table.ends_at > instant))

    def page(self, *, active_at: datetime | None, after: int, limit: int | None) -> list[PriceLock]:
        """Return locks after number `after`, oldest first; with `active_at` those that have not
        ended then."""
        conditions = [price_locks.c.seq > after]
        if active_at is not None:
            conditions.append(price_locks.c.ends_at > active_at)
        return self._read(*conditions, limit=limit)

    def _read(
        self, *conditions: sa.ColumnElement[bool], limit: int | None = None
    ) -> list[PriceLock]:
        query = sa.select(price_locks).where(*conditions).order_by(price_locks.c.seq).limit(limit)
        return [PriceLock(**row) for row in self._connection.execute(query).mappings()]


def _index(locks: list[PriceLock]) -> ActiveLocks:
    in_order = sorted(locks, key=lambda lock: lock.ends_at)
    return ActiveLocks({(lock.item_id, lock.zone): lock for lock in in_order})
