"""Visits computed from the facts: what models of the current visit learn from.

Importing this module is quick: the server reads its constants.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from features.contracts.event_types import EventType
from features.contracts.visits import CARTED, SELECTED, SILENCE_MS, VIEWED, Visits

if TYPE_CHECKING:
    import pyarrow as pa

    from features.contracts.arrays import BoolArray, Int64Array
    from features.online.histories import Tables

ACTION_KINDS = {
    EventType.VIEW_ITEM.value: VIEWED,
    EventType.SELECT_ITEM.value: SELECTED,
    EventType.ADD_TO_CART.value: CARTED,
}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def count_milliseconds(at: datetime) -> int:
    """Return the whole milliseconds from 1970 to an instant, floored."""
    return (at - EPOCH) // _MILLISECOND


def to_milliseconds(instants: pa.ChunkedArray) -> Int64Array:
    """Return `count_milliseconds` of a column of instants."""
    import pyarrow as pa

    microseconds = instants.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
    return np.asarray(microseconds // 1000, np.int64)


def compute_offline_visits(facts: Tables, until: datetime, since: datetime | None = None) -> Visits:
    """Return the visits with their actions before `until`; with `since` those that began then.

    Anonymous visitors are included, users who do not allow personalization are not. What somebody
    does before and after signing in is one visit where the events name the visitor.
    """
    from features.online.histories import select_allowed_events, to_objects
    from features.pipelines.expressions import before

    known = before(select_allowed_events(facts), until)
    # A visitor and a user may have the same id.
    visitor = ("v" + known.visitor_id).coalesce("u" + known.user_id, "s" + known.session_id)
    known = known.mutate(visitor=visitor)
    known = known.filter(known.visitor.notnull() & known.event_type.isin(list(ACTION_KINDS)))
    rows = known.select(
        "item_id",
        "event_type",
        "session_id",
        "occurred_at",
        "visitor",
    ).to_pyarrow()
    item_ids, items = np.unique(to_objects(rows["item_id"]), return_inverse=True)
    _, visitors = np.unique(to_objects(rows["visitor"]), return_inverse=True)
    sessions = _number_sessions(rows["session_id"])
    types = rows["event_type"].dictionary_encode().unify_dictionaries().combine_chunks()
    codes = np.array([ACTION_KINDS[name] for name in types.dictionary.to_pylist()], np.int8)
    kinds = codes[types.indices.to_numpy()] if rows.num_rows else np.zeros(0, np.int8)
    at_ms = to_milliseconds(rows["occurred_at"])
    order = np.lexsort((kinds, items, at_ms, visitors))
    visitors, at_ms, items = visitors[order], at_ms[order], items[order]
    kinds, sessions = kinds[order], sessions[order]
    first = _find_first_actions(visitors, at_ms, sessions)
    is_repeat = np.zeros(len(items), bool)  # a selection right before the view that it led to
    is_repeat[:-1] = ~first[1:] & (items[1:] == items[:-1]) & (kinds[1:] == VIEWED)
    kept = ~(is_repeat & (kinds == SELECTED))
    numbers = np.cumsum(first)[kept]  # of the visits
    starts = np.flatnonzero(np.diff(numbers, prepend=0))
    visits = Visits(
        item_ids=item_ids,
        starts=np.append(starts, kept.sum()).astype(np.int64),
        items=items[kept],
        kinds=kinds[kept],
        at_ms=at_ms[kept],
        visitors=visitors[kept][starts],
    )
    visits = visits.select(np.argsort(visits.ended_at(), kind="stable"))
    if since is None:
        return visits
    return visits.select(np.flatnonzero(visits.began_at() >= count_milliseconds(since)))


def _number_sessions(session_ids: pa.ChunkedArray) -> Int64Array:
    """Return a number for each session, -1 without one."""
    codes = (
        session_ids.dictionary_encode().unify_dictionaries().combine_chunks().indices.fill_null(-1)
    )
    return np.asarray(codes.to_numpy(zero_copy_only=False), np.int64)


def _find_first_actions(visitors: Int64Array, at_ms: Int64Array, sessions: Int64Array) -> BoolArray:
    """Return which of the actions, ordered by visitor and time, begin a visit."""
    first = np.ones(len(visitors), bool)
    has_sessions = (sessions[1:] >= 0) & (sessions[:-1] >= 0)
    other_session = sessions[1:] != sessions[:-1]
    silence = np.diff(at_ms) > SILENCE_MS
    first[1:] = (visitors[1:] != visitors[:-1]) | np.where(has_sessions, other_session, silence)
    return first
