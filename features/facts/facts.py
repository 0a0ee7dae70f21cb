"""Imported facts: Parquet segments behind an atomic manifest, read together with what the database
holds.

A write puts new segments beside the old ones and then replaces `manifest.json` in one rename: a
crash at any line leaves the old state or the new one, and a segment no manifest names is swept up
by a later write. DuckDB is in memory.
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
from typing import Any

import ibis
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from configs.settings import Settings
from features.contracts.errors import UnknownName
from features.contracts.tables import EVENTS, PRICE_HISTORY, TABLES, TableSchema
from features.facts.known_events import MANIFEST, ImportedEvents, digests_file, write_digests
from features.sources.report import WriteCount

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
    def connection(self) -> Any:
        """An in-memory Ibis DuckDB backend whose session time zone is UTC."""
        backend = ibis.duckdb.connect()
        backend.raw_sql("SET TimeZone = 'UTC'")
        backend.raw_sql(f"SET memory_limit = '{_MEMORY_LIMIT}'")
        spill = str(self._settings.home / "spill").replace("'", "''")
        backend.raw_sql(f"SET temp_directory = '{spill}'")
        return backend

    def read(self, table: str, known_at: datetime | None = None) -> ibis.Table:
        """`table` in its stored schema, each key once, with what the database holds of it too.

        `events` has those received over HTTP, `price_history` the prices of the ledger that were
        not read off sales; with `known_at` (business time) it lacks what the price desk decided
        from then on.
        """
        schema = _schema(table)
        if schema is EVENTS:
            # The database first: what is sealed leaves it only after the manifest names it.
            received = self._received()
            return self._joined(self.imported(table), received, ("event_id",))
        stored = self.imported(table)
        if schema is PRICE_HISTORY:
            return self._joined(
                stored, self._decided(known_at), schema.key, wins=True, mark=str(known_at or "")
            )
        return stored

    def imported(self, table: str) -> ibis.Table:
        """`table` as imported, in its stored schema."""
        return self.connection.sql(f"SELECT * FROM {self._scan(_schema(table))}")

    def _joined(
        self,
        stored: Any,
        rows: pa.Table | None,
        key: Sequence[str],
        *,
        wins: bool = False,
        mark: str = "",
    ) -> Any:
        """`stored` and the database's rows, each key once: the imported row, or with `wins` the
        database's."""
        if rows is None or not rows.num_rows:
            return stored
        name = f"database_{'_'.join(key)}{mark}"
        self.connection.con.register(name, rows)
        others = self.connection.sql(f'SELECT * FROM "{name}"')
        return (
            others.union(stored.anti_join(others, key))
            if wins
            else stored.union(others.anti_join(stored, key))
        )

    def is_empty(self, table: str) -> bool:
        """Whether `table` holds no row."""
        return bool(self.read(table).limit(1).count().to_pyarrow().as_py() == 0)

    def knows_events(self, event_ids: Sequence[str]) -> list[bool]:
        """Return for each id whether an imported event has it."""
        return ImportedEvents(self._settings).contain(event_ids)

    def latest_event_at(self) -> datetime | None:
        """When the latest event occurred; None without events."""
        latest = self.read("events").occurred_at.max().to_pyarrow().as_py()
        return None if latest is None else latest.astimezone(UTC)

    def write(self, tables: Mapping[str, pa.Table]) -> dict[str, WriteCount]:
        """Adds rows in stored schema to several tables in one step, seen by readers wholly or not
        at all.

        Keys within the given rows must be distinct. A row whose key is known replaces the earlier
        row; a row that is known as it stands changes nothing.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._locked():
            manifest = self._manifest()
            counts = {}
            for name, rows in tables.items():
                schema = _schema(name)
                counts[name], manifest[name] = self._merge(
                    schema, rows.cast(schema.arrow), manifest.get(name, [])
                )
            if any(count.new or count.replaced for count in counts.values()):
                self._publish(manifest)
            self._sweep(manifest)
        return counts

    def add(self, tables: Mapping[str, pa.Table]) -> dict[str, int]:
        """Adds the rows whose key is not known yet, as `write` does; returns how many they were by
        table."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._locked():
            manifest = self._manifest()
            counts = {}
            for name, rows in tables.items():
                schema, segments = _schema(name), manifest.get(name, [])
                self.connection.con.register("incoming", rows.cast(schema.arrow))
                new = self.connection.con.sql(
                    f"SELECT * FROM incoming ANTI JOIN {self._scan(schema)} USING ({_columns(schema.key)})"
                ).to_arrow_table()
                counts[name] = new.num_rows
                if new.num_rows:
                    new = new.select(schema.arrow.names).cast(schema.arrow)
                    manifest[name] = self._appended(schema, new, segments)
            if any(counts.values()):
                self._publish(manifest)
            self._sweep(manifest)
        return counts

    def _appended(self, schema: TableSchema, rows: pa.Table, segments: list[str]) -> list[str]:
        """The segments with one more for `rows`; many small ones become one."""
        if len(segments) < _MAX_SEGMENTS:
            return [*segments, self._write_segment(schema, rows)]
        stored = self.connection.con.sql(
            f"SELECT {_columns(schema.arrow.names)} FROM {self._scan(schema)}"
        )
        whole = pa.concat_tables([stored.to_arrow_table().cast(schema.arrow), rows])
        return [self._write_segment(schema, whole)]

    def _merge(
        self, schema: TableSchema, rows: pa.Table, segments: list[str]
    ) -> tuple[WriteCount, list[str]]:
        """How `rows` relate to what is stored, and the segments that hold both."""
        if not segments:
            return WriteCount(rows.num_rows, 0, 0), [
                self._write_segment(schema, rows)
            ] if rows.num_rows else []
        duck = self.connection.con
        duck.register("incoming", rows)
        key = _columns(schema.key)
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
        columns = _columns(schema.arrow.names)
        whole = duck.sql(
            f"SELECT {columns} FROM {self._scan(schema)} ANTI JOIN changed USING ({key})"
            f" UNION ALL SELECT {columns} FROM changed"
        ).to_arrow_table()
        return count, [self._write_segment(schema, whole.cast(schema.arrow))]

    def _write_segment(self, schema: TableSchema, rows: pa.Table) -> str:
        """Writes one Parquet file named by its content; returns its path under the tables
        folder."""
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
        _sync(folder)
        return f"{schema.name}/{digest}.parquet"

    def _scan(self, schema: TableSchema) -> str:
        """SQL that yields the stored rows of a table."""
        segments = self._manifest().get(schema.name, [])
        if not segments:
            name = f"empty_{schema.name}"
            self.connection.con.register(name, schema.arrow.empty_table())
            return name
        files = [self._folder / segment for segment in segments]
        paths = ", ".join("'" + str(file).replace("'", "''") + "'" for file in files)
        if all(schema.arrow.names == _names(file) for file in files):
            return f"read_parquet([{paths}])"
        # Written before the table had all of its columns: these are empty there.
        name = f"columns_{schema.name}"
        self.connection.con.register(name, schema.arrow.empty_table())
        return f"(SELECT * FROM {name} UNION ALL BY NAME SELECT * FROM read_parquet([{paths}], union_by_name = true))"

    def _received(self) -> pa.Table | None:
        """Events of the SQL table, None when the database has none."""
        from features.facts.events import received_events

        return received_events(self._settings)

    def _decided(self, known_at: datetime | None) -> pa.Table | None:
        """Prices of the ledger, None when the database has none."""
        from features.prices.ledger import known_prices

        return known_prices(self._settings, known_at)

    @property
    def stamp(self) -> str:
        """Changes with every import."""
        return json.dumps(self._manifest(), sort_keys=True)

    def _manifest(self) -> dict[str, list[str]]:
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
        _sync(self._folder)

    def _sweep(self, manifest: Mapping[str, list[str]]) -> None:
        """Removes segments that no manifest names: replaced ones, and those of a write that did not
        finish.

        One day after the first write that found them so: whoever opened the table before may still
        be reading them.
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
    def _locked(self) -> Iterator[None]:
        """One writer at a time, across processes; the lock goes with its process."""
        with (self._folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _schema(name: str) -> TableSchema:
    if name not in TABLES:
        raise UnknownName(name, TABLES, kind="table")
    return TABLES[name]


def _columns(names: Iterable[str]) -> str:
    """Quoted, since `at` and others are words of SQL."""
    return ", ".join(f'"{name}"' for name in names)


def _sync(folder: Path) -> None:
    """Makes renames in a folder outlast a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@cache
def _names(segment: Path) -> list[str]:
    """Its columns; a segment is never written twice."""
    return list(pq.read_schema(segment).names)
