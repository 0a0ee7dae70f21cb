"""The check that the feature store, direct computation and online rows agree (`features check`)."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.errors import ShopwrightError
from features.contracts.histories import UserHistory
from features.contracts.seeds import generator
from features.database import engine as open_engine
from features.database import has_table
from features.database_tables import events as received
from features.database_tables import metadata
from features.facts.facts import Facts
from features.online.feast_definitions import (
    ITEM_FEATURES,
    OFFLINE,
    TIMESTAMP,
    USER_ITEM,
    USER_STATE,
    StoreLocation,
    apply_definitions,
    open_store,
    suppress_output,
)
from features.online.histories import compute_offline_histories
from features.online.materialize import compute_item_rows, compute_user_rows
from features.online.online_store import OnlineHistories
from features.online.snapshots import current_version
from features.pipelines.expressions import promotion_kinds
from features.pipelines.feature_constants import ALL_ZONES

if TYPE_CHECKING:
    from feast import FeatureStore

SAMPLE = 200
_EARLIER = timedelta(days=28)
_ROW = "row_id"
# float32 sums in another order may differ in the last digits.
_RELATIVE = 1e-5


@dataclass(frozen=True)
class Comparison:
    """One comparison: the numbers of values and of differences, and the first difference."""

    name: str
    n_rows: int
    n_values: int
    n_different: int
    example: str | None = None


@dataclass(frozen=True)
class CheckReport:
    """The comparisons as of `as_of`."""

    as_of: datetime
    comparisons: tuple[Comparison, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether there were values to compare, and all were the same."""
        compared = any(comparison.n_values for comparison in self.comparisons)
        return compared and all(comparison.n_different == 0 for comparison in self.comparisons)


class _ValuePair(NamedTuple):
    """One value as it was given and as it should be."""

    name: str
    given: object
    expected: object


def check_parity(facts: Facts, settings: Settings, as_of: datetime) -> CheckReport:
    """Join a sample of users and items through the feature store and compare with direct values.

    Two snapshots, 28 days apart, are joined at instants before, between and after them: each must
    give the snapshot that was known then, or nothing. Then, when features are materialized, online
    histories are compared with offline ones. Raises ShopwrightError when the join loses or repeats
    a row.
    """
    started = time.monotonic()
    as_of = as_of.astimezone(UTC).replace(microsecond=0)
    rng = generator(settings.seed, "features check")
    per_buyer = settings.orders_per_buyer
    comparisons = list(_compare_joins(facts, as_of, rng, per_buyer))
    comparisons += _compare_online(facts, settings, rng)
    return CheckReport(as_of, tuple(comparisons), round(time.monotonic() - started, 1))


def _compare_joins(
    facts: Facts, as_of: datetime, rng: np.random.Generator, per_buyer: int
) -> Iterator[Comparison]:
    kinds = promotion_kinds(facts.read("promotions"))
    users = _sample_users(facts, rng)
    snapshots = {
        at: _compute_snapshot(facts, at, users, kinds, per_buyer)
        for at in (as_of - _EARLIER, as_of)
    }
    with tempfile.TemporaryDirectory(prefix="shopwright-check-") as name:
        folder = Path(name)
        for at, tables in snapshots.items():
            for view, rows in tables.items():
                (folder / view).mkdir(exist_ok=True)
                pq.write_table(rows, folder / view / f"{at:%Y%m%dT%H%M%S}.parquet")
        sources = {view: str(folder / view / "*.parquet") for view in (*OFFLINE, USER_STATE)}
        location = StoreLocation(
            "shopwright_check", folder / "registry.db", folder / "online.db", None, sources
        )
        store = open_store(location)
        apply_definitions(store, location, kinds)
        for view in OFFLINE:
            rows_of_view = {at: tables[view] for at, tables in snapshots.items()}
            yield _compare_view(store, view, rows_of_view, rng)


def _sample_users(facts: Facts, rng: np.random.Generator) -> list[str]:
    known = facts.read("events").user_id.to_pyarrow().unique().drop_null().sort().to_pylist()
    return [known[index] for index in rng.permutation(len(known))[:SAMPLE]]


def _compute_snapshot(
    facts: Facts, at: datetime, users: Sequence[str], kinds: Sequence[str], per_buyer: int
) -> dict[str, pa.Table]:
    events = facts.read("events")
    rows = compute_item_rows(facts, events, at, kinds, orders_per_buyer=per_buyer)
    items = rows[ALL_ZONES]
    rows = compute_user_rows(facts, events.filter(events.user_id.isin(users)), at)
    stamps = pa.array([at] * items.num_rows, rows[USER_ITEM][TIMESTAMP].type)
    return rows | {ITEM_FEATURES: items.append_column(TIMESTAMP, stamps)}


