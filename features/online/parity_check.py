"""`shopwright features check`: do the feature store, the direct computation and the online rows say
the same?"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.errors import ShopwrightError
from features.contracts.histories import UserHistory
from features.contracts.seeds import generator
from features.database import engine as open_engine
from features.database import events as received
from features.database import has_table, metadata
from features.online.feast_definitions import (
    ITEM_FEATURES,
    OFFLINE,
    TIMESTAMP,
    USER_ITEM,
    USER_STATE,
    StorePlace,
    apply_definitions,
    open_store,
    quiet,
)
from features.online.histories import offline_histories
from features.online.materialize import item_rows, user_rows
from features.online.online_store import OnlineHistories
from features.online.snapshots import current_version
from features.pipelines.expressions import promotion_kinds
from features.pipelines.rules import ALL_ZONES

SAMPLE = 200
_EARLIER = timedelta(days=28)
_ROW = "row_id"
# float32 sums in another order may differ in the last digits.
_RELATIVE = 1e-5


@dataclass(frozen=True)
class Compared:
    """One comparison: how many values, how many differ, and the first that does."""

    name: str
    n_rows: int
    n_values: int
    n_different: int
    example: str | None = None


@dataclass(frozen=True)
class CheckReport:
    """What was compared as of `as_of`."""

    as_of: datetime
    comparisons: tuple[Compared, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether every value was the same, and there was something to compare."""
        return all(each.n_different == 0 for each in self.comparisons) and any(
            c.n_values for c in self.comparisons
        )


def check(facts: Any, settings: Settings, as_of: datetime) -> CheckReport:
    """Joins a sample of users and items point in time through the feature store and compares with
    direct values.

    Two snapshots, 28 days apart, are joined at instants before, between and after them: each must
    give the snapshot that was known then, or nothing. Then, when features are materialized, online
    histories are compared with offline ones. Raises ShopwrightError when the join loses or repeats
    a row.
    """
    started = time.monotonic()
    as_of = as_of.astimezone(UTC).replace(microsecond=0)
    rng = generator(settings.seed, "features check")
    comparisons = list(_joined(facts, as_of, rng))
    comparisons += _online(facts, settings, rng)
    return CheckReport(as_of, tuple(comparisons), round(time.monotonic() - started, 1))


def _joined(facts: Any, as_of: datetime, rng: np.random.Generator) -> Iterator[Compared]:
    kinds = promotion_kinds(facts.read("promotions"))
    users = _sampled_users(facts, rng)
    snapshots = {at: _snapshot(facts, at, users, kinds) for at in (as_of - _EARLIER, as_of)}
    with tempfile.TemporaryDirectory(prefix="shopwright-check-") as name:
        folder = Path(name)
        for at, tables in snapshots.items():
            for view, rows in tables.items():
                (folder / view).mkdir(exist_ok=True)
                pq.write_table(rows, folder / view / f"{at:%Y%m%dT%H%M%S}.parquet")
        sources = {view: str(folder / view / "*.parquet") for view in (*OFFLINE, USER_STATE)}
        place = StorePlace(
            "shopwright_check", folder / "registry.db", folder / "online.db", None, sources
        )
        store = open_store(place)
        apply_definitions(store, place, kinds)
        for view in OFFLINE:
            yield _compare_view(
                store, view, {at: tables[view] for at, tables in snapshots.items()}, rng
            )


def _sampled_users(facts: Any, rng: np.random.Generator) -> list[str]:
    known = facts.read("events").user_id.to_pyarrow().unique().drop_null().sort().to_pylist()
    return [known[place] for place in rng.permutation(len(known))[:SAMPLE]]


def _snapshot(
    facts: Any, at: datetime, users: Sequence[str], kinds: Sequence[str]
) -> dict[str, pa.Table]:
    events = facts.read("events")
    items = item_rows(facts, events, at, kinds)[ALL_ZONES]
    rows = user_rows(facts, events.filter(events.user_id.isin(users)), at)
    stamps = pa.array([at] * items.num_rows, rows[USER_ITEM][TIMESTAMP].type)
    return rows | {ITEM_FEATURES: items.append_column(TIMESTAMP, stamps)}


