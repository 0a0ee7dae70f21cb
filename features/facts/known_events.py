"""The ids of imported events, as sorted 64-bit digests that are mapped into memory.

An event may come by import and over HTTP, in either order. Every segment of imported events has
such a file beside it, and so has every version of the materialized features. Two ids that share a
digest by chance are one in 10^19 a pair.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from threading import Lock

import numpy as np
import pyarrow.parquet as pq

from configs.settings import Settings
from features.contracts.arrays import BoolArray, UInt64Array
from features.contracts.manifest import read_segments
from features.contracts.tables import EVENTS
from features.facts.stored_columns import open_segment

NONE: UInt64Array = np.zeros(0, np.uint64)
_KEY = EVENTS.key[0]


def digest_ids(event_ids: Iterable[str]) -> UInt64Array:
    """Return one uint64 per id, in the order given."""
    joined = b"".join([hashlib.sha256(event_id.encode()).digest()[:8] for event_id in event_ids])
    return np.frombuffer(joined, "<u8").astype(np.uint64)


def mark_known(digests: UInt64Array, known: UInt64Array) -> BoolArray:
    """Return which of `digests` are in `known`, which is sorted."""
    if not len(known):
        return np.zeros(len(digests), bool)
    nearest = np.searchsorted(known, digests).clip(max=len(known) - 1)
    is_known: BoolArray = known[nearest] == digests
    return is_known


def write_digests(path: Path, event_ids: Iterable[str]) -> None:
    """Write the sorted digests in one rename, synced."""
    _write_sorted(path, np.sort(digest_ids(event_ids)))


def _write_sorted(path: Path, digests: UInt64Array) -> None:
    staging = path.with_suffix(f".{os.getpid()}.staging")
    with staging.open("wb") as file:
        np.save(file, digests)
        file.flush()
        os.fsync(file.fileno())
    staging.replace(path)


def read_digests(path: Path) -> UInt64Array:
    """Return what `write_digests` wrote, mapped into memory; none when there is no such file."""
    try:
        mapped: UInt64Array = np.load(path, mmap_mode="r")
    except FileNotFoundError:
        return NONE
    return mapped


def remove_digest(path: Path, text: str) -> None:
    """Take one id out of a file of digests; one that is not there changes nothing."""
    digests = read_digests(path)
    rest = digests[digests != digest_ids([text])[0]]
    if len(rest) < len(digests):
        _write_sorted(path, rest)


def digests_file(segment: Path) -> Path:
    """Return the file of the digests of a segment of events."""
    return segment.with_suffix(".ids.npy")


class ImportedEvents:
    """The ids of imported events, by the manifest of each call. Safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.home / "tables"
        self._lock = Lock()
        self._opened: dict[str, UInt64Array] = {}

    def contain(self, event_ids: Sequence[str]) -> list[bool]:
        """Return for each id whether an import holds it."""
        segments = self._open_segments()
        if not segments:
            return [False] * len(event_ids)
        digests = digest_ids(event_ids)
        is_known = np.zeros(len(digests), bool)
        for segment in segments:
            is_known |= mark_known(digests, segment)
        return is_known.tolist()

    def find(self, event_ids: Sequence[str]) -> dict[str, dict[str, object]]:
        """Return the imported events with these ids, by id; looks through every segment."""
        found: dict[str, dict[str, object]] = {}
        for segment in read_segments(self._folder).get(EVENTS.name, []) if event_ids else []:
            open_segment(self._folder / segment).close()
            rows = pq.read_table(self._folder / segment, filters=[(_KEY, "in", [*event_ids])])
            found |= {row[_KEY]: row for row in rows.to_pylist()}
        return found

    def _open_segments(self) -> list[UInt64Array]:
        names = read_segments(self._folder).get(EVENTS.name, [])
        with self._lock:
            self._opened = {name: self._opened.get(name, NONE) for name in names}
            for name, digests in self._opened.items():
                if digests is NONE:
                    self._opened[name] = _read_segment_digests(self._folder / name)
            return list(self._opened.values())


def _read_segment_digests(segment: Path) -> UInt64Array:
    """Return the digests of one segment; made now where their file is gone or damaged."""
    path = digests_file(segment)
    try:
        digests = read_digests(path)
    except (EOFError, ValueError):
        digests = NONE
    if not len(digests):
        write_digests(path, open_segment(segment).read(columns=[_KEY])[_KEY].to_pylist())
        digests = read_digests(path)
    return digests
