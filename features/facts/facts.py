"""Imported facts: Parquet segments behind an atomic manifest, read together with the database.

A write puts new segments beside the old ones and then replaces `manifest.json` in one rename: a
crash at any line leaves the old state or the new one, and a later write removes segments that no
manifest names. DuckDB is in memory.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from configs.settings import Settings
from features.contracts.errors import UnknownName
from features.contracts.tables import EVENTS, PRICE_HISTORY, TABLES, TableSchema
from features.facts.events import read_received_events
from features.facts.known_events import MANIFEST, ImportedEvents, digests_file, write_digests
from features.prices.ledger import read_known_prices
from features.sources.report import WriteCount

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

_MEMORY_LIMIT = "4GB"
# Beyond this many an addition writes the table anew: readers and look-ups open every segment.
_MAX_SEGMENTS = 16
_GRACE_SECONDS = 24 * 60 * 60


class Facts:
    """The canonical tables of one state folder."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.home / "tables"

    @cached_property
    def connection(self) -> Backend:
        """An in-memory Ibis DuckDB backend whose session time zone is UTC."""
        backend = ibis.duckdb.connect()
        backend.raw_sql("SET TimeZone = 'UTC'")
        # Standard output is for answers: `--json` is read by programs.
        backend.raw_sql("SET enable_progress_bar = false")
        backend.raw_sql(f"SET memory_limit = '{_MEMORY_LIMIT}'")
        spill = str(self._settings.home / "spill").replace("'", "''")
        backend.raw_sql(f"SET temp_directory = '{spill}'")
        return backend

    def read(self, table: str, known_at: datetime | None = None) -> ir.Table:
        """Return `table` in its stored schema, each key once, with the rows of the database.

        `events` has those received over HTTP, `price_history` the prices of the ledger except those
        observed in sales; with `known_at` (business time) it lacks the decisions of the price desk
        from then on.
        """
        schema = _find_schema(table)
        if schema is EVENTS:
            # The database first: what is sealed leaves it only after the manifest names it.
            received = self._read_received()
            return self._join_rows(self.read_imported(table), received, ("event_id",))
        stored = self.read_imported(table)
        if schema is PRICE_HISTORY:
            decided = self._read_decided(known_at)
            mark = str(known_at or "")
            return self._join_rows(stored, decided, schema.key, replaces=True, mark=mark)
        return stored

    def read_imported(self, table: str) -> ir.Table:
        """Return `table` as imported, in its stored schema."""
        return self.connection.sql(f"SELECT * FROM {self._scan(_find_schema(table))}")

    def _join_rows(
        self,
        stored: ir.Table,
        rows: pa.Table | None,
        key: Sequence[str],
        *,
        replaces: bool = False,
        mark: str = "",
    ) -> ir.Table:
        """Return `stored` and the rows of the database, each key once.

        The imported row is used, or with `replaces` that of the database. `mark` tells registered
        tables of one key apart.
        """
        if rows is None or not rows.num_rows:
            return stored
        name = f"database_{'_'.join(key)}{mark}"
        self.connection.con.register(name, rows)
        in_database = self.connection.sql(f'SELECT * FROM "{name}"')
        return (
            in_database.union(stored.anti_join(in_database, key))
            if replaces
            else stored.union(in_database.anti_join(stored, key))
        )

    def is_empty(self, table: str) -> bool:
        """Return whether `table` holds no row."""
        return bool(self.read(table).limit(1).count().to_pyarrow().as_py() == 0)

    def knows_events(self, event_ids: Sequence[str]) -> list[bool]:
        """Return for each id whether an imported event has it."""
        return ImportedEvents(self._settings).contain(event_ids)

    def latest_event_at(self) -> datetime | None:
        """Return when the latest event occurred; None without events."""
        latest = self.read("events").occurred_at.max().to_pyarrow().as_py()
        return None if latest is None else latest.astimezone(UTC)

    def write(self, tables: Mapping[str, pa.Table]) -> dict[str, WriteCount]:
        """Add rows in stored schema to several tables in one step; readers see all or nothing.

        Keys within the given rows must be distinct. A row whose key is known replaces the earlier
        row; a row that is stored already changes nothing.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._hold_lock():
            manifest = self._read_manifest()
            counts = {}
            for name, rows in tables.items():
                schema = _find_schema(name)
                counts[name], manifest[name] = self._merge(
                    schema, rows.cast(schema.arrow), manifest.get(name, [])
                )
            if any(count.new or count.replaced for count in counts.values()):
                self._publish(manifest)
            self._remove_unnamed(manifest)
        return counts

    def add(self, tables: Mapping[str, pa.Table]) -> dict[str, int]:
        """Add the rows whose key is new, as `write` does; return how many by table."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._hold_lock():
            manifest = self._read_manifest()
            counts = {}
            for name, rows in tables.items():
                schema, segments = _find_schema(name), manifest.get(name, [])
                self.connection.con.register("incoming", rows.cast(schema.arrow))
                known = f"{self._scan(schema)} USING ({_quote_columns(schema.key)})"
                new = self.connection.con.sql(
                    f"SELECT * FROM incoming ANTI JOIN {known}"
                ).to_arrow_table()
                counts[name] = new.num_rows
                if new.num_rows:
                    new = new.select(schema.arrow.names).cast(schema.arrow)
                    manifest[name] = self._append_segment(schema, new, segments)
            if any(counts.values()):
                self._publish(manifest)
            self._remove_unnamed(manifest)
        return counts

    def _append_segment(
        self, schema: TableSchema, rows: pa.Table, segments: list[str]
    ) -> list[str]:
        """Return the segments with one more for `rows`; many small ones become one."""
        if len(segments) < _MAX_SEGMENTS:
            return [*segments, self._write_segment(schema, rows)]
        stored = self.connection.con.sql(
            f"SELECT {_quote_columns(schema.arrow.names)} FROM {self._scan(schema)}"
        )
        whole = pa.concat_tables([stored.to_arrow_table().cast(schema.arrow), rows])
        return [self._write_segment(schema, whole)]

    def _merge(
        self, schema: TableSchema, rows: pa.Table, segments: list[str]
    ) -> tuple[WriteCount, list[str]]:
        """Return the counts of `rows` against the stored rows, and the segments of both."""
        if not segments:
            new_segments = [self._write_segment(schema, rows)] if rows.num_rows else []
            return WriteCount(rows.num_rows, 0, 0), new_segments
        duck = self.connection.con
        duck.register("incoming", rows)
        key = _quote_columns(schema.key)
        known = schema.key[0]
        changed = duck.sql(
            f"SELECT i.*, s.{known} IS NOT NULL AS is_known "
            f"FROM incoming i LEFT JOIN {self._scan(schema)} s USING ({key})"
            f" WHERE s.{known} IS NULL OR hash(i) <> hash(s)"
        ).to_arrow_table()
        n_replaced = int(pc.sum(changed["is_known"]).as_py() or 0)
        count = WriteCount(
            changed.num_rows - n_replaced, n_replaced, rows.num_rows - changed.num_rows
        )
        changed = changed.select(schema.arrow.names).cast(schema.arrow)
        if not changed.num_rows:
            return count, segments
        if not n_replaced:
            return count, [*segments, self._write_segment(schema, changed)]
        duck.register("changed", changed)
        columns = _quote_columns(schema.arrow.names)
        whole = duck.sql(
            f"SELECT {columns} FROM {self._scan(schema)} ANTI JOIN changed USING ({key})"
            f" UNION ALL SELECT {columns} FROM changed"
        ).to_arrow_table()
        return count, [self._write_segment(schema, whole.cast(schema.arrow))]

    def _write_segment(self, schema: TableSchema, rows: pa.Table) -> str:
        """Write one Parquet file named by its content; return its path in the tables folder."""
        folder = self._folder / schema.name
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
        _sync_folder(folder)
        return f"{schema.name}/{digest}.parquet"

    def _scan(self, schema: TableSchema) -> str:
        """Return SQL for the stored rows of a table."""
        segments = self._read_manifest().get(schema.name, [])
        if not segments:
            name = f"empty_{schema.name}"
            self.connection.con.register(name, schema.arrow.empty_table())
            return name
        files = [self._folder / segment for segment in segments]
        paths = ", ".join("'" + str(file).replace("'", "''") + "'" for file in files)
        if all(schema.arrow.names == _read_names(file) for file in files):
            return f"read_parquet([{paths}])"
        # Written before the table had all of its columns: these are empty there.
        name = f"columns_{schema.name}"
        self.connection.con.register(name, schema.arrow.empty_table())
        scan = f"read_parquet([{paths}], union_by_name = true)"
        return f"(SELECT * FROM {name} UNION ALL BY NAME SELECT * FROM {scan})"

    def _read_received(self) -> pa.Table | None:
        """Return the events of the SQL table, None when the database has none."""
        return read_received_events(self._settings)

    def _read_decided(self, known_at: datetime | None) -> pa.Table | None:
        """Return the prices of the ledger, None when the database has none."""
        return read_known_prices(self._settings, known_at)

    @property
    def stamp(self) -> str:
        """A text that changes with every import."""
        return json.dumps(self._read_manifest(), sort_keys=True)

    def _read_manifest(self) -> dict[str, list[str]]:
        try:
            stored: dict[str, list[str]] = json.loads(
                (self._folder / MANIFEST).read_text(encoding="utf-8")
            )
        except FileNotFoundError:
            return {}
        return stored

    def _publish(self, manifest: Mapping[str, list[str]]) -> None:
        staging = self._folder / f".{MANIFEST}"
        with staging.open("w", encoding="utf-8") as file:
            json.dump(manifest, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        staging.replace(self._folder / MANIFEST)
        _sync_folder(self._folder)

    def _remove_unnamed(self, manifest: Mapping[str, list[str]]) -> None:
        """Remove segments that no manifest names: replaced, or of a write that did not finish.

        A segment is removed one day after the first write that finds it unnamed, since a reader may
        still have it open.
        """
        named = {segment for segments in manifest.values() for segment in segments}
        for path in self._folder.glob("*/*.parquet"):
            retired = path.with_suffix(".retired")
            if f"{path.parent.name}/{path.name}" in named:
                retired.unlink(missing_ok=True)
            elif not retired.exists():
                retired.touch()
            elif time.time() - retired.stat().st_mtime > _GRACE_SECONDS:
                path.unlink()
                retired.unlink()
        for path in self._folder.glob("*/*.ids.npy"):
            if not path.with_suffix("").with_suffix(".parquet").exists():
                path.unlink()

    @contextmanager
    def _hold_lock(self) -> Iterator[None]:
        """Allow one writer at a time, across processes; the lock ends with its process."""
        with (self._folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _find_schema(name: str) -> TableSchema:
    if name not in TABLES:
        raise UnknownName(name, TABLES, kind="table")
    return TABLES[name]


def _quote_columns(names: Iterable[str]) -> str:
    """Return the names quoted, since `at` and others are words of SQL."""
    return ", ".join(f'"{name}"' for name in names)


def _sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@cache
def _read_names(segment: Path) -> list[str]:
    """Return the columns of a segment, which is never written twice."""
    return list(pq.read_schema(segment).names)
