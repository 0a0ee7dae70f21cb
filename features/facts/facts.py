"""Imported facts: Parquet segments behind an atomic manifest, read together with the database.

A write puts new segments beside the old ones and then replaces `manifest.json` in one rename: a
crash at any line leaves the old state or the new one, and a later write removes segments that no
manifest names.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.compute as pc

from configs.settings import Settings
from features.contracts.files import hold_lock
from features.contracts.manifest import read_segments
from features.contracts.row_checks import ZoneRules
from features.contracts.tables import (
    EVENTS,
    PRICE_HISTORY,
    PROMOTIONS,
    USERS,
    EventType,
    TableSchema,
    find_schema,
)
from features.contracts.texts import sql_path
from features.facts.consents import read_stated_consents
from features.facts.erased_ids import Erasures, leave_out_erased, read_stored_erasures
from features.facts.events import read_received_events
from features.facts.exclusions import Exclusions, RowCondition, mark_rows
from features.facts.known_events import ImportedEvents
from features.facts.publishing import GivenZones, publish_tables
from features.facts.query_sessions import open_session
from features.facts.segments import read_names, remove_unnamed, write_segment
from features.facts.zones import build_zone_rules
from features.pipelines.expressions import zone_of
from features.prices.ledger import read_priced_zones
from features.prices.ledger_table import read_known_prices
from features.prices.promotions import read_promotions
from features.sources.report import WriteCount

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

# Beyond this many an addition writes the table anew: readers and look-ups open every segment.
_MAX_SEGMENTS = 16


class Facts:
    """The canonical tables of one state folder."""

    def __init__(
        self,
        settings: Settings,
        *,
        before_publish: Callable[[Facts], None] | None = None,
        manifest: dict[str, list[str]] | None = None,
        given: Mapping[str, pa.Table] | None = None,
    ) -> None:
        """Open the tables.

        before_publish   called by `write` with the tables as they will be, before anybody else sees
                         them; when it raises, nothing is published
        manifest         the segments to read instead of the published ones
        given            the rows that are being written, by table: a part of these segments
        """
        self._settings = settings
        self._folder = settings.home / "tables"
        self._before_publish = before_publish
        self._manifest = manifest
        self.given = given or {}

    @cached_property
    def connection(self) -> Backend:
        """A DuckDB session whose time zone is UTC, as Ibis knows it."""
        return open_session(self._settings.home / "spill")

    def read(self, table: str, known_at: datetime | None = None) -> ir.Table:
        """Return `table` in its stored schema, each key once, with the rows of the database.

        `events` has those received over HTTP and lacks searches, which are of no item, and those
        marked `exclude`. `users` has what people stated to the shop. `price_history` has the prices
        of the ledger except those observed in sales, `promotions` those that the price desk
        approved; with `known_at` (business time) they lack its decisions from then on.
        """
        schema = find_schema(table)
        if schema is EVENTS:
            events = self.read_all_events()
            is_search = events.event_type == EventType.SEARCH.value
            return events.filter(~is_search & ~events.exclude.fill_null(False))
        stored = self.read_imported(table)
        mark = str(known_at or "")
        if schema is USERS:
            stated = read_stated_consents(self._settings)
            return self._join_rows(stored, stated, USERS.key, replaces=True)
        if schema is PROMOTIONS:
            planned = read_promotions(self._settings, known_at)
            return self._join_rows(stored, planned, PROMOTIONS.key, mark=mark)
        if schema is PRICE_HISTORY:
            decided = self._read_decided(known_at)
            # Of an item that the ledger prices it has all rows, except those that wait.
            key = ("item_id", "zone")
            return self._join_rows(stored, decided, key, replaces=True, mark=mark)
        return stored

    def read_all_events(self) -> ir.Table:
        """Return the events with those that count for nothing."""
        # The database first: what is sealed leaves it only after the manifest names it.
        received = self._read_received()
        return self._join_rows(self.read_imported(EVENTS.name), received, EVENTS.key)

    def read_imported(self, table: str) -> ir.Table:
        """Return `table` as imported, in its stored schema."""
        schema = find_schema(table)
        # Given, not looked up: that would open every segment once more.
        types = {
            name: kind.copy(nullable=True)
            for name, kind in ibis.Schema.from_pyarrow(schema.arrow).items()
        }
        return self.connection.sql(f"SELECT * FROM {self._scan(schema)}", schema=types)

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
        rows = self.read_all_events() if table == EVENTS.name else self.read(table)
        return bool(rows.limit(1).count().to_pyarrow().as_py() == 0)

    def read_columns(self, table: str, names: Sequence[str]) -> pa.Table:
        """Return columns of the imported rows of `table`, in stored types."""
        return self.read_imported(table).select(*names).to_pyarrow()

    def find_zone_rules(self, priced: Iterable[str] = ()) -> ZoneRules:
        """Return the zones that rows may name: those of the settings, of the price list, and
        `priced`."""
        listed = self.read_imported(PRICE_HISTORY.name).zone.to_pyarrow().unique().to_pylist()
        in_ledger = read_priced_zones(self._settings)
        return build_zone_rules(self._settings, {*priced, *listed, *in_ledger})

    @cached_property
    def erasures(self) -> Erasures:
        """The people who were erased, as they were at the first look."""
        return read_stored_erasures(self._settings)

    def is_erased(self, kind: str, text: str) -> bool:
        """Return whether the id of a user, visitor or session is that of an erased person."""
        return self.erasures.contain(kind, text)

    def knows_events(self, event_ids: Sequence[str]) -> list[bool]:
        """Return for each id whether an imported event has it."""
        return ImportedEvents(self._settings).contain(event_ids)

    def latest_event_at(self) -> datetime | None:
        """Return when the latest event occurred; None without events."""
        latest = self.read("events").occurred_at.max().to_pyarrow().as_py()
        return None if latest is None else latest.astimezone(UTC)

    def find_latest_sales(self) -> dict[str, datetime]:
        """Return when the latest purchase of each zone occurred, by zone; a view is no sale."""
        events = self.read("events")
        sold = events.filter(events.event_type == EventType.PURCHASE.value)
        latest = sold.group_by(zone=zone_of(sold)).aggregate(at=sold.occurred_at.max())
        return {row["zone"]: row["at"].astimezone(UTC) for row in latest.to_pyarrow().to_pylist()}

    def write(
        self, tables: Mapping[str, pa.Table], unknown_zones: Iterable[str] = ()
    ) -> dict[str, WriteCount]:
        """Add rows in stored schema to several tables in one step; readers see all or nothing.

        Keys within the given rows must be distinct. A row whose key is known replaces the earlier
        row; a row that is stored already changes nothing. `unknown_zones` are those whose rows
        with amounts became rows of the default zone. Raises BadInput where the amounts of a zone
        are kept in another currency than the settings say.
        """
        zones = GivenZones.of(tables, unknown_zones)
        self._folder.mkdir(parents=True, exist_ok=True)
        with hold_lock(self._folder / ".lock"):
            manifest = read_segments(self._folder)
            counts = {}
            for name, rows in tables.items():
                schema = find_schema(name)
                given = rows.cast(schema.arrow)
                if schema is EVENTS:
                    given = mark_rows(given, Exclusions(self._settings).find())
                kept = leave_out_erased(self._settings, given)
                count, manifest[name] = self._merge(schema, kept, manifest.get(name, []))
                counts[name] = replace(count, erased=given.num_rows - kept.num_rows)
            if self._before_publish is not None:
                self._before_publish(Facts(self._settings, manifest=manifest, given=tables))
            changed = any(count.new or count.replaced for count in counts.values())
            publish_tables(self._settings, manifest, zones, changed=changed)
            remove_unnamed(self._folder, manifest)
        return counts

    def edit(
        self,
        table: str,
        keys: Sequence[str],
        change: Callable[[Mapping[str, Mapping[str, object]]], pa.Table],
    ) -> WriteCount:
        """Write the rows that `change` makes of the stored rows whose first key column is in
        `keys`, given by that column; nobody else writes between."""
        schema = find_schema(table)
        column = schema.key[0]
        with hold_lock(self._folder / ".lock"):
            manifest = read_segments(self._folder)
            self.connection.con.register("wanted", pa.table({column: pa.array(keys, pa.string())}))
            stored = self.connection.con.sql(
                f"SELECT * FROM {self._scan(schema)} SEMI JOIN wanted USING ({column})"
            ).to_arrow_table()
            rows = change({row[column]: row for row in stored.to_pylist()}).cast(schema.arrow)
            segments = manifest.get(table, [])
            count, manifest[table] = self._merge(schema, rows, segments, compacts=True)
            if self._before_publish is not None:
                self._before_publish(Facts(self._settings, manifest=manifest))
            self._publish(manifest, {table: rows}, changed=bool(count.new or count.replaced))
            remove_unnamed(self._folder, manifest)
        return count

    def add(self, tables: Mapping[str, pa.Table]) -> dict[str, int]:
        """Add the rows whose key is new, as `write` does, but those of people who were erased;
        return how many by table."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with hold_lock(self._folder / ".lock"):
            manifest = read_segments(self._folder)
            counts = {}
            for name, rows in tables.items():
                schema, segments = find_schema(name), manifest.get(name, [])
                kept = leave_out_erased(self._settings, rows.cast(schema.arrow))
                self.connection.con.register("incoming", kept)
                known = f"{self._scan(schema)} USING ({_quote_columns(schema.key)})"
                new = self.connection.con.sql(
                    f"SELECT * FROM incoming ANTI JOIN {known}"
                ).to_arrow_table()
                counts[name] = new.num_rows
                if new.num_rows:
                    new = new.select(schema.arrow.names).cast(schema.arrow)
                    manifest[name] = self._append_segment(schema, new, segments)
            self._publish(manifest, tables, changed=any(counts.values()))
            remove_unnamed(self._folder, manifest)
        return counts

    def rewrite(self, table: str, rows: RowCondition, value: str | None) -> int:
        """Set the mark `exclude` of the imported rows that match, or with None remove them.

        `value` is SQL. Returns how many rows changed.
        """
        schema = find_schema(table)
        condition, parameters = rows.build_sql()
        if value is not None:
            condition = f"{condition} AND exclude IS DISTINCT FROM {value}"
        self._folder.mkdir(parents=True, exist_ok=True)
        with hold_lock(self._folder / ".lock"):
            manifest, duck = read_segments(self._folder), self.connection.con
            names = _quote_columns(schema.arrow.names)
            stored = f"FROM (SELECT *, {condition} AS matches FROM {self._scan(schema)})"
            count = duck.sql(
                f"SELECT count(*) {stored} WHERE matches", params=parameters
            ).fetchone()
            if count is None or count[0] == 0:
                return 0
            query = f"SELECT {names} {stored} WHERE NOT matches"
            if value is not None:
                query = f"SELECT * EXCLUDE (matches) REPLACE (CASE WHEN matches THEN {value} "
                query += f"ELSE exclude END AS exclude) {stored}"
            kept = duck.sql(query, params=parameters).to_arrow_table()
            kept = kept.select(schema.arrow.names).cast(schema.arrow)
            manifest[table] = [write_segment(self._folder, schema, kept)] if kept.num_rows else []
            self._publish(manifest, {table: kept}, changed=True)
            remove_unnamed(self._folder, manifest)
        return int(count[0])

    def _append_segment(
        self, schema: TableSchema, rows: pa.Table, segments: list[str]
    ) -> list[str]:
        """Return the segments with one more for `rows`; many small ones become one."""
        if len(segments) < _MAX_SEGMENTS:
            return [*segments, write_segment(self._folder, schema, rows)]
        stored = self.connection.con.sql(
            f"SELECT {_quote_columns(schema.arrow.names)} FROM {self._scan(schema)}"
        )
        whole = pa.concat_tables([stored.to_arrow_table().cast(schema.arrow), rows])
        return [write_segment(self._folder, schema, whole)]

    def _merge(
        self, schema: TableSchema, rows: pa.Table, segments: list[str], *, compacts: bool = False
    ) -> tuple[WriteCount, list[str]]:
        """Return the counts of `rows` against the stored rows, and the segments of both.

        With `compacts` many small segments become one.
        """
        if not segments:
            new_segments = [write_segment(self._folder, schema, rows)] if rows.num_rows else []
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
            if compacts:
                return count, self._append_segment(schema, changed, segments)
            return count, [*segments, write_segment(self._folder, schema, changed)]
        duck.register("changed", changed)
        columns = _quote_columns(schema.arrow.names)
        whole = duck.sql(
            f"SELECT {columns} FROM {self._scan(schema)} ANTI JOIN changed USING ({key})"
            f" UNION ALL SELECT {columns} FROM changed"
        ).to_arrow_table()
        return count, [write_segment(self._folder, schema, whole.cast(schema.arrow))]

    def _scan(self, schema: TableSchema) -> str:
        """Return SQL for the stored rows of a table."""
        segments = self._read_manifest().get(schema.name, [])
        if not segments:
            name = f"empty_{schema.name}"
            self.connection.con.register(name, schema.arrow.empty_table())
            return name
        files = [self._folder / segment for segment in segments]
        paths = ", ".join(sql_path(str(file)) for file in files)
        # The name of a folder may look like the value of a column, `zone=1`, and is none.
        options = "hive_partitioning = false"
        if all(schema.arrow.names == read_names(file) for file in files):
            return f"read_parquet([{paths}], {options})"
        # Written before the table had all of its columns: these are empty there.
        name = f"columns_{schema.name}"
        self.connection.con.register(name, schema.arrow.empty_table())
        scan = f"read_parquet([{paths}], {options}, union_by_name = true)"
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
        """Return the segments by table."""
        return read_segments(self._folder) if self._manifest is None else self._manifest

    def _publish(
        self, manifest: Mapping[str, list[str]], tables: Mapping[str, pa.Table], *, changed: bool
    ) -> None:
        publish_tables(self._settings, manifest, GivenZones.of(tables), changed=changed)


def _quote_columns(names: Iterable[str]) -> str:
    """Return the names quoted, since `at` and others are words of SQL."""
    return ", ".join(f'"{name}"' for name in names)
