"""Makes, lists, revokes and recognises API keys."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from features.contracts.clock import Clock
from features.contracts.errors import BadInput, NotFound, UnknownName
from features.database import reading, transaction
from serving.audit.repository import OPERATOR, AuditEntry, AuditLog
from serving.keys.repository import KeyRecord, Keys

SCOPES = (
    "storefront",
    "events",
    "pricing.read",
    "pricing.propose",
    "pricing.approve",
    "audit.read",
    "experiments.manage",
    "models.manage",
    "privacy.manage",
    "metrics",
)
# Who may change prices may also look at them.
IMPLIED = {"pricing.propose": ("pricing.read",), "pricing.approve": ("pricing.read",)}
PREFIX_LENGTH = 10
# How long a recognised key is believed without asking the database again: a revoked key dies within
# this time.
CACHE_SECONDS = 5.0
_CACHE_SIZE = 10_000


@dataclass(frozen=True)
class Caller:
    """Who sent a request. `scopes` holds what the key names and what that implies."""

    key_id: str
    name: str
    scopes: frozenset[str]


@dataclass(frozen=True)
class NewKey:
    """A key just made; `key` is shown this once and cannot be read again."""

    key: str
    record: KeyRecord


class KeyService:
    """Keys of one database. `recognise` remembers a key for CACHE_SECONDS, so that a busy key costs
    no SQL."""

    def __init__(self, engine: sa.Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._known: dict[str, tuple[float, Caller]] = {}
        self._lock = threading.Lock()

    def create(self, name: str, scopes: Sequence[str], *, actor: str = OPERATOR) -> NewKey:
        """A new key, noted in the audit log.

        Raises UnknownName for a scope nobody knows, BadInput without name or scope.
        """
        if not name.strip():
            raise BadInput("a key needs a name", hint="Say who will hold it: --name storefront")
        if not scopes:
            raise BadInput("a key needs a scope", hint=f"One or more of {', '.join(SCOPES)}")
        for scope in scopes:
            if scope not in SCOPES:
                raise UnknownName(scope, SCOPES, kind="scope")
        key = f"sw_{secrets.token_urlsafe(32)}"
        chosen = tuple(scope for scope in SCOPES if scope in scopes)
        key_id = f"key_{secrets.token_hex(6)}"
        record = KeyRecord(
            key_id, name.strip(), key[:PREFIX_LENGTH], chosen, self._clock.now(), None
        )
        details = {"name": record.name, "scopes": list(chosen)}
        with transaction(self._engine) as connection:
            Keys(connection).add(record, _digest(key))
            AuditLog(connection).append(
                [AuditEntry(actor, "create", "key", key_id, details)], record.created_at
            )
        return NewKey(key, record)

    def all(self) -> list[KeyRecord]:
        """Every key, revoked ones too, oldest first."""
        with reading(self._engine) as connection:
            return Keys(connection).all()

    def revoke(self, key_id: str, *, actor: str = OPERATOR) -> None:
        """Ends a key, noted in the audit log. Other processes believe it for CACHE_SECONDS at most.
        Raises NotFound."""
        with transaction(self._engine) as connection:
            now = self._clock.now()
            if not Keys(connection).revoke(key_id, now):
                raise NotFound(f"no key {key_id!r}", hint="See: shopwright keys list")
            AuditLog(connection).append([AuditEntry(actor, "revoke", "key", key_id)], now)
        with self._lock:
            self._known.clear()

    def remembered(self, key: str) -> Caller | None:
        """The caller with this key if it was recognised a moment ago; asks no database."""
        found = self._known.get(_digest(key))
        return found[1] if found is not None and found[0] > time.monotonic() else None

    def recognise(self, key: str) -> Caller | None:
        """The caller with this key, None when there is none or it was revoked."""
        if (caller := self.remembered(key)) is not None:
            return caller
        digest = _digest(key)
        with reading(self._engine) as connection:
            record = Keys(connection).by_digest(digest)
        if record is None or record.revoked_at is not None:
            return None
        implied = {other for scope in record.scopes for other in IMPLIED.get(scope, ())}
        caller = Caller(record.id, record.name, frozenset(record.scopes) | implied)
        with self._lock:
            if len(self._known) >= _CACHE_SIZE:
                self._known.clear()
            self._known[digest] = (time.monotonic() + CACHE_SECONDS, caller)
        return caller


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
