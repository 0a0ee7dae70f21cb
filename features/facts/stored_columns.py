"""Columns of stored tables, read without the analytical database, for servers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from features.contracts.errors import Damaged
from features.contracts.manifest import RESTORE_TABLES, read_segments
from features.contracts.tables import TableSchema


def open_segment(segment: Path) -> pq.ParquetFile:
    """Return a segment to be read. Raises Damaged where it is gone, or is no Parquet file."""
    try:
        return pq.ParquetFile(segment)
    except (OSError, ValueError) as error:  # those of Arrow are ValueErrors
        what = "is gone" if isinstance(error, FileNotFoundError) else "is damaged"
        raise Damaged(
            f"a segment of a table {what}", where=str(segment), hint=RESTORE_TABLES
        ) from error


def read_stored_columns(folder: Path, schema: TableSchema, names: Sequence[str]) -> pa.Table:
    """Return columns of a stored table; empty ones where an older version did not write them.

    Raises Damaged where a segment is.
    """
    segments = read_segments(folder).get(schema.name, [])
    return read_segment_columns(folder, schema, names, segments)


def read_segment_columns(
    folder: Path, schema: TableSchema, names: Sequence[str], segments: Sequence[str]
) -> pa.Table:
    """Return the same of some segments, by their names in the manifest."""
    wanted = pa.schema([schema.arrow.field(name) for name in names])
    parts = [wanted.empty_table()]
    for segment in segments:
        file = open_segment(folder / segment)
        known = [name for name in names if name in file.schema_arrow.names]
        part = file.read(columns=known)
        for name in names:
            if name not in known:
                part = part.append_column(name, pa.nulls(len(part), wanted.field(name).type))
        parts.append(part.select(names).cast(wanted))
    return pa.concat_tables(parts)
