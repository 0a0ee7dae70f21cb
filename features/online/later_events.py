"""The events that came after the materialized row of a visitor, and whether they allow to use them:
read from the database in one statement, as every answer waits for it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import NamedTuple

import sqlalchemy as sa

from features.contracts.arrays import UInt64Array
from features.contracts.clock import feature_time
from features.contracts.event_types import QUERY, VIEW_TYPES, EventType
from features.contracts.visits import MAX_LOOK_ATTRIBUTES
from features.database_tables import (
    BOUGHT,
    VIEWED_OR_SEARCHED,
    erased_ids,
    events,
    user_consent,
)
from features.facts.known_events import NONE, digest_ids, mark_known
from features.pipelines.feature_constants import MAX_VIEWED, VIEWED_DAYS

# The columns that `UserState.merge` and `find_search` read of an event:
# attributes of searches, and of looks where `read_look_details` reads them.
_READ_ATTRIBUTES = sa.case(
    (events.c.event_type == EventType.SEARCH.value, events.c.attributes),
    (events.c.event_type.not_in(VIEW_TYPES), sa.null()),
    (sa.func.length(events.c.attributes) <= MAX_LOOK_ATTRIBUTES, events.c.attributes),
)
_COLUMNS = (
    *(
        events.c[name]
        for name in (
            "event_id",
            "event_type",
            "occurred_at",
            "user_id",
            "session_id",
            "item_id",
            "zone",
            "quantity",
            "line_amount_minor",
            "unit_price_minor",
            "list_price_minor",
            "order_id",
        )
    ),
    _READ_ATTRIBUTES.label("attributes"),
)
# Views and searches read at most, newest first: a visitor with more of them, at fewer than
# MAX_VIEWED items, loses the oldest.
_MAX_VIEWS = 20 * MAX_VIEWED
_SEARCH_AGE = timedelta(minutes=30)  # an older search is of another visit
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class VisitorIds(NamedTuple):
    """The ids under which a visitor is known; at most one of a kind."""

    user_id: str | None
    visitor_id: str | None
    session_id: str | None


class IncludedEvents(NamedTuple):
    """The events that materialized rows include.

    as_of            those before this business time,
    received_after   if they arrived before this system time,
    digests          and all with these ids
    """

    as_of: datetime
    received_after: datetime
    digests: UInt64Array


NOTHING_INCLUDED = IncludedEvents(_BEGINNING, _BEGINNING, NONE)


class LaterEvents(NamedTuple):
    """The events to merge, each once, and the `consent` to personalization that the user stated
    to the shop; None: none was stated. Somebody who was erased refuses."""

    rows: Sequence[sa.Row]
    consent: bool | None


def read_later_events(
    connection: sa.Connection,
    included: IncludedEvents,
    ids: VisitorIds,
    now: datetime,
    *,
    digest: str = "",
) -> LaterEvents:
    """Return the later events of a visitor.

    Of a user those that the materialized row does not include, of a visitor or session all.
    `digest` is that by which an erased user is recognised.
    """
    query = _QUERIES[_WithIds(*(value is not None for value in ids))]
    if query is None:
        return LaterEvents((), None)
    given: dict[str, object] = {
        name: value for name, value in ids._asdict().items() if value is not None
    }
    if ids.user_id is not None:
        given |= {"as_of": included.as_of, "received_after": included.received_after}
        given["digest"] = digest
    lately = feature_time(now) - timedelta(days=VIEWED_DAYS)
    rows = connection.execute(query, given | {"now": now, "lately": lately}).all()
    stated = [row.consent for row in rows if row.event_id is None]
    consent = all(stated) if stated else None
    later = {row.event_id: row for row in rows if row.event_id is not None}
    if ids.user_id is not None:
        # The row may include a late event already: imported before or since, or read while it came.
        late = [
            row.event_id
            for row in later.values()
            if row.user_id is not None and row.occurred_at < included.as_of
        ]
        is_included = mark_known(digest_ids(late), included.digests)
        for event_id, known in zip(late, is_included, strict=True):
            if known:
                del later[event_id]
    return LaterEvents(list(later.values()), consent)


def find_search(rows: Iterable[sa.Row], now: datetime) -> str | None:
    """Return what was searched for last, lately; None where nothing was."""
    latest = max(
        (
            row
            for row in rows
            if row.event_type == EventType.SEARCH and row.occurred_at > now - _SEARCH_AGE
        ),
        key=lambda row: row.occurred_at,
        default=None,
    )
    text = None if latest is None else json.loads(latest.attributes or "{}").get(QUERY)
    return text if isinstance(text, str) else None


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
    """Return the queries of each id: recent views and searches, and purchases with refunds; and
    those of what a user stated about personalization, and of an erasure, rows without an event.

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
    counted = events.c.exclude.is_not(sa.true())
    no_consent = sa.cast(sa.null(), sa.Boolean).label("consent")
    past = sa.select(*_COLUMNS, no_consent).where(
        events.c.occurred_at <= sa.bindparam("now"), counted
    )
    branches = []
    for condition in conditions:
        rows = past.where(condition.has_id, condition.to_read)
        views = (
            rows.where(lately, VIEWED_OR_SEARCHED)
            .order_by(events.c.occurred_at.desc())
            .limit(_MAX_VIEWS)
        )
        branches += [sa.select(views.subquery()), rows.where(condition.purchase_age, BOUGHT)]
    if given.user:
        no_event = [sa.cast(sa.null(), column.type).label(column.name) for column in _COLUMNS]
        stated = sa.select(*no_event, user_consent.c.personalization_allowed)
        branches.append(stated.where(user_consent.c.user_id == sa.bindparam("user_id")))
        erased = sa.select(*no_event, sa.false()).where(
            erased_ids.c.digest == sa.bindparam("digest"), erased_ids.c.returned_at.is_(None)
        )
        branches.append(erased)
    return branches


# Built once: SQLAlchemy compiles each of them once.
_QUERIES = {
    given: sa.union_all(*_build_branches(given)) if any(given) else None
    for given in (_WithIds(*flags) for flags in product((False, True), repeat=3))
}
