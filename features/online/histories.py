"""Histories and item features computed from the facts as of any instant, for training."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa

from features.contracts.arrays import Int64Array, ObjectArray
from features.contracts.histories import UserHistory
from features.contracts.recommendations import ItemFeatures
from features.contracts.visits import Action, find_latest_visit, read_look_details
from features.online.past_visits import ACTION_KINDS, to_milliseconds
from features.pipelines import item, user
from features.pipelines.feature_constants import AFFINITY, ALL_ZONES
from features.pipelines.user_item import (
    order_lines,
    select_kept_lines,
    select_recent_actions,
    select_viewed_items,
    user_item_history,
)

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

_HISTORY = ("n_orders", "quantity", "decayed_frequency", "first_at", "last_at")


class Tables(Protocol):
    """The tables of the facts and the connection that computes on them."""

    @property
    def connection(self) -> Backend: ...

    def read(self, table: str) -> ir.Table: ...


class RecentViews(NamedTuple):
    """Items viewed lately and the epoch seconds of the views, the latest first; aligned."""

    item_ids: tuple[str, ...] = ()
    viewed_at: tuple[int, ...] = ()


@dataclass(frozen=True)
class UserSlices:
    """Rows sorted by user: the rows `starts[k]:starts[k + 1]` belong to `users[k]`."""

    users: tuple[str, ...]
    starts: Int64Array

    def items(self) -> Iterator[tuple[str, slice]]:
        """Yield each user with its rows."""
        for user_id, first, last in zip(self.users, self.starts[:-1], self.starts[1:], strict=True):
            yield user_id, slice(int(first), int(last))


def compute_offline_histories(
    facts: Tables, as_of: datetime, user_ids: Sequence[str] | None = None
) -> dict[str, UserHistory]:
    """Return histories as of `as_of` from the events before it, by user_id.

    Users without a known purchase or view, and users who do not allow personalization, have no
    entry: use `UserHistory.unknown`. `user_ids` restricts the work to some users.
    """
    events = select_allowed_events(facts, user_ids)
    with open_temporary_table(facts, select_kept_lines(order_lines(events, as_of))) as lines:
        pairs = fetch_sorted(user_item_history(lines, as_of), ["user_id", "item_id"])
        features = compute_user_features(lines, facts.read("items"), as_of)
    item_ids = to_objects(pairs["item_id"])
    columns = {name: pairs[name].to_numpy() for name in _HISTORY}
    unknown = UserHistory.unknown(as_of)
    histories: dict[str, UserHistory] = {}
    for user_id, rows in slice_by_user(pairs["user_id"]).items():
        bought = {name: column[rows] for name, column in columns.items()}
        histories[user_id] = replace(
            unknown, user_id=user_id, item_ids=item_ids[rows], features=features[user_id], **bought
        )
    for user_id, (views, viewed_at) in find_viewed_items(events, as_of).items():
        history = histories.get(user_id, replace(unknown, user_id=user_id))
        histories[user_id] = replace(history, viewed_item_ids=views, viewed_at=viewed_at)
    for user_id, actions in find_recent_actions(events, as_of).items():
        histories[user_id] = replace(histories[user_id], visit=find_latest_visit(actions))
    return histories


def compute_offline_items(
    facts: Tables, as_of: datetime, zone: str = ALL_ZONES, *, orders_per_buyer: int = 1
) -> ItemFeatures:
    """Return the catalogue with its features as of `as_of`, for one zone or for all together.

    orders_per_buyer   so many orders (and views) of an item by one buyer count in a week
    """
    tables = item.ItemTables.read(facts.read, orders_per_buyer=orders_per_buyer)
    features = item.item_features(tables, as_of, zone=zone)
    items = build_item_features(fetch_sorted(features, ["item_id"]), as_of)
    rows = tables.items.select("item_id", "family_id", "title").to_pyarrow().to_pylist()
    texts = {row["item_id"]: row for row in rows}
    known = [texts.get(item_id, {}) for item_id in items.item_ids.tolist()]
    family, title = (
        np.array([row.get(name) or "" for row in known], object) for name in ("family_id", "title")
    )
    return replace(items, family=family, title=title)


def build_item_features(rows: pa.Table, as_of: datetime) -> ItemFeatures:
    """Return `ItemFeatures` from rows of `item_features` sorted by item_id."""
    texts = ("item_id", "zone", "category", "brand")
    columns = {
        name: rows[name].cast(pa.float32()).to_numpy()
        for name in rows.column_names
        if name not in texts
    }
    return ItemFeatures(
        as_of,
        to_objects(rows["item_id"]),
        columns,
        to_objects(rows["category"]),
        to_objects(rows["brand"]),
    )


def select_allowed_events(facts: Tables, user_ids: Sequence[str] | None = None) -> ir.Table:
    """Return the events of users who allow personalization, or of nobody.

    Of `user_ids` only, when given.
    """
    events = facts.read("events")
    if user_ids is not None:
        users = ibis.memtable(pa.table({"user_id": pa.array(user_ids, pa.string())}))
        events = events.semi_join(users, "user_id")
    return drop_refused_users(facts, events)


def drop_refused_users(facts: Tables, events: ir.Table) -> ir.Table:
    """Return the events without those of users who do not allow personalization."""
    users = facts.read("users")
    return events.anti_join(
        users.filter(~users.personalization_allowed.coalesce(True)).select("user_id"), "user_id"
    )


def compute_user_features(
    lines: ir.Table, items: ir.Table, as_of: datetime
) -> dict[str, dict[str, float]]:
    """Return user features by user and name; unknown ones are NaN."""
    rows = user.user_features(lines, as_of).to_pyarrow()
    names = [name for name in rows.column_names if name != "user_id"]
    values = (
        np.column_stack([rows[name].to_numpy() for name in names]).tolist() if rows.num_rows else []
    )
    features = {
        user_id: dict(zip(names, row, strict=True))
        for user_id, row in zip(rows["user_id"].to_pylist(), values, strict=True)
    }
    affinity = fetch_sorted(
        user.category_affinity(lines, items, as_of), ["user_id", "category"]
    ).to_pydict()
    for user_id, category, share in zip(*affinity.values(), strict=True):
        features[user_id][AFFINITY + category] = share
    return features


def find_viewed_items(events: ir.Table, as_of: datetime) -> dict[str, RecentViews]:
    """Return the items viewed lately, by user."""
    rows = fetch_sorted(select_viewed_items(events, as_of), ["user_id", "order"])
    item_ids, viewed_at = rows["item_id"].to_pylist(), rows["viewed_at"].to_pylist()
    return {
        user_id: RecentViews(tuple(item_ids[of_user]), tuple(viewed_at[of_user]))
        for user_id, of_user in slice_by_user(rows["user_id"]).items()
    }


def find_recent_actions(events: ir.Table, as_of: datetime) -> dict[str, list[Action]]:
    """Return the latest looks at items, by user; in no order."""
    rows = select_recent_actions(events, as_of).to_pyarrow()
    columns = [
        rows[name].to_pylist()
        for name in ("user_id", "item_id", "event_type", "session_id", "attributes")
    ]
    actions: dict[str, list[Action]] = {}
    for user_id, item_id, event_type, session_id, attributes, at_ms in zip(
        *columns, to_milliseconds(rows["occurred_at"]).tolist(), strict=True
    ):
        details = read_look_details(attributes)
        action = Action(at_ms, item_id, ACTION_KINDS[event_type], session_id, *details)
        actions.setdefault(user_id, []).append(action)
    return actions


@contextmanager
def open_temporary_table(facts: Tables, expression: ir.Table) -> Iterator[ir.Table]:
    """Compute `expression` once and yield it as a table that exists until the block ends."""
    connection = facts.connection
    name = f"temporary_{uuid.uuid4().hex}"
    connection._run_pre_execute_hooks(expression)
    connection.raw_sql(f"CREATE TEMP TABLE {name} AS {connection.compile(expression)}")
    try:
        yield connection.table(name)
    finally:
        connection.raw_sql(f"DROP TABLE {name}")


def fetch_sorted(expression: ir.Table, keys: Sequence[str]) -> pa.Table:
    """Return the rows in Arrow, sorted by `keys` (text by code point)."""
    return expression.order_by([expression[key] for key in keys]).to_pyarrow()


def slice_by_user(user_ids: pa.ChunkedArray) -> UserSlices:
    """Return the rows of each user in a sorted column."""
    column = user_ids.combine_chunks()
    if len(column) == 0:
        return UserSlices((), np.zeros(1, np.int64))
    codes = column.dictionary_encode()
    changed = np.flatnonzero(np.diff(codes.indices.to_numpy(), prepend=-1))
    return UserSlices(
        tuple(codes.dictionary.to_pylist()), np.append(changed, len(column)).astype(np.int64)
    )


def to_objects(texts: pa.ChunkedArray) -> ObjectArray:
    """Return text as an object array in which equal values are one object."""
    codes = texts.combine_chunks().dictionary_encode()
    values: ObjectArray = np.array(codes.dictionary.to_pylist(), dtype=object)
    return values[codes.indices.to_numpy()] if len(codes) else np.zeros(0, object)
