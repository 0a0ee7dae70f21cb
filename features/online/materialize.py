"""Materializing: computes the features as of an instant and makes them the version that the server
reads.

Nobody sees half of it: a version is written beside the current one, and one rename makes it
current. What happens after `as_of` is merged from the events table when a user is read.
"""

from __future__ import annotations

import fcntl
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from configs.settings import Settings
from features.contracts.tables import TIMESTAMP as TIMESTAMP_TYPE
from features.facts.known_events import write_digests
from features.online import histories
from features.online.erasure import forget_version
from features.online.feast_definitions import (
    ITEM_FEATURES,
    OFFLINE,
    ONLINE,
    STATE,
    TIMESTAMP,
    USER_FEATURES,
    USER_ITEM,
    USER_STATE,
    StorePlace,
    apply_definitions,
    open_store,
    quiet,
)
from features.online.sealing import seal
from features.online.snapshots import (
    Version,
    current_version,
    folder,
    included_file,
    items_file,
    load_items,
    publish,
    source_folder,
    store_place,
    version_folder,
    write_items,
)
from features.online.user_state import NEVER, UserState, order_digest
from features.pipelines import item, user
from features.pipelines.expressions import before, promotion_kinds, zone_of
from features.pipelines.rules import AFFINITY, ALL_ZONES
from features.pipelines.user_item import history_of, kept_lines, order_lines

__all__ = ["MaterializeReport", "load_items", "materialize"]

KEPT_SNAPSHOTS = 4
# The zone of a line of which only a refund is known.
_NOWHERE = ""
# Events whose transaction may still have been open when the facts were read: looked for, and told
# from those that were seen by their ids.
_SLACK = timedelta(minutes=1)


@dataclass(frozen=True)
class MaterializeReport:
    """What a materialization made."""

    version: str
    as_of: datetime
    n_users: int
    n_pairs: int
    n_items: int
    zones: tuple[str, ...]
    n_sealed: int
    seconds: float


def materialize(
    facts: Any,
    settings: Settings,
    as_of: datetime,
    progress: Callable[[str], None] = lambda _: None,
) -> MaterializeReport:
    """Seals old received events, then computes and publishes all features as of `as_of` (to the
    whole second)."""
    started = time.monotonic()
    as_of = as_of.astimezone(UTC).replace(microsecond=0)
    stamp = as_of.strftime("%Y%m%dT%H%M%S")
    name = f"{stamp}_{uuid.uuid4().hex[:8]}"
    received_after = datetime.now(UTC) - _SLACK
    with _locked(settings):
        target = version_folder(settings, name)
        target.mkdir(parents=True)
        try:
            n_sealed = seal(facts, settings, min(as_of, settings.business_clock().now()))
            progress("features of users")
            events = facts.read("events")
            rows = user_rows(facts, events, as_of)
            known = before(events, as_of).select("event_id").to_pyarrow()
            write_digests(included_file(settings, name), known["event_id"].to_pylist())
            progress("features of items")
            kinds = promotion_kinds(facts.read("promotions"))
            items = item_rows(facts, events, as_of, kinds)
            for zone in items:
                write_items(
                    target / items_file(tuple(items), zone), histories.items_of(items[zone], as_of)
                )
            progress("online rows")
            place = store_place(settings, name)
            rows[ITEM_FEATURES] = _stamped(pa.concat_tables(items.values()), as_of)
            for view, table in rows.items():
                _write_parquet(source_folder(settings, name, view) / f"{stamp}.parquet", table)
            _write_online(place, kinds, as_of)
            version = Version(
                name, as_of, received_after, tuple(items), settings.redis_url is not None
            )
            previous = current_version(settings)
            publish(settings, version)
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise
        _prune(settings, keep=[name] + ([previous.name] if previous else []))
    n_pairs = int(
        pa.compute.sum(pa.compute.list_value_length(rows[USER_ITEM]["item_ids"])).as_py() or 0
    )
    return MaterializeReport(
        name,
        as_of,
        rows[USER_STATE].num_rows,
        n_pairs,
        items[ALL_ZONES].num_rows,
        tuple(items),
        n_sealed,
        round(time.monotonic() - started, 1),
    )


def user_rows(facts: Any, events: Any, as_of: datetime) -> dict[str, pa.Table]:
    """The rows of user_features, user_item and user_state, each with its event timestamp."""
    allowed = histories.without_refused(facts, events)
    with histories.temporary(facts, order_lines(allowed, as_of)) as lines:
        kept = kept_lines(lines)
        pairs = histories.sorted_arrow(history_of(kept, as_of), ["user_id", "item_id"])
        features = histories.user_feature_rows(kept, facts.read("items"), as_of)
        all_lines = histories.sorted_arrow(lines, ["user_id", "item_id", "at"])
    viewed = histories.viewed_by_user(allowed, as_of)
    refused = facts.read("users").filter(
        lambda users: ~users.personalization_allowed.coalesce(True)
    )
    states = packed_states(all_lines, viewed, refused.user_id.to_pyarrow().to_pylist())
    return {
        USER_FEATURES: _stamped(feature_table(features), as_of),
        USER_ITEM: _stamped(list_table(pairs), as_of),
        USER_STATE: _stamped(states, as_of),
    }


def feature_table(features: dict[str, dict[str, float]]) -> pa.Table:
    """user_features rows: the fixed columns, and category affinity as two aligned lists."""
    prefix = len(AFFINITY)
    affinity = [
        {name[prefix:]: value for name, value in values.items() if name.startswith(AFFINITY)}
        for values in features.values()
    ]
    columns: dict[str, Any] = {"user_id": pa.array(features, pa.string())}
    for name in user.NAMES:
        columns[name] = pa.array([values[name] for values in features.values()], pa.float64())
    columns["affinity_categories"] = pa.array(
        [list(each) for each in affinity], pa.list_(pa.string())
    )
    columns["affinity_shares"] = pa.array(
        [list(each.values()) for each in affinity], pa.list_(pa.float64())
    )
    return pa.table(columns)


