"""Erasure from files: the imported rows, the quarantine and the features of a person; and the
online rows of an old version."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from configs.settings import Settings
from features.contracts.errors import Unavailable
from features.contracts.person_ids import ID_COLUMNS
from features.contracts.tables import EVENTS, EXCLUSIONS, USERS
from features.facts.exclusions import RowFilter
from features.facts.facts import Facts
from features.facts.known_events import remove_digest
from features.facts.person import Person, RowsOfPerson
from features.facts.segments import remove_replaced
from features.online.feast_definitions import connect_redis, open_store
from features.online.snapshots import (
    features_folder,
    is_damage,
    locate_store,
    refused_file,
    users_file,
)
from features.online.stored_rows import encode_user
from features.sources.quarantine import erase_from_quarantine

_SPILL_SECONDS = 24 * 60 * 60


@dataclass(frozen=True)
class ErasedRows:
    """How many rows of a person were removed from files: those of imported tables, rules about
    their events, quarantined rows, and rows of features."""

    n_imported: int
    n_rules: int
    n_quarantined: int
    n_features: int


def erase_from_files(facts: Facts, settings: Settings, person: Person) -> ErasedRows:
    """Remove a person from all files of the state folder; a repetition removes what is left.

    The caller holds the lock of the features.
    """
    tables = settings.home / "tables"
    n_quarantined = erase_from_quarantine(settings, person.has_id)
    n_rules = 0
    for rule in list_rules(facts, person):
        n_rules += facts.rewrite(EXCLUSIONS.name, RowFilter((("rule", rule),)), None)
    n_imported = 0
    for schema in (EVENTS, USERS):
        rows = RowsOfPerson(person, tuple(schema.arrow.names))
        n_imported += facts.rewrite(schema.name, rows, None)
    if tables.is_dir():
        remove_replaced(tables, [schema.name for schema in (EVENTS, USERS, EXCLUSIONS)])
    n_features = forget_user(settings, person.user_id)
    _remove_old_spills(settings)
    return ErasedRows(n_imported, n_rules, n_quarantined, n_features)


def _remove_old_spills(settings: Settings) -> None:
    """Remove what killed processes left of their work; what is in use is younger."""
    for path in (settings.home / "spill").rglob("*"):
        if path.is_file() and path.stat().st_mtime < time.time() - _SPILL_SECONDS:
            path.unlink()


def list_rules(facts: Facts, person: Person) -> list[str]:
    """Return the rules that leave events of this person out of all counts."""
    rules = facts.read_imported(EXCLUSIONS.name).to_pyarrow()["rule"].to_pylist()
    return [
        rule
        for rule in rules
        if any(
            name in ID_COLUMNS and person.has_id(ID_COLUMNS[name], value)
            for name, value in RowFilter.from_text(rule).equals
        )
    ]


def forget_user(settings: Settings, user_id: str) -> int:
    """Remove every online row and every offline row of a user, in all stored versions; return how
    many offline rows there were.

    The online rows go last: from the offline ones a server writes them again.
    """
    for path in features_folder(settings).glob("**/*.staging"):  # of a write that did not finish
        path.unlink()
    n_rows = sum(
        _rewrite_without(path, user_id)
        for path in features_folder(settings).glob("**/*.parquet")
        if "user_id" in pq.read_schema(path).names
    )
    key = encode_user(user_id)
    for version in _list_versions(settings):
        location = locate_store(settings, version)
        if location.redis_url is not None:
            _delete_from_redis(location.redis_url, key + location.project.encode())
        if location.online.exists():
            _delete_rows_of_user(location.online, key)
        remove_digest(users_file(settings, version), user_id)
        remove_digest(refused_file(settings, version), user_id)
    return n_rows


def _delete_from_redis(url: str, key: bytes) -> None:
    from redis.exceptions import RedisError

    try:
        connect_redis(url).delete(key)
    except RedisError as error:
        raise Unavailable(
            "the online store does not answer, so rows of the person are left in it",
            hint="Repeat the erasure once the store of SHOPWRIGHT_REDIS_URL is up",
        ) from error


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


def _rewrite_without(path: Path, user_id: str) -> int:
    """Write a file anew without the rows of a user, and return how many there were."""
    rows = pq.read_table(path)
    others = rows.filter(pc.not_equal(rows["user_id"], user_id))
    if others.num_rows < rows.num_rows:
        staging = path.with_suffix(".staging")
        pq.write_table(others, staging)
        staging.replace(path)
    return int(rows.num_rows - others.num_rows)
