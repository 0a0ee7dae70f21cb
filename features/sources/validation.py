"""From the text rows of a file to rows of a canonical table, and the reasons of every bad row.

Everything happens in SQL over whole columns. The input is a DuckDB table `raw` whose columns are
all text, with file and row of where each row stood. The checks are those of contracts.row_checks.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb
import pyarrow as pa

from configs.settings import Settings
from features.contracts.event_ids import event_id_sql
from features.contracts.money import minor_digits
from features.contracts.row_checks import amounts_sql, fault_conditions
from features.contracts.tables import ATTRIBUTES, DEFAULT_ZONE, EVENTS, Kind, TableSchema
from features.contracts.texts import sql_literal, sql_name
from features.contracts.values import raw_column, text_sql, value_sql
from features.sources.raw import FILE, ROW

_SQL_TYPES = {
    Kind.TEXT: "VARCHAR",
    Kind.TIME: "TIMESTAMPTZ",
    Kind.NUMBER: "DOUBLE",
    Kind.INTEGER: "INTEGER",
    Kind.FLAG: "BOOLEAN",
    Kind.MONEY: "BIGINT",
    Kind.UNIT_MONEY: "DOUBLE",
}
# The attributes in the order of their names, as the id of an event counts them.
_SORTED_ATTRIBUTES = "sorted attributes"


@dataclass(frozen=True)
class Validated:
    """The rows of one table after the checks.

    good         in stored schema, keys distinct
    bad          file, row, reasons (joined by "; ") and raw (JSON)
    duplicates   how many rows say again what another row says
    attributes   the columns that the table does not know
    earlier_ids  aligned with `good`: the id that an event without one got when attributes counted
                 in the order of the file; None where that is the same id for every row
    """

    good: pa.Table
    bad: pa.Table
    duplicates: int
    attributes: list[str]
    earlier_ids: pa.ChunkedArray | None = None


def validate(
    duck: duckdb.DuckDBPyConnection,
    schema: TableSchema,
    present: list[str],
    settings: Settings,
    *,
    latest: datetime,
) -> Validated:
    """Check the table `raw`, whose columns besides file and row are `present`.

    `latest` is the latest time at which something may have been observed.
    """
    names = {column.name for column in schema.columns}
    extras = [name for name in present if name not in names]
    known = names & set(present)
    _create_typed(duck, schema, known, extras, settings)
    reasons = [
        f"CASE WHEN {condition} THEN {sql_literal(reason)} END"
        for condition, reason in fault_conditions(schema, known, latest)
    ]
    joined = (
        f"array_to_string(list_filter([{', '.join(reasons) or 'NULL'}], x -> x IS NOT NULL), '; ')"
    )
    duck.execute(f"CREATE OR REPLACE TEMP TABLE judged AS SELECT *, {joined} AS reasons FROM typed")
    in_file_order = schema is not EVENTS or extras == sorted(extras)
    attributes = [ATTRIBUTES] if in_file_order else [ATTRIBUTES, sql_name(_SORTED_ATTRIBUTES)]
    _create_kept(duck, schema, known, attributes)
    if schema is EVENTS:
        _identify_events(duck, in_file_order=in_file_order)
    duplicates = _drop_repeated(duck, schema)
    rows = duck.sql(f"SELECT * FROM kept ORDER BY {FILE}, {ROW}").to_arrow_table()
    earlier_ids = None if in_file_order else rows["earlier_id"]
    return Validated(
        good=rows.select(schema.arrow.names).cast(schema.arrow),
        bad=_select_bad(duck, present),
        duplicates=duplicates,
        attributes=extras,
        earlier_ids=earlier_ids,
    )


def _create_typed(
    duck: duckdb.DuckDBPyConnection,
    schema: TableSchema,
    known: Collection[str],
    extras: Sequence[str],
    settings: Settings,
) -> None:
    """Make the table `typed`: each known column typed, its text beside it, and the attributes."""
    scale = _minor_units_sql(schema, known, settings)
    selected = [FILE, ROW]
    for column in schema.columns:
        if column.name in known:
            selected += [
                f"{value_sql(column, scale)} AS {sql_name(column.stored_name)}",
                f"{text_sql(column.name)} AS {sql_name(raw_column(column.name))}",
            ]
    selected.append(f"{_attributes_sql(extras)} AS {ATTRIBUTES}")
    if schema is EVENTS and extras != sorted(extras):
        by_name = _attributes_sql(sorted(extras))
        selected.append(f"{by_name} AS {sql_name(_SORTED_ATTRIBUTES)}")
    duck.execute(f"CREATE OR REPLACE TEMP TABLE typed AS SELECT {', '.join(selected)} FROM raw")


def _create_kept(
    duck: duckdb.DuckDBPyConnection,
    schema: TableSchema,
    known: Collection[str],
    attributes: Sequence[str],
) -> None:
    """Make the table `kept`: the stored columns of the good rows with defaults, and attributes."""
    stored = []
    for column in schema.columns:
        name = sql_name(column.stored_name)
        value = name if column.name in known else "NULL"
        if isinstance(column.default, str):
            value = f"coalesce({value}, {sql_literal(column.default)})"
        elif column.default is not None:
            value = f"coalesce({value}, {str(column.default).lower()})"
        stored.append(f"({value})::{_SQL_TYPES[column.kind]} AS {name}")
    selected = ", ".join([FILE, ROW, *stored, *attributes])
    duck.execute(
        f"CREATE OR REPLACE TEMP TABLE kept AS SELECT {selected} FROM judged WHERE reasons = ''"
    )


def _minor_units_sql(schema: TableSchema, known: Collection[str], settings: Settings) -> str:
    """SQL for minor units in one major unit of the row's zone."""
    by_zone = {
        zone: 10 ** minor_digits(configured.currency) for zone, configured in settings.zones.items()
    }
    in_zones = any(column.name == "zone" for column in schema.columns)
    default = 10 ** minor_digits(settings.zone(DEFAULT_ZONE).currency)
    if not by_zone or not in_zones or "zone" not in known:
        return str(default)
    cases = " ".join(f"WHEN {sql_literal(zone)} THEN {scale}" for zone, scale in by_zone.items())
    other = 10 ** minor_digits(settings.currency)
    zone = f"coalesce({text_sql('zone')}, {sql_literal(DEFAULT_ZONE)})"
    return f"(CASE {zone} {cases} ELSE {other} END)"


