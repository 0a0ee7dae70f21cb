"""Visits computed from the facts: what models of the current visit learn from.

Importing this module is quick: the server reads its constants.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from features.contracts.event_types import EventType
from features.contracts.visits import (
    CARTED,
    OUTCOMES,
    SELECTED,
    SILENCE_MS,
    VIEWED,
    WISHED,
    Visits,
    read_look_details,
)
from features.pipelines.feature_constants import SECONDS_PER_DAY, VIEWED_DAYS

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pyarrow as pa

    from features.contracts.arrays import (
        BoolArray,
        Float64Array,
        Int8Array,
        Int64Array,
        ObjectArray,
    )
    from features.online.histories import Tables

ACTION_KINDS = {
    EventType.VIEW_ITEM.value: VIEWED,
    EventType.SELECT_ITEM.value: SELECTED,
    EventType.ADD_TO_CART.value: CARTED,
    EventType.ADD_TO_WISHLIST.value: WISHED,
}
_COLUMNS = (
    "item_id",
    "event_type",
    "session_id",
    "occurred_at",
    "visitor",
    "user_id",
    "attributes",
)
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


def compute_offline_visits(facts: Tables, until: datetime) -> Visits:
    """Return the visits with their actions before `until`.

    Anonymous visitors are included, users who do not allow personalization are not. What somebody
    does before and after signing in is one visit where the events name the visitor.
    """
    from features.online.histories import select_allowed_events
    from features.pipelines.expressions import before

    known = before(select_allowed_events(facts), until)
    # A visitor and a user may have the same id.
    visitor = ("v" + known.visitor_id).coalesce("u" + known.user_id, "s" + known.session_id)
    known = known.mutate(visitor=visitor)
    known = known.filter(known.visitor.notnull())
    rows = known.filter(known.event_type.isin(list(ACTION_KINDS))).select(*_COLUMNS).to_pyarrow()
    item_ids, items = number_texts(rows["item_id"])
    visitor_ids, visitors = number_texts(rows["visitor"])
    sessions = number_texts(rows["session_id"])[1]
    user_ids, users = number_texts(rows["user_id"])
    types, type_numbers = number_texts(rows["event_type"])
    kinds = np.array([ACTION_KINDS[name] for name in types.tolist()], np.int8)[type_numbers]
    at_ms = to_milliseconds(rows["occurred_at"])
    seconds, devices = _read_details(rows["attributes"])
    order = np.lexsort((kinds, items, at_ms, visitors))
    visitors, at_ms, items = visitors[order], at_ms[order], items[order]
    kinds, sessions, users = kinds[order], sessions[order], users[order]
    seconds, devices = seconds[order], devices[order]
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
        seconds=seconds[kept],
        devices=devices[kept],
        returning=_find_returning(visitors, at_ms)[first],
        outcomes=np.zeros(int(kept.sum()), np.int8),
        users=np.array([*user_ids.tolist(), None], object)[users[first]],
    )
    purchases = _select_purchases(known).to_pyarrow()
    bought = _Bought(
        _find_texts(purchases["visitor"], visitor_ids),
        _find_texts(purchases["item_id"], item_ids),
        to_milliseconds(purchases["occurred_at"]),
    )
    visits = replace(visits, outcomes=_find_outcomes(visits, bought))
    return visits.select(np.argsort(visits.ended_at, kind="stable"))


def _select_purchases(events: ir.Table) -> ir.Table:
    """Return item, visitor and time of the purchases; one that names the user alone, as the orders
    of a shop system do, is that of each visitor as whom the user came."""
    purchases = events.filter(events.event_type == EventType.PURCHASE.value)
    signed_in = events.filter(events.visitor_id.notnull() & events.user_id.notnull())
    visitors = signed_in.select("user_id", came_as=signed_in.visitor).distinct()
    of_user = purchases.filter(purchases.visitor_id.isnull()).inner_join(visitors, "user_id")
    of_visitors = of_user.select("item_id", "occurred_at", visitor=of_user.came_as)
    return purchases.select("item_id", "occurred_at", "visitor").union(of_visitors)


def _read_details(attributes: pa.ChunkedArray) -> tuple[Float64Array, Int8Array]:
    """Return the seconds and the device (n,) of each look; NaN and -1 where there is none."""
    seconds = np.full(len(attributes), np.nan)
    devices = np.full(len(attributes), -1, np.int8)
    for row in np.flatnonzero(attributes.is_valid().to_numpy()).tolist():
        details = read_look_details(attributes[row].as_py())
        if details.seconds is not None:
            seconds[row] = details.seconds
        if details.device is not None:
            devices[row] = details.device
    return seconds, devices


def _find_returning(visitors: Int64Array, at_ms: Int64Array) -> BoolArray:
    """Return which of the actions (n,), ordered by visitor and time, follow another of the visitor
    within the time that histories look back."""
    returning = np.zeros(len(visitors), bool)
    is_same = visitors[1:] == visitors[:-1]
    returning[1:] = is_same & (np.diff(at_ms) <= VIEWED_DAYS * SECONDS_PER_DAY * 1000)
    return returning


class _Bought(NamedTuple):
    """Purchases: int64 (n,) numbers of visitor and item, -1 where no visit has it, and epoch
    milliseconds."""

    visitors: Int64Array
    items: Int64Array
    at_ms: Int64Array


def _find_outcomes(visits: Visits, bought: _Bought) -> Int8Array:
    """Return what came of each action (n_actions,): the item was put into the cart in the visit
    from then on, or bought by the visitor before half an hour after its end."""
    n_items = max(len(visits.item_ids), 1)
    visit = np.repeat(np.arange(len(visits)), visits.lengths)
    of_visit = visit * n_items + visits.items
    carted = visits.kinds == CARTED
    cart_at = _find_next(of_visit, visits.at_ms, of_visit[carted], visits.at_ms[carted])
    known = (bought.visitors >= 0) & (bought.items >= 0)
    purchase_at = _find_next(
        visits.visitors[visit] * n_items + visits.items,
        visits.at_ms,
        (bought.visitors * n_items + bought.items)[known],
        bought.at_ms[known],
    )
    outcomes = np.where(cart_at >= 0, OUTCOMES.index("add_to_cart"), OUTCOMES.index("view"))
    is_bought = (purchase_at >= 0) & (purchase_at <= visits.ended_at[visit] + SILENCE_MS)
    return np.where(is_bought, OUTCOMES.index("purchase"), outcomes).astype(np.int8)


def _find_next(
    keys: Int64Array, at_ms: Int64Array, marked_keys: Int64Array, marked_at: Int64Array
) -> Int64Array:
    """Return the time (n,) of the first mark of the same key at that time or later; -1 without one.

    >>> keys, at = np.array([7, 7, 8]), np.array([10, 30, 10])
    >>> _find_next(keys, at, np.array([7]), np.array([20])).tolist()
    [20, -1, -1]
    """
    all_keys, all_at = np.concatenate([keys, marked_keys]), np.concatenate([at_ms, marked_at])
    is_mark = np.arange(len(all_keys)) >= len(keys)
    order = np.lexsort((is_mark, all_at, all_keys))
    rows = np.where(is_mark[order], np.arange(len(order)), len(order))
    following = np.minimum.accumulate(rows[::-1])[::-1]  # the next mark, of whatever key
    mark = order[np.minimum(following, len(order) - 1)] if len(order) else order
    is_same = (following < len(order)) & (all_keys[mark] == all_keys[order])
    times = np.empty(len(order), np.int64)
    times[order] = np.where(is_same, all_at[mark], -1)
    return times[: len(keys)]


def _find_texts(texts: pa.ChunkedArray, known: ObjectArray) -> Int64Array:
    """Return the number (n,) of each text among the known ones, -1 where it is none of them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    numbers = pc.index_in(texts, value_set=pa.array(known.tolist(), pa.string()))
    return np.asarray(numbers.fill_null(-1).to_numpy(), np.int64)


def number_texts(texts: pa.ChunkedArray) -> tuple[ObjectArray, Int64Array]:
    """Return the distinct texts, sorted, and the number of each row's among them; -1 for null.

    Only distinct texts become Python objects: of ids there are millions of rows.
    """
    encoded = texts.dictionary_encode().unify_dictionaries().combine_chunks()
    known = np.array(encoded.dictionary.to_pylist(), object)
    order = np.argsort(known, kind="stable")
    numbers = np.append(np.empty(len(known), np.int64), -1)  # the last one is that of null
    numbers[order] = np.arange(len(known))
    codes = np.asarray(encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False), np.int64)
    return known[order], numbers[codes]


def _find_first_actions(visitors: Int64Array, at_ms: Int64Array, sessions: Int64Array) -> BoolArray:
    """Return which of the actions, ordered by visitor and time, begin a visit."""
    first = np.ones(len(visitors), bool)
    has_sessions = (sessions[1:] >= 0) & (sessions[:-1] >= 0)
    other_session = sessions[1:] != sessions[:-1]
    silence = np.diff(at_ms) > SILENCE_MS
    first[1:] = (visitors[1:] != visitors[:-1]) | np.where(has_sessions, other_session, silence)
    return first
