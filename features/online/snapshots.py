"""Versions of the materialized features, the pointer to the current one, and item snapshots.

features/current.json                 names the current version; replaced in one rename
features/versions/VERSION/            registry, online rows (SQLite), item snapshots, packed states,
                                      ids of events
features/offline/VIEW/AS_OF.parquet   rows of point-in-time joins, one file per as_of
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict

import numpy as np
import pyarrow as pa

from configs.settings import Settings
from features.contracts.errors import Unavailable, UnknownName
from features.contracts.recommendations import ItemFeatures
from features.online.feast_definitions import OFFLINE, USER_STATE, StoreLocation, project_name
from features.pipelines.feature_constants import ALL_ZONES

_POINTER = "current.json"
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
    """The pointer file."""

    name: str
    as_of: str
    received_after: str
    zones: list[str]
    redis: bool


def features_folder(settings: Settings) -> Path:
    """Return the folder of the features of this state folder."""
    return settings.home / "features"


def version_folder(settings: Settings, name: str) -> Path:
    """Return the folder of one version."""
    return features_folder(settings) / "versions" / name


def event_digests_file(settings: Settings, name: str) -> Path:
    """Return the file of the digests of the events in a version (features.facts.known_events)."""
    return version_folder(settings, name) / "events.npy"


def pointer_stamp(settings: Settings) -> tuple[int, int]:
    """Return a stamp that changes whenever another version becomes the current one."""
    try:
        stat = os.stat(features_folder(settings) / _POINTER)  # noqa: PTH116 (read before every answer)
    except FileNotFoundError:
        return 0, 0
    return stat.st_mtime_ns, stat.st_ino


def current_version(settings: Settings) -> Version | None:
    """Return the version that readers use; None before the first."""
    try:
        stored: _StoredVersion = json.loads(
            (features_folder(settings) / _POINTER).read_text(encoding="utf-8")
        )
    except FileNotFoundError:
        return None
    return Version(
        name=stored["name"],
        as_of=datetime.fromisoformat(stored["as_of"]),
        received_after=datetime.fromisoformat(stored["received_after"]),
        zones=tuple(stored["zones"]),
        redis=stored["redis"],
    )


def publish(settings: Settings, version: Version) -> None:
    """Make `version` the current one, in one rename."""
    stored = {
        "name": version.name,
        "as_of": version.as_of.isoformat(),
        "received_after": version.received_after.isoformat(),
        "zones": version.zones,
        "redis": version.redis,
    }
    path = features_folder(settings) / _POINTER
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, delete=False, encoding="utf-8"
    ) as staging:
        json.dump(stored, staging, indent=1)
        staging.flush()
        os.fsync(staging.fileno())
    Path(staging.name).replace(path)


def locate_store(settings: Settings, name: str) -> StoreLocation:
    """Return where the feature store of a version lies."""
    target = version_folder(settings, name)
    sources = {
        view: str(source_folder(settings, name, view).absolute() / "*.parquet")
        for view in (*OFFLINE, USER_STATE)
    }
    return StoreLocation(
        project=project_name(name),
        registry=target.absolute() / "registry.db",
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


def load_items(settings: Settings, zone: str = ALL_ZONES) -> ItemFeatures:
    """Return the current item snapshot of a zone or of all; number columns are mapped."""
    version = current_version(settings)
    if version is None:
        raise Unavailable("no features yet", where=str(features_folder(settings)), hint=_HINT)
    if zone not in version.zones:
        raise UnknownName(zone, version.zones, kind="zone")
    return read_items(version_folder(settings, version.name) / items_file(version.zones, zone))


def items_file(zones: tuple[str, ...], zone: str) -> str:
    """Return the file name of the snapshot of a zone."""
    return f"items-{zones.index(zone)}.arrow"


def read_items(path: Path) -> ItemFeatures:
    """Return what `write_items` wrote."""
    with pa.memory_map(str(path)) as source:
        table = pa.ipc.open_file(source).read_all()
    texts = {name: np.array(table[name].to_pylist(), object) for name in _TEXTS}
    columns = {
        name: table[name].combine_chunks().to_numpy(zero_copy_only=bool(table.num_rows))
        for name in table.column_names
        if name not in _TEXTS
    }
    as_of = datetime.fromisoformat(table.schema.metadata[b"as_of"].decode())
    return ItemFeatures(as_of, texts["item_id"], columns, texts["category"], texts["brand"])