def _identify_events(duck: duckdb.DuckDBPyConnection, *, in_file_order: bool) -> None:
    """Give an event without an id the one of its content, and complete its amounts."""
    order = f"{FILE}, {ROW}"
    by_file = event_id_sql(ATTRIBUTES, order)
    event_id, earlier_id = by_file, ""
    if not in_file_order:
        event_id = event_id_sql(sql_name(_SORTED_ATTRIBUTES), order)
        earlier_id = f", coalesce(event_id, {by_file}) AS earlier_id"
    duck.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE kept AS SELECT * REPLACE (
            coalesce(event_id, {event_id}) AS event_id, {amounts_sql()}
        ){earlier_id} FROM kept
        """
    )


def _drop_repeated(duck: duckdb.DuckDBPyConnection, schema: TableSchema) -> int:
    """Keep the last row of each key. Earlier rows that say the same are counted, others go to the
    table `repeated`."""
    key = ", ".join(sql_name(name) for name in schema.key)
    names = ", ".join(sql_name(name) for name in schema.arrow.names)
    latest_first = f"(PARTITION BY {key} ORDER BY {FILE} DESC, {ROW} DESC)"
    duck.execute(
        f"CREATE OR REPLACE TEMP TABLE ranked AS SELECT *, "
        f"row_number() OVER {latest_first} AS recency, hash({names}) AS content, "
        f"first(hash({names})) OVER {latest_first} AS last_content FROM kept"
    )
    reason = sql_literal(f"a later row has the same {' and '.join(schema.key)}")
    duck.execute(
        f"CREATE OR REPLACE TEMP TABLE repeated AS SELECT {FILE}, {ROW}, {reason} AS reasons "
        "FROM ranked WHERE recency > 1 AND content <> last_content"
    )
    same = duck.sql(
        "SELECT count(*) FROM ranked WHERE recency > 1 AND content = last_content"
    ).fetchone()
    duck.execute("CREATE OR REPLACE TEMP TABLE kept AS SELECT * FROM ranked WHERE recency = 1")
    return int(same[0]) if same else 0


def _select_bad(duck: duckdb.DuckDBPyConnection, present: Sequence[str]) -> pa.Table:
    """The rows that failed, with their reasons and their values as given."""
    raw = ", ".join(f"{sql_literal(name)}, {sql_name(name)}" for name in present)
    return duck.sql(
        f'SELECT r.{FILE} AS file, r.{ROW} AS "row", b.reasons, '
        f"json_object({raw})::VARCHAR AS raw FROM raw r JOIN ("
        f"SELECT {FILE}, {ROW}, reasons FROM judged WHERE reasons <> '' "
        "UNION ALL SELECT * FROM repeated) b "
        f"ON r.{FILE} = b.{FILE} AND r.{ROW} = b.{ROW} ORDER BY 1, 2"
    ).to_arrow_table()


def _attributes_sql(names: Sequence[str]) -> str:
    """SQL for the values of unknown columns as JSON, null where none has a value."""
    if not names:
        return "NULL::VARCHAR"
    pairs = ", ".join(f"{sql_literal(name)}, {text_sql(name)}" for name in names)
    return f"nullif(json_merge_patch('{{}}', json_object({pairs}))::VARCHAR, '{{}}')"
