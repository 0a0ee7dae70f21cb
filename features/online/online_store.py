"""Histories as the server reads them: the materialized row of a user merged with later events.

Importing this module is quick; the import of the feature store takes seconds and happens on `warm`
or the first read.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.arrays import UInt64Array
from features.contracts.clock import feature_time
from features.contracts.errors import Unavailable
from features.contracts.histories import UserHistory
from features.database import BOUGHT, VIEWED, events, reading, user_consent
from features.facts.known_events import NONE, digest_ids, mark_known, read_digests
from features.online.snapshots import (
    Version,
    current_version,
    event_digests_file,
    load_items,
    locate_store,
    pointer_stamp,
)
from features.online.user_state import Categories, UserState
from features.pipelines.feature_constants import MAX_VIEWED, VIEWED_DAYS

if TYPE_CHECKING:
    from feast import FeatureStore

# The columns that `UserState.merge` reads of an event.
_COLUMNS = tuple(
    events.c[name]
    for name in (
        "event_id",
        "event_type",
        "occurred_at",
        "user_id",
        "item_id",
        "zone",
        "quantity",
        "line_amount_minor",
        "unit_price_minor",
        "list_price_minor",
        "order_id",
    )
)
# Views read at most, newest first: a visitor with more views of fewer than MAX_VIEWED items loses
# the oldest of these.
_MAX_VIEWS = 20 * MAX_VIEWED
_NO_CATEGORIES = Categories({}, ("",))
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class _OpenVersion:
    """One version, ready to be read."""

    version: Version
    store: FeatureStore
    categories: Categories
    included: UInt64Array


class _VisitorIds(NamedTuple):
    """The ids under which a visitor is known; at most one of a kind."""

    user_id: str | None
    visitor_id: str | None
    session_id: str | None


class OnlineHistories:
    """Reads the history of a visitor now. Safe to share between threads."""

    def __init__(self, settings: Settings, engine: sa.Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._current: _OpenVersion | None = None

    def warm(self) -> None:
        """Import and open everything that the first read needs."""
        self._read_state(self._open_current(), "")

    @property
    def as_of(self) -> datetime | None:
        """The instant of the materialized rows; None before the first materialization."""
        version = current_version(self._settings)
        return None if version is None else version.as_of

    def read(
        self, user_id: str | None, visitor_id: str | None, session_id: str | None, now: datetime
    ) -> UserHistory:
        """Return the history of a user, else of a visitor or session, with all events up to `now`.

        `now` is business time. With a user, events of the visitor or session without a user count
        too. Without one, a visitor has the events without a user, a session all of its events of
        the last VIEWED_DAYS days. The history of a user who does not allow personalization is
        unknown. Raises Unavailable when the online store does not answer.
        """
        as_of = feature_time(now)
        state, current = UserState.empty(), self._open_current()
        with reading(self._engine) as connection:
            if user_id is not None:
                state = self._read_state(current, user_id)
                if not self._allows_personalization(connection, user_id, state):
                    return UserHistory.unknown(as_of)
            ids = _VisitorIds(user_id, visitor_id, session_id)
            rows = self._read_later_events(connection, current, ids, now)
        state = state.merge(rows)
        if not state.items and not state.viewed:
            return UserHistory.unknown(as_of)
        return state.build_history(
            user_id, as_of, current.categories if current else _NO_CATEGORIES
        )

    def forget(self, user_id: str) -> None:
        """Erase the features of a user, online and offline; their repository erases the events."""
        from features.online.erasure import forget_user

        forget_user(self._settings, user_id)

    def _allows_personalization(
        self, connection: sa.Connection, user_id: str, state: UserState
    ) -> bool:
        query = sa.select(user_consent.c.personalization_allowed).where(
            user_consent.c.user_id == user_id
        )
        consent: bool | None = connection.execute(query).scalar()
        return state.allowed if consent is None else consent

    def _read_later_events(
        self,
        connection: sa.Connection,
        current: _OpenVersion | None,
        ids: _VisitorIds,
        now: datetime,
    ) -> Sequence[sa.Row]:
        """Return the events to merge, each once.

        Of a user those that the materialized row does not include, of a visitor or session all.
        """
        as_of, received_after, included = _BEGINNING, _BEGINNING, NONE
        if current is not None:
            as_of, received_after = current.version.as_of, current.version.received_after
            included = current.included
        query = _QUERIES[_WithIds(*(value is not None for value in ids))]
        if query is None:
            return ()
        given: dict[str, object] = {
            name: value for name, value in ids._asdict().items() if value is not None
        }
        if ids.user_id is not None:
            given |= {"as_of": as_of, "received_after": received_after}
        lately = feature_time(now) - timedelta(days=VIEWED_DAYS)
        rows = connection.execute(query, given | {"now": now, "lately": lately}).all()
        later = {row.event_id: row for row in rows}
        if ids.user_id is not None:
            # The row may include a late event already: imported before or since, or read while it
            # came.
            late = [
                row.event_id
                for row in later.values()
                if row.user_id is not None and row.occurred_at < as_of
            ]
            is_included = mark_known(digest_ids(late), included)
            for event_id, known in zip(late, is_included, strict=True):
                if known:
                    del later[event_id]
            return list(later.values())
        refused = {
            user_id
            for user_id in {row.user_id for row in later.values()} - {None}
            if not self._allows_personalization(
                connection, user_id, self._read_state(current, user_id)
            )
        }
        return [row for row in later.values() if row.user_id not in refused]

    def _read_state(self, current: _OpenVersion | None, user_id: str) -> UserState:
        """Return the materialized row; empty when there is none."""
        if current is None:
            return UserState.empty()
        try:
            with self._lock:
                answer = current.store.get_online_features(
                    ["user_state:state"], [{"user_id": user_id}]
                )
        except (OSError, RuntimeError, _redis_error_type(current.version.redis)) as error:
            raise Unavailable(
                "online features do not answer", hint="Is the store of SHOPWRIGHT_REDIS_URL up?"
            ) from error
        row = answer.to_dict()["state"][0]
        return UserState.empty() if row is None else UserState.unpack(row)

    def _open_current(self) -> _OpenVersion | None:
        """Return the current version, opened again when another one was published."""
        stamp = pointer_stamp(self._settings)
        if stamp != self._stamp:
            with self._lock:
                if stamp != self._stamp:
                    self._current = self._open_version()
                    self._stamp = stamp
        return self._current

    def _open_version(self) -> _OpenVersion | None:
        version = current_version(self._settings)
        if version is None:
            return None
        from features.online.feast_definitions import open_store

        store = open_store(locate_store(self._settings, version.name))
        items = load_items(self._settings)
        included = read_digests(event_digests_file(self._settings, version.name))
        return _OpenVersion(
            version, store, Categories.from_items(items.item_ids.tolist(), items.category), included
        )


def _redis_error_type(redis: bool) -> type[Exception]:
    if not redis:
        return OSError
    from redis.exceptions import RedisError

    return RedisError


class _WithIds(NamedTuple):
    """Which ids of a visitor are given."""

    user: bool
    visitor: bool
    session: bool


class _Condition(NamedTuple):
    """The rows of one id: those with the id, of these the ones to read, and how old they may be."""

    has_id: sa.ColumnElement[bool]
    to_read: sa.ColumnElement[bool]
    purchase_age: sa.ColumnElement[bool]


def _build_branches(given: _WithIds) -> list[sa.Select]:
    """Return the queries of each id: recent views, and purchases with refunds.

    Views are bounded in age and number; purchases are bounded in age for a session only.
    """
    nobody = events.c.user_id.is_(None)
    lately = events.c.occurred_at >= sa.bindparam("lately")
    conditions: list[_Condition] = []
    if given.user:
        recent = events.c.occurred_at >= sa.bindparam("as_of")
        late = events.c.received_at > sa.bindparam("received_after")
        of_user = events.c.user_id == sa.bindparam("user_id")
        conditions.append(_Condition(of_user, recent | late, sa.true()))
    if given.visitor:
        of_visitor = events.c.visitor_id == sa.bindparam("visitor_id")
        conditions.append(_Condition(of_visitor, nobody, sa.true()))
    if given.session:
        of_session = events.c.session_id == sa.bindparam("session_id")
        conditions.append(_Condition(of_session, nobody if given.user else sa.true(), lately))
    past = sa.select(*_COLUMNS).where(events.c.occurred_at <= sa.bindparam("now"))
    branches = []
    for condition in conditions:
        rows = past.where(condition.has_id, condition.to_read)
        views = rows.where(lately, VIEWED).order_by(events.c.occurred_at.desc()).limit(_MAX_VIEWS)
        branches += [sa.select(views.subquery()), rows.where(condition.purchase_age, BOUGHT)]
    return branches


# Built once: SQLAlchemy compiles each of them once.
_QUERIES = {
    given: sa.union_all(*_build_branches(given)) if any(given) else None
    for given in (_WithIds(*flags) for flags in product((False, True), repeat=3))
}
