"""Materialization: features as of an instant become the version that the server reads.

Readers never see a part of it: a version is written beside the current one, and one rename makes it
current. Later events are merged from the events table when a user is read.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from configs.settings import Settings
from features.contracts.arrays import UInt64Array
from features.contracts.tables import TIMESTAMP as TIMESTAMP_TYPE
from features.contracts.visits import Action
from features.facts.erased_ids import read_stored_erasures
from features.facts.facts import Facts
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
    StoreLocation,
    apply_definitions,
    open_store,
    suppress_output,
)
from features.online.sealing import seal_events
from features.online.snapshots import (
    Version,
    current_version,
    event_digests_file,
    features_folder,
    items_file,
    load_items,
    locate_store,
    lock_features,
    publish,
    refused_file,
    source_folder,
    users_file,
    version_folder,
    write_items,
)
from features.online.user_state import NEVER, UserState, order_digest
from features.pipelines import item, user
from features.pipelines.expressions import before, promotion_kinds, zone_of
from features.pipelines.feature_constants import AFFINITY, ALL_ZONES
from features.pipelines.user_item import order_lines, select_kept_lines, user_item_history

__all__ = ["MaterializeReport", "load_items", "materialize"]

KEPT_SNAPSHOTS = 4
# The zone of a line of which only a refund is known.
_NO_ZONE = ""
# The transaction of an event this old may still have been open when the facts were read: such
# events are read again, and those that were seen are recognised by their ids.
_SLACK = timedelta(minutes=1)
# Of all events, for a zone that neither the settings nor the price list know.
_LEAST_SHARE = 0.01


@dataclass(frozen=True)
class MaterializeReport:
    """The result of a materialization."""

    version: str
    as_of: datetime
    n_users: int
    n_pairs: int
    n_items: int
    zones: tuple[str, ...]
    n_sealed: int
    seconds: float


def materialize(
    facts: Facts,
    settings: Settings,
    as_of: datetime,
    progress: Callable[[str], None] = lambda _: None,
) -> MaterializeReport:
    """Seal old received events, then compute and publish all features as of `as_of`.

    `as_of` is cut to the whole second.
    """
    started = time.monotonic()
    as_of = as_of.astimezone(UTC).replace(microsecond=0)
    stamp = as_of.strftime("%Y%m%dT%H%M%S")
    name = f"{stamp}_{uuid.uuid4().hex[:8]}"
    received_after = datetime.now(UTC) - _SLACK
    with lock_features(settings):
        target = version_folder(settings, name)
        target.mkdir(parents=True)
        try:
            n_sealed = seal_events(facts, settings, min(as_of, settings.business_clock().now()))
            progress("features of users")
            events = _drop_erased_users(settings, facts.read("events"))
            rows = compute_user_rows(facts, events, as_of)
            _write_digests_of_ids(facts, settings, name, as_of, rows[USER_STATE]["user_id"])
            progress("features of items")
            kinds = promotion_kinds(facts.read("promotions"))
            items = compute_item_rows(
                facts, events, as_of, kinds, orders_per_buyer=settings.orders_per_buyer
            )
            for zone in items:
                write_items(
                    target / items_file(tuple(items), zone),
                    histories.build_item_features(items[zone], as_of),
                )
            progress("online rows")
            location = locate_store(settings, name)
            rows[ITEM_FEATURES] = _add_timestamp(pa.concat_tables(items.values()), as_of)
            for view, table in rows.items():
                _write_parquet(source_folder(settings, name, view) / f"{stamp}.parquet", table)
            _write_online(location, kinds, as_of)
            version = Version(
                name, as_of, received_after, tuple(items), settings.redis_url is not None
            )
            previous = current_version(settings)
            publish(settings, version)
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise
        _remove_old_versions(settings, keep=[name] + ([previous.name] if previous else []))
    n_pairs = int(
        pa.compute.sum(pa.compute.list_value_length(rows[USER_ITEM]["item_ids"])).as_py() or 0
    )
    return MaterializeReport(
        version=name,
        as_of=as_of,
        n_users=rows[USER_STATE].num_rows,
        n_pairs=n_pairs,
        n_items=items[ALL_ZONES].num_rows,
        zones=tuple(items),
        n_sealed=n_sealed,
        seconds=round(time.monotonic() - started, 1),
    )


def _write_digests_of_ids(
    facts: Facts, settings: Settings, name: str, as_of: datetime, user_ids: pa.ChunkedArray
) -> None:
    """Write the digests of the events in a version, of its users, and of those who refused."""
    known = before(facts.read_all_events(), as_of).select("event_id").to_pyarrow()
    write_digests(event_digests_file(settings, name), known["event_id"].to_pylist())
    write_digests(users_file(settings, name), user_ids.to_pylist())
    write_digests(refused_file(settings, name), read_refused_users(facts))


def _drop_erased_users(settings: Settings, events: ir.Table) -> ir.Table:
    """Return the events without those of people of whom an erasure is not finished."""
    erasures = read_stored_erasures(settings)
    if not erasures.until:
        return events
    users = events.filter(events.user_id.notnull()).select("user_id").distinct()
    erased = erasures.list_users(users.to_pyarrow()["user_id"].to_pylist())
    return events.filter(events.user_id.isnull() | events.user_id.notin(erased))


class RecentLooks(NamedTuple):
    """What users looked at lately: each item once, and each action of the latest ones."""

    viewed: Mapping[str, histories.RecentViews]
    actions: Mapping[str, Sequence[Action]]

    def find(self, user_id: str) -> tuple[dict[str, int], tuple[Action, ...]]:
        """Return the views and the actions of a user, as UserState holds them."""
        views = self.viewed.get(user_id, histories.RecentViews())
        return dict(zip(*views, strict=True)), tuple(self.actions.get(user_id, ()))


def compute_user_rows(facts: Facts, events: ir.Table, as_of: datetime) -> dict[str, pa.Table]:
    """Return the rows of user_features, user_item and user_state, with their event timestamp."""
    allowed = histories.drop_refused_users(facts, events)
    with histories.open_temporary_table(facts, order_lines(allowed, as_of)) as lines:
        kept_lines = select_kept_lines(lines)
        pairs = histories.fetch_sorted(user_item_history(kept_lines, as_of), ["user_id", "item_id"])
        features = histories.compute_user_features(kept_lines, facts.read("items"), as_of)
        all_lines = histories.fetch_sorted(lines, ["user_id", "item_id", "at"])
    looks = RecentLooks(
        histories.find_viewed_items(allowed, as_of), histories.find_recent_actions(allowed, as_of)
    )
    states = pack_states(all_lines, looks, read_refused_users(facts))
    return {
        USER_FEATURES: _add_timestamp(build_feature_table(features), as_of),
        USER_ITEM: _add_timestamp(build_list_table(pairs), as_of),
        USER_STATE: _add_timestamp(states, as_of),
    }


def read_refused_users(facts: Facts) -> list[str]:
    """Return the users who do not allow personalization, as imported."""
    users = facts.read("users")
    refused: list[str] = (
        users.filter(~users.personalization_allowed.coalesce(True)).user_id.to_pyarrow().to_pylist()
    )
    return refused


def build_feature_table(features: dict[str, dict[str, float]]) -> pa.Table:
    """Return user_features rows: the fixed columns, and category affinity as two aligned lists."""
    affinity = [_select_prefixed(values, AFFINITY) for values in features.values()]
    columns: dict[str, pa.Array] = {"user_id": pa.array(features, pa.string())}
    for name in user.NAMES:
        columns[name] = pa.array([values[name] for values in features.values()], pa.float64())
    columns["affinity_categories"] = pa.array(
        [list(shares) for shares in affinity], pa.list_(pa.string())
    )
    columns["affinity_shares"] = pa.array(
        [list(shares.values()) for shares in affinity], pa.list_(pa.float64())
    )
    return pa.table(columns)


def _select_prefixed(values: Mapping[str, float], prefix: str) -> dict[str, float]:
    """Return the values whose names begin with `prefix`, without it."""
    return {
        name.removeprefix(prefix): value
        for name, value in values.items()
        if name.startswith(prefix)
    }


def build_list_table(pairs: pa.Table) -> pa.Table:
    """Return user_item rows: one per user, lists aligned by item.

    `pairs` are sorted by user and item.
    """
    cut = histories.slice_by_user(pairs["user_id"])
    offsets = pa.array(cut.starts, pa.int32())
    columns: dict[str, pa.Array] = {"user_id": pa.array(cut.users, pa.string())}
    for name in pairs.column_names:
        if name != "user_id":
            values = pairs[name].combine_chunks()
            columns[f"{name}s" if name == "item_id" else name] = pa.ListArray.from_arrays(
                offsets, values
            )
    return pa.table(columns)


def pack_states(lines: pa.Table, looks: RecentLooks, refused: Sequence[str]) -> pa.Table:
    """Return user_state rows.

    `lines` are order lines sorted by user and item, `refused` the users who do not allow
    personalization.
    """
    states: dict[str, bytes] = {}
    item_ids = histories.to_objects(lines["item_id"])
    zones = histories.to_objects(lines["zone"].fill_null(_NO_ZONE))
    columns = {
        "order": _digest_orders(lines["order_key"]),
        "at": lines["at"].fill_null(NEVER).cast(pa.int64()).to_numpy(),
        "bought": lines["bought"].to_numpy(),
        "refunded": lines["refunded"].to_numpy(),
        "paid": lines["paid_minor"].to_numpy(),
        "listed": lines["list_minor"].fill_null(np.nan).to_numpy(),
    }
    without_lines = dict.fromkeys(looks.viewed)
    for user_id, rows in histories.slice_by_user(lines["user_id"]).items():
        user_items = tuple(dict.fromkeys(item_ids[rows]))
        user_zones = tuple(sorted(set(zones[rows]) - {_NO_ZONE}))
        item_index = {item_id: index for index, item_id in enumerate(user_items)}
        zone_index = {_NO_ZONE: NEVER} | {zone: index for index, zone in enumerate(user_zones)}
        indexes = {
            "item": np.array([item_index[item_id] for item_id in item_ids[rows]], np.int32),
            "zone": np.array([zone_index[zone] for zone in zones[rows]], np.int32),
        }
        without_lines.pop(user_id, None)
        views, actions = looks.find(user_id)
        user_lines = indexes | {name: column[rows] for name, column in columns.items()}
        state = UserState(user_items, user_zones, user_lines, views, actions=actions)
        states[user_id] = state.pack()
    for user_id in without_lines:
        views, actions = looks.find(user_id)
        states[user_id] = replace(UserState.empty(), viewed=views, actions=actions).pack()
    states.update(dict.fromkeys(refused, replace(UserState.empty(), allowed=False).pack()))
    return pa.table(
        {"user_id": pa.array(states, pa.string()), STATE: pa.array(states.values(), pa.binary())}
    )


def compute_item_rows(
    facts: Facts,
    events: ir.Table,
    as_of: datetime,
    kinds: Sequence[str],
    *,
    orders_per_buyer: int = 1,
) -> dict[str, pa.Table]:
    """Return item_features rows by zone, sorted by item.

    All zones together come first, then each zone where there are several.
    """
    names = _list_zones(facts, events)
    zones = [ALL_ZONES, *(names if len(names) > 1 else [])]
    stored = item.ItemTables.read(facts.read, orders_per_buyer=orders_per_buyer)
    tables = replace(stored, events=events)
    if len(zones) == 1:
        return {ALL_ZONES: _fetch_item_rows(tables, as_of, kinds, ALL_ZONES)}
    known, prices = before(events, as_of), stored.price_history
    # Read once, and in the order of zones: each zone then reads its own part.
    with (
        histories.open_temporary_table(facts, known.order_by(zone_of(known))) as known,
        histories.open_temporary_table(facts, prices.order_by(zone_of(prices))) as prices,
    ):
        tables = replace(stored, events=known, price_history=prices)
        return {zone: _fetch_item_rows(tables, as_of, kinds, zone) for zone in zones}


def _fetch_item_rows(
    tables: item.ItemTables, as_of: datetime, kinds: Sequence[str], zone: str
) -> pa.Table:
    features = item.item_features(tables, as_of, kinds=kinds, zone=zone)
    return histories.fetch_sorted(features, ["item_id"])


def _list_zones(facts: Facts, events: ir.Table) -> list[str]:
    """Return the zones with an event or with stock, sorted.

    Zones of events that the shop does not know, as earlier versions took them from anybody, need a
    share of the events: each zone costs the features of all items again.
    """
    counted = events.group_by(zone=zone_of(events)).aggregate(n=events.count()).to_pyarrow()
    counts = dict(zip(counted["zone"].to_pylist(), counted["n"].to_pylist(), strict=True))
    stock = facts.read("stock")
    in_stock = stock.select(zone=zone_of(stock)).distinct().to_pyarrow()["zone"].to_pylist()
    known, least = facts.find_zone_rules().known, _LEAST_SHARE * sum(counts.values())
    with_events = {zone for zone, n in counts.items() if zone in known or n >= least}
    return sorted(with_events | set(in_stock))


def _write_online(location: StoreLocation, kinds: Sequence[str], as_of: datetime) -> None:
    store = open_store(location)
    apply_definitions(store, location, kinds)
    with suppress_output():
        store.materialize(as_of - timedelta(seconds=1), as_of, feature_views=list(ONLINE))


def _add_timestamp(rows: pa.Table, as_of: datetime) -> pa.Table:
    return rows.append_column(TIMESTAMP, pa.array([as_of] * rows.num_rows, TIMESTAMP_TYPE))


def _write_parquet(path: Path, rows: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_suffix(".staging")
    pq.write_table(rows, staging)
    staging.replace(path)


def _digest_orders(order_keys: pa.ChunkedArray) -> UInt64Array:
    codes = order_keys.combine_chunks().dictionary_encode()
    digests = np.fromiter((order_digest(key) for key in codes.dictionary.to_pylist()), np.uint64)
    return digests[codes.indices.to_numpy()] if len(codes) else np.zeros(0, np.uint64)


def _remove_old_versions(settings: Settings, keep: Sequence[str]) -> None:
    for path in (features_folder(settings) / "versions").iterdir():
        if path.name not in keep:
            forget_version(settings, path.name)
            shutil.rmtree(path, ignore_errors=True)
    for view in OFFLINE:
        snapshots = sorted((features_folder(settings) / "offline" / view).glob("*.parquet"))
        for path in snapshots[:-KEPT_SNAPSHOTS]:
            path.unlink()
