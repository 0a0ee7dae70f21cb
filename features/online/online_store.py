"""Histories as the server reads them: the materialized row of a user merged with later events."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.arrays import UInt64Array
from features.contracts.breaker import Breaker
from features.contracts.clock import feature_time
from features.contracts.errors import Damaged, Unavailable
from features.contracts.histories import UserHistory
from features.contracts.person_ids import USER
from features.database import reading
from features.facts.erased_ids import IdDigests
from features.facts.known_events import digest_ids, mark_known, read_digests
from features.online.consent import NOT_KNOWN, Consents
from features.online.later_events import (
    NOTHING_INCLUDED,
    IncludedEvents,
    VisitorIds,
    find_search,
    read_later_events,
)
from features.online.restore import write_user_states
from features.online.snapshots import (
    Version,
    current_version,
    event_digests_file,
    is_damage,
    list_versions,
    load_items,
    locate_store,
    pointer_stamp,
    users_file,
)
from features.online.state_cache import StateCache
from features.online.stored_rows import StoredRows, open_rows
from features.online.user_state import Categories, UserState

log = logging.getLogger(__name__)

# How long a slate waits for the online store.
READ_SECONDS = 0.5
RESTORE_SECONDS = 600.0
_MISSING = "rows of the online features are gone"
_NO_CATEGORIES = Categories({}, ("",))


@dataclass(frozen=True)
class _OpenVersion:
    """One version, ready to be read.

    included   digests of the events that its rows include
    users      digests of the users who have a row; none where an older program wrote it
    kept       rows that were read before
    """

    version: Version
    rows: StoredRows
    categories: Categories
    included: UInt64Array
    users: UInt64Array
    kept: StateCache


class VisitorHistory(NamedTuple):
    """The history of a visitor; `allowed` is whether their ids may be used at all: not those of
    somebody who does not allow personalization."""

    history: UserHistory
    allowed: bool


class OnlineHistories:
    """Reads the history of a visitor now. Safe to share between threads.

    breaker   leaves the online store alone after it did not answer
    """

    def __init__(self, settings: Settings, engine: sa.Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._current: _OpenVersion | None = None
        self._damaged: set[str] = set()  # names of versions that could not be read
        self._damage: str | None = None  # why the newest version is not the one that is read
        self._erased = IdDigests(settings)
        self._consents = Consents(None, self._erased)
        self._rows_are_missing = False
        self._restored_at = -RESTORE_SECONDS
        self.breaker = Breaker("the online store", "Is the store of SHOPWRIGHT_REDIS_URL up?")

    def warm(self) -> None:
        """Import and open everything that the first read needs, and read one row."""
        self._read_current("")

    @property
    def problem(self) -> str | None:
        """What is wrong with the online rows, also while those of an older version serve; None
        while nothing is."""
        if self._current is not None and self._consents.refused is None:
            return NOT_KNOWN
        if self._damage is not None:
            return self._damage
        return _MISSING if self._rows_are_missing else self.breaker.problem

    @property
    def is_older_served(self) -> bool:
        """Whether slates use the rows of an older version, as the newest one is damaged."""
        is_opened = self._current is not None and self._consents.refused is not None
        return is_opened and self._damage is not None and self.breaker.problem is None

    def restore_rows(self) -> None:
        """Write the rows again that the online store has lost, from the files of the version.

        At most once in RESTORE_SECONDS: a store that evicts rows is too small for them. Raises
        Unavailable while somebody else writes features.
        """
        current = self._current
        if not self._rows_are_missing or current is None:
            return
        if time.monotonic() < self._restored_at + RESTORE_SECONDS:
            return
        n_rows = write_user_states(self._settings, current.version.name)
        log.warning("the online store had lost rows; those of %d users were written again", n_rows)
        self._restored_at = time.monotonic()
        self._rows_are_missing = False

    @property
    def as_of(self) -> datetime | None:
        """The instant of the materialized rows; None before the first materialization."""
        version = current_version(self._settings)
        return None if version is None else version.as_of

    def read(
        self, user_id: str | None, visitor_id: str | None, session_id: str | None, now: datetime
    ) -> UserHistory:
        """Return the history of `read_visitor`."""
        return self.read_visitor(user_id, visitor_id, session_id, now).history

    def read_visitor(
        self, user_id: str | None, visitor_id: str | None, session_id: str | None, now: datetime
    ) -> VisitorHistory:
        """Return the history of a user, else of a visitor or session, with all events up to `now`.

        `now` is business time. With a user, events of the visitor or session without a user count
        too. Without one, a visitor has the events without a user, a session all of its events of
        the last VIEWED_DAYS days. The history of a user who does not allow personalization is
        unknown. Raises Unavailable when the online store or the database does not answer.
        """
        as_of = feature_time(now)
        state, current = UserState.empty(), self._open_current()
        ids = VisitorIds(user_id, visitor_id, session_id)
        digest = "" if user_id is None else self._erased.find(USER, user_id)
        with reading(self._engine) as connection:
            self._erased.check_lately(connection)
            rows, consent = read_later_events(
                connection, _describe_included(current), ids, now, digest=digest
            )
            if user_id is None:
                owners = {row.user_id for row in rows if row.user_id is not None}
                refused = self._consents.find_refused(connection, owners)
            elif not self._consents.allow(user_id, consent):
                return VisitorHistory(UserHistory.unknown(as_of), allowed=False)
            else:
                refused = set()
                state, read_from = self._read_current(user_id)
                if read_from is not current:  # published, or found to be damaged, meanwhile
                    current = read_from
                    rows, _ = read_later_events(connection, _describe_included(current), ids, now)
        rows = [row for row in rows if row.user_id not in refused]
        state = state.merge(rows)
        history = UserHistory.unknown(as_of)
        if state.items or state.viewed:
            categories = current.categories if current else _NO_CATEGORIES
            history = state.build_history(user_id, as_of, categories)
        return VisitorHistory(replace(history, search_text=find_search(rows, now)), not refused)

    def find_refused_users(self, user_ids: Collection[str]) -> set[str]:
        """Return those of these users who do not allow personalization.

        Raises Unavailable where that cannot be known.
        """
        self._open_current()
        with reading(self._engine) as connection:
            return self._consents.find_refused(connection, user_ids)

    def _read_current(self, user_id: str) -> tuple[UserState, _OpenVersion | None]:
        """Return the materialized row of a user, empty without one, and its version.

        Where the version turns out to be damaged, that of the version before.
        """
        while True:
            current = self._open_current()
            try:
                return self._read_state(current, user_id), current
            except Damaged as error:  # opens the next one, and raises Damaged where there is none
                log.warning("%s", error)

    def _read_state(self, current: _OpenVersion | None, user_id: str) -> UserState:
        """Return the materialized row; empty when there is none.

        Raises Damaged where the file of the online rows is, and the version is not opened again.
        """
        if current is None:
            return UserState.empty()
        stamp = current.kept.read_stamp()
        state = current.kept.find(user_id, stamp)
        if state is None:
            state = self._fetch_state(current, user_id).prepare(current.categories)
            current.kept.keep(user_id, state, stamp)
        return state

    def _fetch_state(self, current: _OpenVersion, user_id: str) -> UserState:
        """Return the row from the store; raises as `_read_state`."""
        if len(current.users) and not mark_known(digest_ids([user_id]), current.users)[0]:
            return UserState.empty()  # nobody who was there when the rows were written
        failures = (OSError, RuntimeError, _redis_error_type(current.version.redis))
        if self.breaker.is_open:
            raise self.breaker.unavailable()
        try:
            # Of those who wait while the store hangs the breaker refuses all but one.
            with self._lock, self.breaker.guard(*failures):
                row = current.rows.read(user_id)
            if row is not None:
                return UserState.unpack(row)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise Unavailable("online features do not answer") from error
            self._damaged.add(current.version.name)
            self._stamp = None
            raise _describe_damage(current.version, error) from error
        except (ValueError, KeyError) as error:
            raise Unavailable(f"an online row cannot be read: {error}") from error
        if self._has_row(current, user_id):
            self._rows_are_missing = True
            raise Unavailable(_MISSING, hint="Try: shopwright features materialize")
        return UserState.empty()

    def _has_row(self, current: _OpenVersion, user_id: str) -> bool:
        """Return whether the version was written with a row of this user, who may have been erased
        since."""
        digest = digest_ids([user_id])
        if not mark_known(digest, current.users)[0]:
            return False
        path = users_file(self._settings, current.version.name)
        return bool(mark_known(digest, read_digests(path))[0])

    def _open_current(self) -> _OpenVersion | None:
        """Return the current version, opened again when another one was published."""
        stamp = pointer_stamp(self._settings)
        if stamp != self._stamp:
            with self._lock:
                if stamp != self._stamp:
                    self._current = self._open_newest()
                    # The newest ones, even where an older version stands in for a damaged one.
                    newest = next(iter(list_versions(self._settings)), None)
                    self._consents = Consents.open(self._settings, newest, self._erased)
                    self._rows_are_missing = False
                    self._stamp = stamp
        return self._current

    def _open_newest(self) -> _OpenVersion | None:
        """Open the newest version that can be read; None before the first.

        Raises Damaged where there are versions and none can be read.
        """
        damage: Damaged | None = None
        for version in list_versions(self._settings):
            if version.name in self._damaged:
                damage = damage or _describe_damage(version)
                continue
            try:
                opened = self._open_version(version)
            except Damaged as error:
                log.warning("%s", error)
                self._damaged.add(version.name)
                damage = damage or error
                continue
            serves = f"; those of version {version.name} serve"
            self._damage = None if damage is None else f"{damage}{serves}"
            return opened
        self._damage = None if damage is None else str(damage)
        if damage is not None:
            raise damage
        return None

    def _open_version(self, version: Version) -> _OpenVersion:
        items = load_items(self._settings, version=version)
        location = locate_store(self._settings, version.name)
        try:
            if not version.redis:
                location.online.stat()  # SQLite would take a file that is gone for a new one
            rows = open_rows(location, READ_SECONDS)
            included = read_digests(event_digests_file(self._settings, version.name))
            users = read_digests(users_file(self._settings, version.name))
        except Exception as error:  # rows and digests have errors of their own each
            if isinstance(error, sqlite3.DatabaseError) and not is_damage(error):
                raise Unavailable("online features do not answer") from error
            raise _describe_damage(version, error) from error
        return _OpenVersion(
            version=version,
            rows=rows,
            categories=Categories.from_items(items.item_ids.tolist(), items.category),
            included=included,
            users=users,
            kept=StateCache(users_file(self._settings, version.name)),
        )


def _describe_included(current: _OpenVersion | None) -> IncludedEvents:
    if current is None:
        return NOTHING_INCLUDED
    version = current.version
    return IncludedEvents(version.as_of, version.received_after, current.included)


def _describe_damage(version: Version, error: Exception | None = None) -> Damaged:
    why = "" if error is None else f": {type(error).__name__}: {error}"
    return Damaged(
        f"the online features of version {version.name} are damaged{why}",
        hint="Try: shopwright features materialize",
    )


def _redis_error_type(redis: bool) -> type[Exception]:
    if not redis:
        return OSError
    from redis.exceptions import RedisError

    return RedisError