def list_table(pairs: pa.Table) -> pa.Table:
    """user_item rows: one per user, lists aligned by item, from pairs sorted by user and item."""
    cut = histories.slices(pairs["user_id"])
    offsets = pa.array(cut.starts, pa.int32())
    columns: dict[str, Any] = {"user_id": pa.array(cut.users, pa.string())}
    for name in pairs.column_names:
        if name != "user_id":
            values = pairs[name].combine_chunks()
            columns[f"{name}s" if name == "item_id" else name] = pa.ListArray.from_arrays(
                offsets, values
            )
    return pa.table(columns)


def packed_states(
    lines: pa.Table,
    viewed: dict[str, tuple[tuple[str, ...], tuple[int, ...]]],
    refused: Sequence[str],
) -> pa.Table:
    """user_state rows from order lines sorted by user and item, the views, and users who refuse
    personalization."""
    states: dict[str, bytes] = {}
    item_ids, zones = (
        histories.objects(lines["item_id"]),
        histories.objects(lines["zone"].fill_null(_NOWHERE)),
    )
    columns = {
        "order": _digests(lines["order_key"]),
        "at": lines["at"].fill_null(NEVER).cast(pa.int64()).to_numpy(),
        "bought": lines["bought"].to_numpy(),
        "refunded": lines["refunded"].to_numpy(),
        "paid": lines["paid_minor"].to_numpy(),
        "listed": lines["list_minor"].fill_null(np.nan).to_numpy(),
    }
    left = dict(viewed)
    for user_id, rows in histories.slices(lines["user_id"]).items():
        mine = dict.fromkeys(item_ids[rows])
        names = tuple(sorted(set(zones[rows]) - {_NOWHERE}))
        places = {name: place for place, name in enumerate(mine)}
        zone_places = {_NOWHERE: NEVER} | {name: place for place, name in enumerate(names)}
        indexes = {
            "item": np.array([places[each] for each in item_ids[rows]], np.int32),
            "zone": np.array([zone_places[each] for each in zones[rows]], np.int32),
        }
        views = dict(zip(*left.pop(user_id, ((), ())), strict=True))
        state = UserState(
            tuple(mine), names, indexes | {k: v[rows] for k, v in columns.items()}, views
        )
        states[user_id] = state.packed()
    for user_id, (views_ids, viewed_at) in left.items():
        states[user_id] = replace(
            UserState.empty(), viewed=dict(zip(views_ids, viewed_at, strict=True))
        ).packed()
    states.update(dict.fromkeys(refused, replace(UserState.empty(), allowed=False).packed()))
    return pa.table(
        {"user_id": pa.array(states, pa.string()), STATE: pa.array(states.values(), pa.binary())}
    )


def item_rows(
    facts: Any, events: Any, as_of: datetime, kinds: Sequence[str]
) -> dict[str, pa.Table]:
    """item_features rows by zone, sorted by item: all zones together first, then each, when there
    are several.

    A zone is one where something happened or something is on hand.
    """
    read = facts.read
    zones = events.select(zone=zone_of(events)).union(
        read("stock").select(zone=zone_of(read("stock"))), distinct=True
    )
    names = zones.order_by("zone").to_pyarrow()["zone"].to_pylist()
    rows: dict[str, pa.Table] = {}
    for zone in [ALL_ZONES] + (names if len(names) > 1 else []):
        features = item.item_features(
            events,
            read("items"),
            read("promotions"),
            read("price_history"),
            as_of,
            stock=read("stock"),
            costs=read("costs"),
            kinds=kinds,
            zone=zone,
        )
        rows[zone] = histories.sorted_arrow(features, ["item_id"])
    return rows


def _write_online(place: StorePlace, kinds: Sequence[str], as_of: datetime) -> None:
    store = open_store(place)
    apply_definitions(store, place, kinds)
    with quiet():
        store.materialize(as_of - timedelta(seconds=1), as_of, feature_views=list(ONLINE))


def _stamped(rows: pa.Table, as_of: datetime) -> pa.Table:
    return rows.append_column(TIMESTAMP, pa.array([as_of] * rows.num_rows, TIMESTAMP_TYPE))


def _write_parquet(path: Path, rows: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_suffix(".staging")
    pq.write_table(rows, staging)
    staging.replace(path)


def _digests(order_keys: pa.ChunkedArray) -> Any:
    codes = order_keys.combine_chunks().dictionary_encode()
    digests = np.fromiter((order_digest(key) for key in codes.dictionary.to_pylist()), np.uint64)
    return digests[codes.indices.to_numpy()] if len(codes) else np.zeros(0, np.uint64)


def _prune(settings: Settings, keep: Sequence[str]) -> None:
    for path in (folder(settings) / "versions").iterdir():
        if path.name not in keep:
            forget_version(settings, path.name)
            shutil.rmtree(path, ignore_errors=True)
    for view in OFFLINE:
        for path in sorted((folder(settings) / "offline" / view).glob("*.parquet"))[
            :-KEPT_SNAPSHOTS
        ]:
            path.unlink()


@contextmanager
def _locked(settings: Settings) -> Iterator[None]:
    """One materialization at a time, across processes; the lock goes with its process."""
    folder(settings).mkdir(parents=True, exist_ok=True)
    with (folder(settings) / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
