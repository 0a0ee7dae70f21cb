"""Histories as the server reads them: the materialized row of a user merged with the events that
came since.

Importing this module is light; the feature store's own import takes seconds and happens on `warm`
or the first read.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

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
    included_file,
    load_items,
    pointer_stamp,
    store_place,
)
from features.online.user_state import Categories, UserState
from features.pipelines.rules import MAX_VIEWED, VIEWED_DAYS

# What `UserState.merged` reads of an event.
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
# Views read at most, newest first: who looks this often at fewer than MAX_VIEWED items loses the
# oldest of these.
_MAX_VIEWS = 20 * MAX_VIEWED
_NO_CATEGORIES = Categories({}, ("",))
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class _Opened:
    """One version, ready to be read."""

    version: Version
    store: Any
    categories: Categories
    included: UInt64Array


class OnlineHistories:
    """Reads what is known about a visitor now. Safe to share between threads."""

    def __init__(self, settings: Settings, engine: sa.Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._opened: _Opened | None = None

    def warm(self) -> None:
        """Imports and opens what the first read would otherwise wait for."""
        self._state(self._current(), "")

    @property
    def as_of(self) -> datetime | None:
        """Until when the materialized rows know everything; None before the first
        materialization."""
        version = current_version(self._settings)
        return None if version is None else version.as_of

    def read(
        self, user_id: str | None, visitor_id: str | None, session_id: str | None, now: datetime
    ) -> UserHistory:
        """The history of a user, else of a visitor or session, with every event up to `now`
        (business time).

        With a user, events of the visitor or session that carry no user count too. Without one, a
        visitor is known by the events that carry no user, a session by all of its events of the
        last VIEWED_DAYS days. Who refuses personalization is unknown. Raises Unavailable when the
        online store does not answer.
        """
        as_of = feature_time(now)
        state, opened = UserState.empty(), self._current()
        with reading(self._engine) as connection:
            if user_id is not None:
                state = self._state(opened, user_id)
                if not self._allowed(connection, user_id, state):
                    return UserHistory.unknown(as_of)
            rows = self._later(connection, opened, (user_id, visitor_id, session_id), now)
        state = state.merged(rows)
        if not state.items and not state.viewed:
            return UserHistory.unknown(as_of)
        return state.history(user_id, as_of, opened.categories if opened else _NO_CATEGORIES)

    def forget(self, user_id: str) -> None:
        """Erases a user's features, online and offline; the events are erased by their own
        repository."""
        from features.online.erasure import forget_user

        forget_user(self._settings, user_id)

    def _allowed(self, connection: sa.Connection, user_id: str, state: UserState) -> bool:
        query = sa.select(user_consent.c.personalization_allowed).where(
            user_consent.c.user_id == user_id
        )
        consent: bool | None = connection.execute(query).scalar()
        return state.allowed if consent is None else consent

    def _later(
        self,
        connection: sa.Connection,
        opened: _Opened | None,
        ids: tuple[str | None, str | None, str | None],
        now: datetime,
    ) -> Sequence[Any]:
        """The events to merge, each once: of the user those that the row does not hold yet, of
        others all."""
        as_of, received_after, included = _BEGINNING, _BEGINNING, NONE
        if opened is not None:
            as_of, received_after = opened.version.as_of, opened.version.received_after
            included = opened.included
        query = _query(*(value is not None for value in ids))
        if query is None:
            return ()
        values = dict(zip(("user_id", "visitor_id", "session_id"), ids, strict=True))
        given: dict[str, Any] = {name: value for name, value in values.items() if value is not None}
        if ids[0] is not None:
            given |= {"as_of": as_of, "received_after": received_after}
        lately = feature_time(now) - timedelta(days=VIEWED_DAYS)
        rows = connection.execute(query, given | {"now": now, "lately": lately}).all()
        later = {row.event_id: row for row in rows}
        if ids[0] is not None:
            # An event that came late may stand in the row already: imported before or since, or
            # seen while it came.
            late = [
                row.event_id
                for row in later.values()
                if row.user_id is not None and row.occurred_at < as_of
            ]
            for event_id, held in zip(late, mark_known(digest_ids(late), included), strict=True):
                if held:
                    del later[event_id]
            return list(later.values())
        refused = {
            other
            for other in {row.user_id for row in later.values()} - {None}
            if not self._allowed(connection, other, self._state(opened, other))
        }
        return [row for row in later.values() if row.user_id not in refused]

    def _state(self, opened: _Opened | None, user_id: str) -> UserState:
        """The materialized row; empty when there is none."""
        if opened is None:
            return UserState.empty()
        try:
            with self._lock:
                answer = opened.store.get_online_features(
                    ["user_state:state"], [{"user_id": user_id}]
                )
        except (OSError, RuntimeError, _redis_error(opened.version.redis)) as error:
            raise Unavailable(
                "online features do not answer", hint="Is the store of SHOPWRIGHT_REDIS_URL up?"
            ) from error
        row = answer.to_dict()["state"][0]
        return UserState.empty() if row is None else UserState.unpacked(row)

    def _current(self) -> _Opened | None:
        """The current version, opened anew when another one was published."""
        stamp = pointer_stamp(self._settings)
        if stamp != self._stamp:
            with self._lock:
                if stamp != self._stamp:
                    self._opened = self._open()
                    self._stamp = stamp
        return self._opened

    def _open(self) -> _Opened | None:
        version = current_version(self._settings)
        if version is None:
            return None
        from features.online.feast_definitions import open_store

        store = open_store(store_place(self._settings, version.name))
        items = load_items(self._settings)
        included = read_digests(included_file(self._settings, version.name))
        return _Opened(
            version, store, Categories.of(items.item_ids.tolist(), items.category), included
        )


def _redis_error(redis: bool) -> type[Exception]:
    if not redis:
        return OSError
    from redis.exceptions import RedisError

    return RedisError


def _branches(with_user: bool, with_visitor: bool, with_session: bool) -> list[sa.Select[Any]]:
    """Per id: views, bounded in age and number; and purchases with refunds, for good but a
    session's."""
    nobody = events.c.user_id.is_(None)
    lately = events.c.occurred_at >= sa.bindparam("lately")
    wanted: list[tuple[sa.ColumnElement[bool], sa.ColumnElement[bool], sa.ColumnElement[bool]]] = []
    if with_user:
        recent = events.c.occurred_at >= sa.bindparam("as_of")
        late = events.c.received_at > sa.bindparam("received_after")
        wanted.append((events.c.user_id == sa.bindparam("user_id"), recent | late, sa.true()))
    if with_visitor:
        wanted.append((events.c.visitor_id == sa.bindparam("visitor_id"), nobody, sa.true()))
    if with_session:
        of_session = events.c.session_id == sa.bindparam("session_id")
        wanted.append((of_session, nobody if with_user else sa.true(), lately))
    found = sa.select(*_COLUMNS).where(events.c.occurred_at <= sa.bindparam("now"))
    branches = []
    for mine, also, bound in wanted:
        views = (
            found.where(mine, also, lately, VIEWED)
            .order_by(events.c.occurred_at.desc())
            .limit(_MAX_VIEWS)
        )
        branches += [sa.select(views.subquery()), found.where(mine, also, bound, BOUGHT)]
    return branches


_QUERIES = {
    (u, v, s): sa.union_all(*_branches(u, v, s)) if any((u, v, s)) else None
    for u in (False, True)
    for v in (False, True)
    for s in (False, True)
}


def _query(with_user: bool, with_visitor: bool, with_session: bool) -> Any:
    return _QUERIES[with_user, with_visitor, with_session]
