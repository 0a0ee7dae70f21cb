"""Erasing features: of one user everywhere, and the online rows of a version nobody reads any
more."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from configs.settings import Settings
from features.online.feast_definitions import open_store
from features.online.snapshots import folder, store_place


def forget_user(settings: Settings, user_id: str) -> None:
    """Removes every online row and every offline row of a user, in all versions kept."""
    key = _entity_key(user_id)
    for version in _versions(settings):
        place = store_place(settings, version)
        if place.redis_url is not None:
            _redis(place.redis_url).delete(key + place.project.encode())
        elif place.online.exists():
            _delete_rows(place.online, key)
    for path in folder(settings).glob("**/*.parquet"):
        if "user_id" in pq.read_schema(path).names:
            _rewrite_without(path, user_id)


def forget_version(settings: Settings, version: str) -> None:
    """Removes a version's online rows from Redis; those in SQLite go with the version's folder."""
    place = store_place(settings, version)
    if place.redis_url is not None and place.registry.exists():
        store = open_store(place)
        store._get_provider().online_store.delete_entity_values(store.config, ["user_id"])


def _versions(settings: Settings) -> Iterator[str]:
    for path in sorted((folder(settings) / "versions").glob("*")):
        yield path.name


def _entity_key(user_id: str) -> bytes:
    from feast.infra.key_encoding_utils import serialize_entity_key
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    entity = EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=user_id)])
    key: bytes = serialize_entity_key(entity, entity_key_serialization_version=3)
    return key


def _delete_rows(database: Path, key: bytes) -> None:
    with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        connection.execute("PRAGMA secure_delete = ON")
        tables = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table'"
        ).fetchall()
        for (table,) in tables:
            quoted = table.replace('"', '""')
            connection.execute(f'DELETE FROM "{quoted}" WHERE entity_key = ?', (key,))


def _rewrite_without(path: Path, user_id: str) -> None:
    rows = pq.read_table(path)
    kept = rows.filter(pc.not_equal(rows["user_id"], user_id))
    if kept.num_rows < rows.num_rows:
        staging = path.with_suffix(".staging")
        pq.write_table(kept, staging)
        staging.replace(path)


def _redis(url: str) -> Any:
    import redis

    return redis.Redis.from_url(url)
