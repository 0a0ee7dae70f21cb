"""Creates, lists, revokes and finds API keys."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import sqlalchemy as sa

from features.contracts.clock import Clock
from features.contracts.errors import BadInput, NotFound, Unavailable, UnknownName
from features.database import reading, transaction
from serving.access import IMPLIED, SCOPES, Caller
from serving.database.audit_log import OPERATOR, AuditEntry, AuditLog
from serving.keys.repository import KeyRecord, Keys

PREFIX_LENGTH = 10
PUBLIC_SCOPE = "browser"
# How long a caller is cached: a revoked key stops working in every process within this time.
CACHE_SECONDS = 5.0
# How long after that it is still accepted while the database does not answer.
_STALE_SECONDS = 600.0
_LOOKUP_THREADS = 4
_CACHE_SIZE = 10_000


@dataclass(frozen=True)
class NewKey:
    """A new key; `key` is shown this once and cannot be read again."""

    key: str
    record: KeyRecord


class KeyService:
    """Keys of one database. Callers are cached for CACHE_SECONDS, so that a busy key costs no
    SQL.

    workers   the threads that look up the keys of requests, which wait for no other work
    """

    def __init__(self, engine: sa.Engine, clock: Clock) -> None:
        self.workers = ThreadPoolExecutor(_LOOKUP_THREADS, thread_name_prefix="keys")
        self._engine = engine
        self._clock = clock
        self._cache: dict[str, tuple[float, Caller]] = {}
        self._lock = threading.Lock()

    def create(self, name: str, scopes: Sequence[str], *, actor: str = OPERATOR) -> NewKey:
        """Create a key and write that to the audit log.

        Raises UnknownName for a scope nobody knows, BadInput without name or scope.
        """
        if not name.strip():
            raise BadInput("a key needs a name", hint="Say who will hold it: --name storefront")
        if not scopes:
            raise BadInput("a key needs a scope", hint=f"One or more of {', '.join(SCOPES)}")
        for scope in scopes:
            if scope not in SCOPES:
                raise UnknownName(scope, SCOPES, kind="scope")
        # A publishable key can be told from a secret one by its first letters.
        kind = "pub" if tuple(scopes) == (PUBLIC_SCOPE,) else "sw"
        key = f"{kind}_{secrets.token_urlsafe(32)}"
        record = KeyRecord(
            id=f"key_{secrets.token_hex(6)}",
            name=name.strip(),
            prefix=key[:PREFIX_LENGTH],
            scopes=tuple(scope for scope in SCOPES if scope in scopes),
            created_at=self._clock.now(),
            revoked_at=None,
        )
        details = {"name": record.name, "scopes": list(record.scopes)}
        entry = AuditEntry(actor, "create", "key", record.id, details)
        with transaction(self._engine) as connection:
            Keys(connection).add(record, _digest(key))
            AuditLog(connection).append([entry], record.created_at)
        return NewKey(key, record)

    def list_keys(self) -> list[KeyRecord]:
        """Return every key, revoked ones too, oldest first."""
        with reading(self._engine) as connection:
            return Keys(connection).all()

    def revoke(self, key_id: str, *, actor: str = OPERATOR) -> None:
        """Revoke a key and write that to the audit log. Raises NotFound.

        Other processes accept the key for CACHE_SECONDS more at most.
        """
        with transaction(self._engine) as connection:
            now = self._clock.now()
            if not Keys(connection).revoke(key_id, now):
                raise NotFound(f"no key {key_id!r}", hint="See: shopwright keys list")
            AuditLog(connection).append([AuditEntry(actor, "revoke", "key", key_id)], now)
        with self._lock:
            self._cache.clear()

    def find_cached_caller(self, key: str) -> Caller | None:
        """Return the caller with this key if it is in the cache; reads no database."""
        cached = self._cache.get(_digest(key))
        if cached is None:
            return None
        expires, caller = cached
        return caller if expires > time.monotonic() else None

    def find_caller(self, key: str) -> Caller | None:
        """Return the caller with this key, None when there is none or it was revoked.

        While the database does not answer, a key that was valid a few minutes ago still is: slates
        need no database. Raises Unavailable for every other key then.
        """
        if (caller := self.find_cached_caller(key)) is not None:
            return caller
        digest = _digest(key)
        try:
            with reading(self._engine) as connection:
                record = Keys(connection).by_digest(digest)
        except Unavailable:
            cached = self._cache.get(digest)
            if cached is None or cached[0] + _STALE_SECONDS < time.monotonic():
                raise
            return cached[1]
        if record is None or record.revoked_at is not None:
            return None
        implied = {name for scope in record.scopes for name in IMPLIED.get(scope, ())}
        caller = Caller(record.id, record.name, frozenset(record.scopes) | implied)
        with self._lock:
            if len(self._cache) >= _CACHE_SIZE:
                self._cache.clear()
            self._cache[digest] = (time.monotonic() + CACHE_SECONDS, caller)
        return caller


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