def _compare_view(
    store: Any, view: str, tables: Mapping[datetime, pa.Table], rng: np.random.Generator
) -> Compared:
    """Joins sampled entities at instants before, between and after the snapshots."""
    keys = ["item_id", "zone"] if view == ITEM_FEATURES else ["user_id"]
    earlier, later = tables
    newest = tables[later]
    chosen = newest.take(rng.permutation(newest.num_rows)[:SAMPLE]).select(keys)
    instants = {
        earlier - timedelta(days=1): None,
        earlier + timedelta(days=14): earlier,
        later: later,
    }
    entities = pa.concat_tables(
        chosen.append_column(TIMESTAMP, pa.array([at] * chosen.num_rows, newest[TIMESTAMP].type))
        for at in instants
    )
    entities = entities.append_column(_ROW, pa.array(np.arange(entities.num_rows)))
    names = [
        name for name in newest.column_names if name not in (*keys, TIMESTAMP, "category", "brand")
    ]
    with quiet():
        joined = store.get_historical_features(
            entities.to_pandas(), [f"{view}:{name}" for name in names]
        ).to_arrow()
    joined = joined.sort_by(_ROW)  # the feature store gives no order
    if joined[_ROW].to_pylist() != list(range(entities.num_rows)):
        raise ShopwrightError(
            f"the join gave {joined.num_rows} rows for {entities.num_rows}",
            where=view,
            hint="Do not train on it",
        )
    given = joined.select(names).to_pylist()
    expected: list[dict[str, Any] | None] = []
    wanted = chosen.to_pylist()
    for source in instants.values():
        known = {} if source is None else _by_key(tables[source], keys, wanted)
        expected += [known.get(tuple(each.values())) for each in wanted]
    pairs = [
        (f"{entities[keys[0]][row]} {name}", values[name], None if truth is None else truth[name])
        for row, (values, truth) in enumerate(zip(given, expected, strict=True))
        for name in names
    ]
    return _compared(f"{view}: point-in-time join", entities.num_rows, pairs)


def _by_key(
    rows: pa.Table, keys: list[str], wanted: list[dict[str, Any]]
) -> dict[tuple[Any, ...], dict[str, Any]]:
    chosen = pa.compute.is_in(rows[keys[0]], pa.array([each[keys[0]] for each in wanted]))
    return {tuple(row[key] for key in keys): row for row in rows.filter(chosen).to_pylist()}


def _online(facts: Any, settings: Settings, rng: np.random.Generator) -> list[Compared]:
    version = current_version(settings)
    if version is None:
        return []
    users = _sampled_users(facts, rng)
    offline = offline_histories(facts, version.as_of, users)
    engine = open_engine(settings)
    if not has_table(engine, received.name):
        engine.dispose()
        engine = sa.create_engine("sqlite://")
        metadata.create_all(engine)
    try:
        online = OnlineHistories(settings, engine)
        pairs: list[tuple[str, Any, Any]] = []
        for user_id in users:
            direct = offline.get(user_id, UserHistory.unknown(version.as_of))
            pairs += _pairs(user_id, online.read(user_id, None, None, version.as_of), direct)
    finally:
        engine.dispose()
    return [_compared("online rows against offline histories", len(users), pairs)]


def _pairs(user_id: str, online: UserHistory, offline: UserHistory) -> list[tuple[str, Any, Any]]:
    names = (
        "item_ids",
        "n_orders",
        "quantity",
        "first_at",
        "last_at",
        "viewed_item_ids",
        "viewed_at",
    )
    pairs: list[tuple[str, Any, Any]] = [
        (f"{user_id} {name}", list(getattr(online, name)), list(getattr(offline, name)))
        for name in names
    ]
    if online.as_of == offline.as_of:  # ages are counted from whole hours online
        pairs.append(
            (
                f"{user_id} decayed_frequency",
                list(online.decayed_frequency),
                list(offline.decayed_frequency),
            )
        )
        pairs += [
            (f"{user_id} {name}", online.features.get(name), offline.features.get(name))
            for name in sorted(online.features.keys() | offline.features.keys())
        ]
    return pairs


def _compared(name: str, n_rows: int, pairs: Sequence[tuple[str, Any, Any]]) -> Compared:
    different = [
        f"{what}: {left!r}, not {right!r}" for what, left, right in pairs if not _same(left, right)
    ]
    return Compared(
        name, n_rows, len(pairs), len(different), different[0][:300] if different else None
    )


def _same(left: Any, right: Any) -> bool:
    """Equal; numbers to the last digits; NaN is null."""
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        if len(left) == len(right) and left and not isinstance(left[0], str):
            return bool(np.allclose(left, right, rtol=_RELATIVE, atol=1e-9))
        return list(left) == list(right)
    left, right = (
        None if isinstance(each, float) and np.isnan(each) else each for each in (left, right)
    )
    if left is None or right is None:
        return left is None and right is None
    if isinstance(left, str | bytes):
        return bool(left == right)
    return bool(np.isclose(left, right, rtol=_RELATIVE, atol=1e-9))
