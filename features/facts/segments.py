"""Segments of imported tables: Parquet files named by content, removed once nobody reads them."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from features.contracts.files import hold_lock, sync_folder
from features.contracts.manifest import read_segments
from features.contracts.tables import EVENTS, TableSchema
from features.facts.known_events import digests_file, write_digests
from features.facts.stored_columns import open_segment

_GRACE_SECONDS = 24 * 60 * 60


def write_segment(tables: Path, schema: TableSchema, rows: pa.Table) -> str:
    """Write one Parquet file named by its content; return its path in the tables folder."""
    folder = tables / schema.name
    folder.mkdir(exist_ok=True)
    staging = folder / ".staging"
    pq.write_table(rows, staging, compression="zstd", row_group_size=200_000)
    with staging.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:20]
        os.fsync(file.fileno())
    segment = folder / f"{digest}.parquet"
    if schema is EVENTS:
        write_digests(digests_file(segment), rows["event_id"].to_pylist())
    staging.replace(segment)
    sync_folder(folder)
    return f"{schema.name}/{digest}.parquet"


def remove_unnamed(tables: Path, manifest: Mapping[str, list[str]]) -> None:
    """Remove segments that no manifest names: replaced, or of a write that did not finish.

    A segment is removed one day after the first write that finds it unnamed, since a reader may
    still have it open.
    """
    named = {segment for segments in manifest.values() for segment in segments}
    for path in tables.glob("*/*.parquet"):
        retired = path.with_suffix(".retired")
        if f"{path.parent.name}/{path.name}" in named:
            retired.unlink(missing_ok=True)
        elif not retired.exists():
            retired.touch()
        elif time.time() - retired.stat().st_mtime > _GRACE_SECONDS:
            path.unlink()
            retired.unlink()
    for path in tables.glob("*/*.ids.npy"):
        if not path.with_suffix("").with_suffix(".parquet").exists():
            path.unlink()


def remove_replaced(tables: Path, names: Iterable[str]) -> None:
    """Remove the segments of some tables at once that no manifest names, and what a write that did
    not finish has left: for an erasure, which readers of these files do not keep from its end."""
    with hold_lock(tables / ".lock"):
        manifest = read_segments(tables)
        for name in names:
            named = {tables / segment for segment in manifest.get(name, [])}
            for path in (tables / name).glob("*.parquet"):
                if path not in named:
                    path.unlink()
                    path.with_suffix(".retired").unlink(missing_ok=True)
            for path in (tables / name).glob("*.ids.npy"):
                if path.with_suffix("").with_suffix(".parquet") not in named:
                    path.unlink()
            (tables / name / ".staging").unlink(missing_ok=True)


@cache
def read_names(segment: Path) -> list[str]:
    """Return the columns of a segment, which is never written twice. Raises Damaged."""
    return list(open_segment(segment).schema_arrow.names)
