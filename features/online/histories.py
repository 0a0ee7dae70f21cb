"""Histories and item features computed from the facts, as of any instant: what training and
evaluation see."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

import ibis
import numpy as np
import pyarrow as pa

from features.contracts.arrays import Int64Array, ObjectArray
from features.contracts.histories import UserHistory
from features.contracts.recommendations import ItemFeatures
from features.pipelines import item, user
from features.pipelines.rules import AFFINITY, ALL_ZONES
from features.pipelines.user_item import history_of, kept_lines, order_lines, viewed_items

_HISTORY = ("n_orders", "quantity", "decayed_frequency", "first_at", "last_at")


class Tables(Protocol):
    """What this module needs of the facts."""

    @property
    def connection(self) -> Any: ...

    def read(self, table: str) -> Any: ...


@dataclass(frozen=True)
class Slices:
    """Rows sorted by user: row `starts[k]:starts[k + 1]` belong to `users[k]`."""

    users: tuple[str, ...]
    starts: Int64Array

    def items(self) -> Iterator[tuple[str, slice]]:
        """Each user with its rows."""
        for user_id, first, last in zip(self.users, self.starts[:-1], self.starts[1:], strict=True):
            yield user_id, slice(int(first), int(last))


def offline_histories(
    facts: Tables, as_of: datetime, user_ids: Sequence[str] | None = None
) -> dict[str, UserHistory]:
    """Histories as of `as_of` from the events before it, by user_id.

    Users without a known purchase or view, and users who do not allow personalization, have no
    entry: take `UserHistory.unknown`. `user_ids` restricts the work to some users.
    """
    events = allowed_events(facts, user_ids)
    with temporary(facts, kept_lines(order_lines(events, as_of))) as lines:
        pairs = sorted_arrow(history_of(lines, as_of), ["user_id", "item_id"])
        features = user_feature_rows(lines, facts.read("items"), as_of)
    item_ids = objects(pairs["item_id"])
    columns = {name: pairs[name].to_numpy() for name in _HISTORY}
    unknown = UserHistory.unknown(as_of)
    histories: dict[str, UserHistory] = {}
    for user_id, rows in slices(pairs["user_id"]).items():
        bought = {name: column[rows] for name, column in columns.items()}
        histories[user_id] = replace(
            unknown, user_id=user_id, item_ids=item_ids[rows], features=features[user_id], **bought
        )
    for user_id, (views, viewed_at) in viewed_by_user(events, as_of).items():
        history = histories.get(user_id, replace(unknown, user_id=user_id))
        histories[user_id] = replace(history, viewed_item_ids=views, viewed_at=viewed_at)
    return histories


def offline_items(facts: Tables, as_of: datetime, zone: str = ALL_ZONES) -> ItemFeatures:
    """The catalogue with its features as of `as_of`, for one zone or for all together."""
    features = item.item_features(
        facts.read("events"),
        facts.read("items"),
        facts.read("promotions"),
        facts.read("price_history"),
        as_of,
        stock=facts.read("stock"),
        costs=facts.read("costs"),
        zone=zone,
    )
    return items_of(sorted_arrow(features, ["item_id"]), as_of)


def items_of(rows: pa.Table, as_of: datetime) -> ItemFeatures:
    """`ItemFeatures` from rows of `item_features` sorted by item_id."""
    texts = ("item_id", "zone", "category", "brand")
    columns = {
        name: rows[name].cast(pa.float32()).to_numpy()
        for name in rows.column_names
        if name not in texts
    }
    return ItemFeatures(
        as_of, objects(rows["item_id"]), columns, objects(rows["category"]), objects(rows["brand"])
    )


def allowed_events(facts: Tables, user_ids: Sequence[str] | None = None) -> Any:
    """The events, without those of users who do not allow personalization; of `user_ids` only, when
    given."""
    events = facts.read("events")
    if user_ids is not None:
        wanted = ibis.memtable(pa.table({"user_id": pa.array(user_ids, pa.string())}))
        events = events.semi_join(wanted, "user_id")
    return without_refused(facts, events)


def without_refused(facts: Tables, events: Any) -> Any:
    """The events of those who allow personalization."""
    users = facts.read("users")
    return events.anti_join(
        users.filter(~users.personalization_allowed.coalesce(True)).select("user_id"), "user_id"
    )


def user_feature_rows(lines: Any, items: Any, as_of: datetime) -> dict[str, dict[str, float]]:
    """User features by user and name; unknown ones are NaN."""
    rows = user.features_of(lines, as_of).to_pyarrow()
    names = [name for name in rows.column_names if name != "user_id"]
    values = (
        np.column_stack([rows[name].to_numpy() for name in names]).tolist() if rows.num_rows else []
    )
    known = {
        user_id: dict(zip(names, each, strict=True))
        for user_id, each in zip(rows["user_id"].to_pylist(), values, strict=True)
    }
    affinity = sorted_arrow(
        user.category_affinity(lines, items, as_of), ["user_id", "category"]
    ).to_pydict()
    for user_id, category, share in zip(*affinity.values(), strict=True):
        known[user_id][AFFINITY + category] = share
    return known


def viewed_by_user(
    events: Any, as_of: datetime
) -> dict[str, tuple[tuple[str, ...], tuple[int, ...]]]:
    """Items viewed lately and when, latest first, by user."""
    rows = sorted_arrow(viewed_items(events, as_of), ["user_id", "place"])
    item_ids, viewed_at = rows["item_id"].to_pylist(), rows["viewed_at"].to_pylist()
    return {
        user_id: (tuple(item_ids[each]), tuple(viewed_at[each]))
        for user_id, each in slices(rows["user_id"]).items()
    }


@contextmanager
def temporary(facts: Tables, expression: Any) -> Iterator[Any]:
    """Computes `expression` once; yields it as a table that lives as long as the block."""
    connection = facts.connection
    name = f"temporary_{uuid.uuid4().hex}"
    connection._run_pre_execute_hooks(expression)
    connection.raw_sql(f"CREATE TEMP TABLE {name} AS {connection.compile(expression)}")
    try:
        yield connection.table(name)
    finally:
        connection.raw_sql(f"DROP TABLE {name}")


def sorted_arrow(expression: Any, keys: Sequence[str]) -> pa.Table:
    """The rows in Arrow, sorted by `keys` (text by code point)."""
    return expression.order_by([expression[key] for key in keys]).to_pyarrow()


def slices(user_ids: pa.ChunkedArray) -> Slices:
    """Where each user's rows begin in a sorted column."""
    column = user_ids.combine_chunks()
    if len(column) == 0:
        return Slices((), np.zeros(1, np.int64))
    codes = column.dictionary_encode()
    changed = np.flatnonzero(np.diff(codes.indices.to_numpy(), prepend=-1))
    return Slices(
        tuple(codes.dictionary.to_pylist()), np.append(changed, len(column)).astype(np.int64)
    )


def objects(texts: pa.ChunkedArray) -> ObjectArray:
    """Text as an object array in which equal values are one object."""
    codes = texts.combine_chunks().dictionary_encode()
    values: ObjectArray = np.array(codes.dictionary.to_pylist(), dtype=object)
    return values[codes.indices.to_numpy()] if len(codes) else np.zeros(0, object)
