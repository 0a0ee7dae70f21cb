"""Erasure of features: of one user in all versions, and of the online rows of an old version."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from configs.settings import Settings
from features.facts.known_events import remove_digest
from features.online.feast_definitions import connect_redis, open_store
from features.online.snapshots import features_folder, is_damage, locate_store, users_file
from features.online.stored_rows import encode_user


def forget_user(settings: Settings, user_id: str) -> None:
    """Remove every online row and every offline row of a user, in all stored versions.

    That the user does not allow personalization is kept, as a digest.
    """
    key = encode_user(user_id)
    for version in _list_versions(settings):
        location = locate_store(settings, version)
        if location.redis_url is not None:
            connect_redis(location.redis_url).delete(key + location.project.encode())
        elif location.online.exists():
            _delete_rows_of_user(location.online, key)
        remove_digest(users_file(settings, version), user_id)
    for path in features_folder(settings).glob("**/*.parquet"):
        if "user_id" in pq.read_schema(path).names:
            _rewrite_without(path, user_id)


def forget_version(settings: Settings, version: str) -> None:
    """Remove the online rows of a version from Redis; those in SQLite are in the version folder."""
    location = locate_store(settings, version)
    if location.redis_url is not None and location.registry.exists():
        store = open_store(location)
        store._get_provider().online_store.delete_entity_values(store.config, ["user_id"])


def _list_versions(settings: Settings) -> Iterator[str]:
    for path in sorted((features_folder(settings) / "versions").glob("*")):
        yield path.name


def _delete_rows_of_user(database: Path, key: bytes) -> None:
    """Delete the rows of a key; a damaged file, which nobody can read, goes as a whole."""
    try:
        _delete_rows(database, key)
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        database.unlink()


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
    others = rows.filter(pc.not_equal(rows["user_id"], user_id))
    if others.num_rows < rows.num_rows:
        staging = path.with_suffix(".staging")
        pq.write_table(others, staging)
        staging.replace(path)
