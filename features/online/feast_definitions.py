"""The definitions of the feature store for Feast: entities, views and services.

    view                 entities      offline                       online
    user_features        user          one row per user × as_of      yes
    user_item            user          lists, one row per user       no, computed from user_state
    user_state           user          packed order lines            yes, read by the server
    item_features        item, zone    one row per item × as_of      no, the server maps snapshots

Offline is DuckDB, online SQLite or Redis. Feast takes seconds to import, so it is imported inside
the functions. Its offline half is imported on first use only: a process that reads online rows
never loads it.
"""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from features.contracts.errors import BadInput

if TYPE_CHECKING:
    from feast import Entity, FeatureStore, FeatureView
    from feast.types import FeastType
    from redis import Redis

USER_FEATURES, USER_ITEM, USER_STATE, ITEM_FEATURES = (
    "user_features",
    "user_item",
    "user_state",
    "item_features",
)
OFFLINE = (USER_FEATURES, USER_ITEM, ITEM_FEATURES)
ONLINE = (USER_FEATURES, USER_STATE)
TIMESTAMP = "event_timestamp"
STATE = "state"
# How long a command waits for Redis to take or remove a batch of rows.
WRITE_SECONDS = 30.0


@dataclass(frozen=True)
class StoreLocation:
    """Where one feature store lies.

    online    an SQLite file, unless `redis_url` is set
    sources   Parquet globs by view
    """

    project: str
    registry: Path
    online: Path
    redis_url: str | None
    sources: dict[str, str]


def project_name(version: str) -> str:
    """Return the project of a version, unique so that shops and versions can share one Redis."""
    return f"shopwright_{version}"


@cache
def import_feast() -> None:
    """Import Feast without the checks that it adds to all of its methods: more than half of the
    time."""
    import typeguard

    os.environ["FEAST_USAGE"] = "False"
    typechecked = typeguard.typechecked
    typeguard.typechecked = lambda target: target  # type: ignore[assignment]
    try:
        with suppress_output():
            import_module("feast")
    finally:
        typeguard.typechecked = typechecked


def open_store(location: StoreLocation, answer_seconds: float = WRITE_SECONDS) -> FeatureStore:
    """Return the feature store at `location`; it sends no usage reports.

    Redis has `answer_seconds` to connect, and again for each answer; nothing is tried twice.
    """
    import_feast()
    with suppress_output():
        from feast import FeatureStore, RepoConfig

        config = RepoConfig(
            project=location.project,
            provider="local",
            # The registry of a version never changes: it is read once.
            registry={"path": str(location.registry), "cache_ttl_seconds": 0},
            offline_store="duckdb",
            online_store=_configure_online_store(location),
            entity_key_serialization_version=3,
        )
        store = FeatureStore(config=config)
        if location.redis_url is not None:
            client = connect_redis(location.redis_url, answer_seconds)
            store._get_provider().online_store._client = client
        return store


def connect_redis(url: str, answer_seconds: float = WRITE_SECONDS) -> Redis:
    """Return a client that gives up after `answer_seconds`, without a second try."""
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return Redis.from_url(
        url,
        socket_timeout=answer_seconds,
        socket_connect_timeout=answer_seconds,
        retry=Retry(NoBackoff(), 0),
    )


def apply_definitions(store: FeatureStore, location: StoreLocation, kinds: Sequence[str]) -> None:
    """Register every definition; the `kinds` of promotion name columns of item_features."""
    from feast import Entity, FeatureService, ValueType

    user = Entity(
        name="user",
        join_keys=["user_id"],
        value_type=ValueType.STRING,
        description="A known shopper",
    )
    item = Entity(
        name="item",
        join_keys=["item_id"],
        value_type=ValueType.STRING,
        description="A thing for sale",
    )
    zone = Entity(
        name="zone",
        join_keys=["zone"],
        value_type=ValueType.STRING,
        description="A price zone; * is all",
    )

    views = _define_views(location, kinds, user, item, zone)
    services = [
        FeatureService(name="recommendations", features=[views[name] for name in OFFLINE]),
        FeatureService(name="online", features=[views[USER_STATE]]),
    ]
    with suppress_output():
        store.apply([user, item, zone, *views.values(), *services])


def _define_views(
    location: StoreLocation, kinds: Sequence[str], user: Entity, item: Entity, zone: Entity
) -> dict[str, FeatureView]:
    """Return the views by name."""
    from feast import FeatureView, Field, FileSource
    from feast.types import Array, Bytes, Float32, Float64, Int64, String

    from features.pipelines.item import columns as item_columns
    from features.pipelines.user import NAMES as USER_COLUMNS

    def define_view(
        name: str, entities: list[Entity], fields: dict[str, FeastType], *, online: bool
    ) -> FeatureView:
        keys = [Field(name=entity.join_key, dtype=String) for entity in entities]
        values = [Field(name=name, dtype=kind) for name, kind in fields.items()]
        return FeatureView(
            name=name,
            entities=entities,
            schema=keys + values,
            source=FileSource(name=name, path=location.sources[name], timestamp_field=TIMESTAMP),
            online=online,
        )

    affinity = {"affinity_categories": Array(String), "affinity_shares": Array(Float64)}
    lists = {
        "item_ids": Array(String),
        "n_orders": Array(Float32),
        "quantity": Array(Float32),
        "decayed_frequency": Array(Float32),
        "first_at": Array(Int64),
        "last_at": Array(Int64),
    }
    return {
        USER_FEATURES: define_view(
            USER_FEATURES, [user], dict.fromkeys(USER_COLUMNS, Float64) | affinity, online=True
        ),
        USER_ITEM: define_view(USER_ITEM, [user], lists, online=False),
        USER_STATE: define_view(USER_STATE, [user], {STATE: Bytes}, online=True),
        ITEM_FEATURES: define_view(
            ITEM_FEATURES, [item, zone], dict.fromkeys(item_columns(kinds), Float64), online=False
        ),
    }


@contextlib.contextmanager
def suppress_output() -> Iterator[None]:
    """Hide what the feature store prints (progress, deprecations of its own parts)."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


def _configure_online_store(location: StoreLocation) -> dict[str, str]:
    if location.redis_url is None:
        return {"type": "sqlite", "path": str(location.online)}
    return {"type": "redis", "connection_string": redis_connection(location.redis_url)}


def redis_connection(url: str) -> str:
    """Return a Redis URL in the form that Feast reads.

    >>> redis_connection("redis://:secret@cache:6380/2")
    'cache:6380,db=2,password=secret'
    """
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        raise BadInput(
            "no Redis address",
            where="SHOPWRIGHT_REDIS_URL",
            hint="Write it like redis://host:6379/0",
        )
    options = {"db": parts.path.strip("/") or "0"}
    if parts.scheme == "rediss":
        options["ssl"] = "true"
    if parts.username:
        options["username"] = unquote(parts.username)
    if parts.password:
        options["password"] = unquote(parts.password)
    options.update(parse_qsl(parts.query))
    if any("," in value for value in options.values()):
        raise BadInput("the feature store cannot take a comma in it", where="SHOPWRIGHT_REDIS_URL")
    return ",".join(
        [
            f"{parts.hostname}:{parts.port or 6379}",
            *(f"{name}={value}" for name, value in options.items()),
        ]
    )
