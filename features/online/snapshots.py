"""Versions of the materialized features, the pointer to the current one, and item snapshots.

features/current.json                 names the current version; replaced in one rename
features/versions/VERSION/            registry, online rows (SQLite), item snapshots, packed states,
                                      ids of events; version.json, written last
features/offline/VIEW/AS_OF.parquet   rows of point-in-time joins, one file per as_of
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict

import numpy as np
import pyarrow as pa

from configs.settings import Settings
from features.contracts.errors import Damaged, Unavailable, UnknownName
from features.contracts.files import check_sqlite, digest_file, hold_lock, read_json, write_json
from features.contracts.recommendations import ItemFeatures
from features.contracts.texts import escape_pattern
from features.online.feast_definitions import OFFLINE, USER_STATE, StoreLocation, project_name
from features.pipelines.feature_constants import ALL_ZONES

log = logging.getLogger(__name__)

_POINTER, _DESCRIPTION = "current.json", "version.json"
_REGISTRY = "registry.db"  # of the feature store; the one file of a version that never changes
_TEXTS = ("item_id", "category", "brand")
_HINT = "Try: shopwright features materialize"


@dataclass(frozen=True)
class Version:
    """One materialization.

    as_of             the features include the events before it
    received_after    received events that arrived after this system time may be missing from it
    zones             zones with an item snapshot, ALL_ZONES first
    redis             whether the online rows are in Redis
    """

    name: str
    as_of: datetime
    received_after: datetime
    zones: tuple[str, ...]
    redis: bool


class _StoredVersion(TypedDict):
    """The pointer file, and the description of a version in its folder."""

    name: str
    as_of: str
    received_after: str
    zones: list[str]
    redis: bool
    registry: str


def lock_features(
    settings: Settings, wait_seconds: float | None = None
) -> AbstractContextManager[None]:
    """Return the lock of all who write features, as `hold_lock`."""
    return hold_lock(features_folder(settings) / ".lock", wait_seconds)


def features_folder(settings: Settings) -> Path:
    """Return the folder of the features of this state folder."""
    return settings.home / "features"


def version_folder(settings: Settings, name: str) -> Path:
    """Return the folder of one version."""
    return features_folder(settings) / "versions" / name


def event_digests_file(settings: Settings, name: str) -> Path:
    """Return the file of the digests of the events in a version (features.facts.known_events)."""
    return version_folder(settings, name) / "events.npy"


def users_file(settings: Settings, name: str) -> Path:
    """Return the file of the digests of the users who have an online row in a version."""
    return version_folder(settings, name) / "users.npy"


def refused_file(settings: Settings, name: str) -> Path:
    """Return the file of the digests of the users who do not allow personalization, as imported
    before a version was made. Unlike a row of Redis it is never evicted."""
    return version_folder(settings, name) / "refused.npy"


def pointer_stamp(settings: Settings) -> tuple[int, int]:
    """Return a stamp that changes whenever another version becomes the current one."""
    try:
        stat = os.stat(features_folder(settings) / _POINTER)  # noqa: PTH116 (read before every answer)
    except FileNotFoundError:
        return 0, 0
    return stat.st_mtime_ns, stat.st_ino


def current_version(settings: Settings) -> Version | None:
    """Return the version that readers use; None before the first."""
    return next(list_versions(settings), None)


def list_versions(settings: Settings) -> Iterator[Version]:
    """Yield the versions that can be read: the current one, then those before it, newest first.

    Where the pointer is damaged or gone, the newest is the current one.
    """
    pointed = _read_pointed(settings)
    if pointed is not None:
        yield pointed
    stored = []
    for path in (features_folder(settings) / "versions").glob(f"*/{_DESCRIPTION}"):
        try:
            stored.append(_read_version(path))
        except (FileNotFoundError, Damaged):
            continue
    for version in sorted(stored, key=lambda version: version.received_after, reverse=True):
        if pointed is None or version.name != pointed.name:
            yield version


def check_pointer(settings: Settings) -> None:
    """Raise Damaged where the pointer to the current version is damaged, or names no version."""
    path = features_folder(settings) / _POINTER
    try:
        version = _read_version(path)
    except FileNotFoundError as error:
        if current_version(settings) is not None:
            raise Damaged(
                "the file is gone; the newest version is read", where=str(path)
            ) from error
    else:
        if not version_folder(settings, version.name).is_dir():
            raise Damaged(f"the files of version {version.name} are gone", where=str(path))


def check_features(settings: Settings) -> Version | None:
    """Return the current version; None before the first. Raises Damaged where one of its files is,
    although the version before it may serve."""
    check_pointer(settings)
    version = current_version(settings)
    if version is None:
        return None
    folder = version_folder(settings, version.name)
    for zone in version.zones:
        load_items(settings, zone, version)
    for path in _list_files(settings, version):
        if not path.exists():
            raise Damaged("the file is gone", where=str(path), hint=_HINT)
    _read_version(folder / _DESCRIPTION)
    _check_registry(folder)
    if not version.redis:
        check_sqlite(locate_store(settings, version.name).online, hint=_HINT)
    for file in (event_digests_file, users_file, refused_file):
        _check_array(file(settings, version.name))
    return version


def _list_files(settings: Settings, version: Version) -> list[Path]:
    """Return the files that readers of a version want, beside its item snapshots."""
    store = locate_store(settings, version.name)
    files = [file(settings, version.name) for file in (event_digests_file, users_file)]
    files.append(refused_file(settings, version.name))
    files += [store.registry, version_folder(settings, version.name) / _DESCRIPTION]
    return files if version.redis else [*files, store.online]


def _check_registry(folder: Path) -> None:
    path, expected = folder / _REGISTRY, read_json(folder / _DESCRIPTION).get("registry")
    if expected is not None and expected != digest_file(path):
        raise Damaged("the file is not what was written", where=str(path), hint=_HINT)


def _check_array(path: Path) -> None:
    try:
        np.load(path, allow_pickle=False)
    except (EOFError, ValueError) as error:
        raise Damaged("the file is damaged: no array", where=str(path), hint=_HINT) from error


def publish(settings: Settings, version: Version) -> None:
    """Make `version` the current one, in one rename."""
    folder = version_folder(settings, version.name)
    stored: _StoredVersion = {
        "name": version.name,
        "as_of": version.as_of.isoformat(),
        "received_after": version.received_after.isoformat(),
        "zones": list(version.zones),
        "redis": version.redis,
        "registry": digest_file(folder / _REGISTRY),
    }
    write_json(folder / _DESCRIPTION, stored)
    write_json(features_folder(settings) / _POINTER, stored)


def _read_pointed(settings: Settings) -> Version | None:
    """Return the version that the pointer names; None where it is damaged or its files are gone."""
    path = features_folder(settings) / _POINTER
    try:
        version = _read_version(path)
    except FileNotFoundError:
        return None
    except Damaged as error:
        log.warning("%s; the newest version is read instead", error)
        return None
    return version if version_folder(settings, version.name).is_dir() else None


def _read_version(path: Path) -> Version:
    """Return the version that a file describes. Raises FileNotFoundError and Damaged."""
    stored = read_json(path)
    try:
        return Version(
            name=stored["name"],
            as_of=datetime.fromisoformat(stored["as_of"]),
            received_after=datetime.fromisoformat(stored["received_after"]),
            zones=tuple(stored["zones"]),
            redis=stored["redis"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Damaged("the file is damaged: it describes no version", where=str(path)) from error


def is_damage(error: sqlite3.DatabaseError) -> bool:
    """Return whether a SQLite file cannot be read at all, rather than not now."""
    code = getattr(error, "sqlite_errorcode", None) or sqlite3.SQLITE_ERROR
    return code & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def locate_store(settings: Settings, name: str) -> StoreLocation:
    """Return where the feature store of a version lies."""
    target = version_folder(settings, name)
    sources = {
        view: f"{escape_pattern(str(source_folder(settings, name, view).absolute()))}/*.parquet"
        for view in (*OFFLINE, USER_STATE)
    }
    return StoreLocation(
        project=project_name(name),
        registry=target.absolute() / _REGISTRY,
        online=target.absolute() / "online.db",
        redis_url=settings.redis_url,
        sources=sources,
    )


def source_folder(settings: Settings, name: str, view: str) -> Path:
    """Return the folder of the Parquet files of a view; packed states belong to their version."""
    return (
        features_folder(settings) / "offline" / view
        if view in OFFLINE
        else version_folder(settings, name) / view
    )


def write_items(path: Path, items: ItemFeatures) -> None:
    """Write an uncompressed Arrow file of one batch, whose columns readers map into memory."""
    arrays = [
        pa.array(getattr(items, name), pa.string()) for name in ("item_ids", "category", "brand")
    ]
    arrays += [pa.array(values, pa.float32()) for values in items.columns.values()]
    schema = pa.schema(
        [
            pa.field(name, array.type)
            for name, array in zip([*_TEXTS, *items.columns], arrays, strict=True)
        ],
        metadata={"as_of": items.as_of.astimezone(UTC).isoformat()},
    )
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pa.record_batch(arrays, schema=schema))


def load_items(
    settings: Settings, zone: str = ALL_ZONES, version: Version | None = None
) -> ItemFeatures:
    """Return the item snapshot of a zone or of all; number columns are mapped.

    Of `version`, else of the current one, or of the one before it where that is damaged.
    """
    versions = list_versions(settings) if version is None else iter([version])
    newest = next(versions, None)
    if newest is None:
        raise Unavailable("no features yet", where=str(features_folder(settings)), hint=_HINT)
    try:
        return _load_version_items(settings, newest, zone)
    except Damaged as error:
        log.warning("%s", error)
        for earlier in versions:
            with contextlib.suppress(Damaged):
                return _load_version_items(settings, earlier, zone)
        raise


def _load_version_items(settings: Settings, version: Version, zone: str) -> ItemFeatures:
    if zone not in version.zones:
        raise UnknownName(zone, version.zones, kind="zone")
    return read_items(version_folder(settings, version.name) / items_file(version.zones, zone))


def items_file(zones: tuple[str, ...], zone: str) -> str:
    """Return the file name of the snapshot of a zone."""
    return f"items-{zones.index(zone)}.arrow"


def read_items(path: Path) -> ItemFeatures:
    """Return what `write_items` wrote. Raises Damaged where the file holds something else."""
    try:
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_file(source).read_all()
        as_of = datetime.fromisoformat((table.schema.metadata or {})[b"as_of"].decode())
        texts = {name: np.array(table[name].to_pylist(), object) for name in _TEXTS}
        columns = {
            name: table[name].combine_chunks().to_numpy(zero_copy_only=bool(table.num_rows))
            for name in table.column_names
            if name not in _TEXTS
        }
    except (OSError, KeyError, ValueError) as error:  # those of Arrow are ValueErrors too
        raise Damaged("the item snapshot cannot be read", where=str(path), hint=_HINT) from error
    return ItemFeatures(as_of, texts["item_id"], columns, texts["category"], texts["brand"])