def _compare_view(
    store: FeatureStore, view: str, tables: Mapping[datetime, pa.Table], rng: np.random.Generator
) -> Comparison:
    """Join sampled entities at instants before, between and after the snapshots, and compare."""
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
    with suppress_output():
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
    expected: list[dict[str, object] | None] = []
    sampled = chosen.to_pylist()
    for source in instants.values():
        known = {} if source is None else _index_by_key(tables[source], keys, sampled)
        expected += [known.get(tuple(entity.values())) for entity in sampled]
    pairs = [
        _ValuePair(
            f"{entities[keys[0]][row]} {name}",
            values[name],
            None if truth is None else truth[name],
        )
        for row, (values, truth) in enumerate(zip(given, expected, strict=True))
        for name in names
    ]
    return _summarise_pairs(f"{view}: point-in-time join", entities.num_rows, pairs)


def _index_by_key(
    rows: pa.Table, keys: Sequence[str], entities: Sequence[Mapping[str, object]]
) -> dict[tuple[object, ...], dict[str, object]]:
    chosen = pa.compute.is_in(rows[keys[0]], pa.array([entity[keys[0]] for entity in entities]))
    return {tuple(row[key] for key in keys): row for row in rows.filter(chosen).to_pylist()}


def _compare_online(facts: Facts, settings: Settings, rng: np.random.Generator) -> list[Comparison]:
    version = current_version(settings)
    if version is None:
        return []
    users = _sample_users(facts, rng)
    offline = compute_offline_histories(facts, version.as_of, users)
    engine = open_engine(settings)
    if not has_table(engine, received.name):
        engine.dispose()
        engine = sa.create_engine("sqlite://")
        metadata.create_all(engine)
    try:
        online = OnlineHistories(settings, engine)
        pairs: list[_ValuePair] = []
        for user_id in users:
            direct = offline.get(user_id, UserHistory.unknown(version.as_of))
            pairs += _pair_values(user_id, online.read(user_id, None, None, version.as_of), direct)
    finally:
        engine.dispose()
    return [_summarise_pairs("online rows against offline histories", len(users), pairs)]


def _pair_values(user_id: str, online: UserHistory, offline: UserHistory) -> list[_ValuePair]:
    names = (
        "item_ids",
        "n_orders",
        "quantity",
        "first_at",
        "last_at",
        "viewed_item_ids",
        "viewed_at",
    )
    pairs = [
        _ValuePair(f"{user_id} {name}", list(getattr(online, name)), list(getattr(offline, name)))
        for name in names
    ]
    for name, given, expected in zip(
        online.visit._fields, online.visit, offline.visit, strict=True
    ):
        pairs.append(_ValuePair(f"{user_id} visit {name}", given, expected))
    if online.as_of == offline.as_of:  # ages are counted from whole hours online
        pairs.append(
            _ValuePair(
                f"{user_id} decayed_frequency",
                list(online.decayed_frequency),
                list(offline.decayed_frequency),
            )
        )
        pairs += [
            _ValuePair(f"{user_id} {name}", online.features.get(name), offline.features.get(name))
            for name in sorted(online.features.keys() | offline.features.keys())
        ]
    return pairs


def _summarise_pairs(name: str, n_rows: int, pairs: Sequence[_ValuePair]) -> Comparison:
    different = [
        f"{pair.name}: {pair.given!r}, not {pair.expected!r}"
        for pair in pairs
        if not _is_same(pair.given, pair.expected)
    ]
    return Comparison(
        name, n_rows, len(pairs), len(different), different[0][:300] if different else None
    )


def _is_same(left: object, right: object) -> bool:
    """Return whether two values are equal: numbers up to the last digits, NaN as null."""
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        has_gaps = None in left or None in right
        if not has_gaps and len(left) == len(right) and left and not isinstance(left[0], str | int):
            return bool(np.allclose(left, right, rtol=_RELATIVE, atol=1e-9))
        return list(left) == list(right)
    left, right = (
        None if isinstance(value, float) and np.isnan(value) else value for value in (left, right)
    )
    if left is None or right is None:
        return left is None and right is None
    if isinstance(left, str | bytes):
        return bool(left == right)
    numbers = np.array([left, right], np.float64)
    return bool(np.isclose(numbers[0], numbers[1], rtol=_RELATIVE, atol=1e-9))
