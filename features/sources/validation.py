"""From the text rows of a file to rows of a canonical table, and the reasons of every bad row.

Everything happens in SQL over whole columns. The input is a DuckDB table `raw` whose columns are
all text, with file and row of where each row stood. The checks are those of contracts.row_checks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from configs.settings import Settings
from features.contracts.event_ids import event_id_sql
from features.contracts.money import minor_digits
from features.contracts.row_checks import (
    ZoneRules,
    amounts_sql,
    fault_conditions,
    settle_item_sql,
    settle_zone_sql,
)
from features.contracts.tables import ATTRIBUTES, DEFAULT_ZONE, EVENTS, Kind, TableSchema
from features.contracts.texts import clean_sql, sql_literal, sql_name
from features.contracts.values import raw_column, value_sql
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
# The zone as it was given, where unknown zones became the default one: the id of an event counts
# it.
_GIVEN_ZONE = "zone as given"

_MAX_ROUNDING = 0.005  # a share of the amount


@dataclass(frozen=True)
class Validated:
    """The rows of one table after the checks.

    good         in stored schema, keys distinct
    bad          file, row, reasons (joined by "; ") and raw (JSON)
    duplicates   how many rows say again what another row says
    attributes   the columns that the table does not know
    n_unknown_zones   rows of unknown zones that became rows of the default zone
    unknown_zones   the zones of those that are good
    earlier_ids  aligned with `good`: the id that an event without one got when attributes counted
                 in the order of the file, and unknown zones as the default one; None where that is
                 the same id for every row
    rounded      rows whose amount was rounded by more than `_MAX_ROUNDING`, by column
    """

    good: pa.Table
    bad: pa.Table
    duplicates: int
    attributes: list[str]
    n_unknown_zones: int = 0
    unknown_zones: frozenset[str] = frozenset()
    earlier_ids: pa.ChunkedArray | None = None
    rounded: Mapping[str, int] = field(default_factory=dict)


def validate(
    duck: duckdb.DuckDBPyConnection,
    schema: TableSchema,
    present: list[str],
    settings: Settings,
    *,
    latest: datetime,
    zones: ZoneRules | None = None,
) -> Validated:
    """Check the table `raw`, whose columns besides file and row are `present`.

    latest   the latest time at which something may have been observed
    zones    the zones that rows may name; None where every zone is known
    """
    names = {column.name for column in schema.columns}
    extras = [name for name in present if name not in names]
    known = names & set(present)
    n_unknown_zones = _create_cleaned(duck, schema, [*sorted(known), *extras], zones)
    carried = _list_carried(schema, extras, n_unknown_zones)
    _create_typed(duck, schema, known, extras, settings, carried)
    reasons = [
        f"CASE WHEN {condition} THEN {sql_literal(reason)} END"
        for condition, reason in fault_conditions(schema, known, latest, zones)
    ]
    joined = (
        f"array_to_string(list_filter([{', '.join(reasons) or 'NULL'}], x -> x IS NOT NULL), '; ')"
    )
    duck.execute(f"CREATE OR REPLACE TEMP TABLE judged AS SELECT *, {joined} AS reasons FROM typed")
    _create_kept(duck, schema, known, [ATTRIBUTES, *carried])
    if schema is EVENTS:
        _identify_events(duck, carried)
    duplicates = _drop_repeated(duck, schema)
    rows = duck.sql(f"SELECT * FROM kept ORDER BY {FILE}, {ROW}").to_arrow_table()
    earlier_ids = rows["earlier_id"] if carried and schema is EVENTS else None
    return Validated(
        good=rows.select(schema.arrow.names).cast(schema.arrow),
        bad=_select_bad(duck, present),
        duplicates=duplicates,
        attributes=extras,
        n_unknown_zones=n_unknown_zones,
        unknown_zones=_find_unknown_zones(rows) if n_unknown_zones else frozenset(),
        earlier_ids=earlier_ids,
        rounded=_count_rounded(duck, schema, known, settings),
    )


def _create_typed(
    duck: duckdb.DuckDBPyConnection,
    schema: TableSchema,
    known: Collection[str],
    extras: Sequence[str],
    settings: Settings,
    carried: Mapping[str, str],
) -> None:
    """Make the table `typed`: each known column typed, its text beside it, the attributes, and what
    is `carried` (SQL by name)."""
    scale = _minor_units_sql(schema, known, settings)
    selected = [FILE, ROW]
    for column in schema.columns:
        if column.name in known:
            selected += [
                f"{value_sql(column, scale)} AS {sql_name(column.stored_name)}",
                f"{sql_name(column.name)} AS {sql_name(raw_column(column.name))}",
            ]
    selected.append(f"{_attributes_sql(extras)} AS {ATTRIBUTES}")
    selected += [f"{value} AS {sql_name(name)}" for name, value in carried.items()]
    duck.execute(f"CREATE OR REPLACE TEMP TABLE typed AS SELECT {', '.join(selected)} FROM cleaned")


def _list_carried(
    schema: TableSchema, extras: Sequence[str], n_unknown_zones: int
) -> dict[str, str]:
    """Return what a row says in another form than it is stored in: SQL by name.

    The id of an event counts it in that form.
    """
    carried = {}
    if schema is EVENTS and list(extras) != sorted(extras):
        carried[_SORTED_ATTRIBUTES] = _attributes_sql(sorted(extras))
    if n_unknown_zones:
        carried[_GIVEN_ZONE] = f"coalesce({sql_name(_GIVEN_ZONE)}, {sql_literal(DEFAULT_ZONE)})"
    return carried


def _create_cleaned(
    duck: duckdb.DuckDBPyConnection,
    schema: TableSchema,
    names: Sequence[str],
    zones: ZoneRules | None,
) -> int:
    """Make the view `cleaned`: the texts of `raw` as they are stored.

    Returns how many rows of unknown zones became rows of the default zone.
    """
    texts = [f"{clean_sql(sql_name(name))} AS {sql_name(name)}" for name in names]
    selected = f"SELECT {', '.join([FILE, ROW, *texts])} FROM raw"
    if schema is EVENTS and {"item_id", "event_type"} <= set(names):
        selected = f"SELECT * REPLACE ({settle_item_sql()} AS item_id) FROM ({selected})"
    if zones is None or not zones.unknown_become_default or "zone" not in names:
        duck.execute(f"CREATE OR REPLACE TEMP VIEW cleaned AS {selected}")
        return 0
    settled = settle_zone_sql(zones)
    duck.execute(
        f"CREATE OR REPLACE TEMP VIEW cleaned AS "
        f"SELECT * REPLACE ({settled} AS zone), zone AS {sql_name(_GIVEN_ZONE)} FROM ({selected})"
    )
    count = duck.sql(f"SELECT count(*) FROM ({selected}) WHERE zone <> {settled}").fetchone()
    return int(count[0]) if count else 0


def _find_unknown_zones(rows: pa.Table) -> frozenset[str]:
    """Return the given zones of rows that became rows of another zone."""
    given = rows[_GIVEN_ZONE]
    return frozenset(pc.unique(given.filter(pc.not_equal(given, rows["zone"]))).to_pylist())


def _count_rounded(
    duck: duckdb.DuckDBPyConnection,
    schema: TableSchema,
    known: Collection[str],
    settings: Settings,
) -> dict[str, int]:
    """Count the good rows whose amount moved by more than `_MAX_ROUNDING` when it was rounded."""
    scale = _minor_units_sql(schema, known, settings)
    counts = {}
    for column in schema.columns:
        if column.kind is Kind.MONEY and column.name in known:
            given = f"nullif(TRY_CAST({sql_name(raw_column(column.name))} AS DOUBLE), 0)"
            moved = f"abs({sql_name(column.stored_name)} / ({given} * {scale}) - 1)"
            counted = duck.sql(
                f"SELECT count(*) FROM judged WHERE reasons = '' AND {moved} > {_MAX_ROUNDING}"
            ).fetchone()
            if counted and counted[0]:
                counts[column.name] = int(counted[0])
    return counts


def _create_kept(
    duck: duckdb.DuckDBPyConnection,
    schema: TableSchema,
    known: Collection[str],
    others: Sequence[str],
) -> None:
    """Make the table `kept`: the stored columns of the good rows with defaults, and `others`."""
    stored = []
    for column in schema.columns:
        name = sql_name(column.stored_name)
        value = name if column.name in known else "NULL"
        if isinstance(column.default, str):
            value = f"coalesce({value}, {sql_literal(column.default)})"
        elif column.default is not None:
            value = f"coalesce({value}, {str(column.default).lower()})"
        stored.append(f"({value})::{_SQL_TYPES[column.kind]} AS {name}")
    selected = ", ".join([FILE, ROW, *stored, *map(sql_name, others)])
    duck.execute(
        f"CREATE OR REPLACE TEMP TABLE kept AS SELECT {selected} FROM judged WHERE reasons = ''"
    )


def _minor_units_sql(schema: TableSchema, known: Collection[str], settings: Settings) -> str:
    """SQL for minor units in one major unit of the row's zone."""
    by_zone = {zone: 10 ** minor_digits(settings.zone(zone).currency) for zone in settings.zones}
    in_zones = any(column.name == "zone" for column in schema.columns)
    default = 10 ** minor_digits(settings.zone(DEFAULT_ZONE).currency)
    if not by_zone or not in_zones or "zone" not in known:
        return str(default)
    cases = " ".join(f"WHEN {sql_literal(zone)} THEN {scale}" for zone, scale in by_zone.items())
    other = 10 ** minor_digits(settings.currency)
    zone = f"coalesce(zone, {sql_literal(DEFAULT_ZONE)})"
    return f"(CASE {zone} {cases} ELSE {other} END)"


def _identify_events(duck: duckdb.DuckDBPyConnection, carried: Collection[str]) -> None:
    """Give an event without an id the one of its content, and complete its amounts."""
    order = f"{FILE}, {ROW}"
    event_id = event_id_sql(
        sql_name(_SORTED_ATTRIBUTES if _SORTED_ATTRIBUTES in carried else ATTRIBUTES),
        order,
        sql_name(_GIVEN_ZONE if _GIVEN_ZONE in carried else "zone"),
    )
    earlier_id = ""
    if carried:
        earlier_id = f", coalesce(event_id, {event_id_sql(ATTRIBUTES, order)}) AS earlier_id"
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
    """SQL for the cleaned values of unknown columns as JSON, null where none has a value."""
    if not names:
        return "NULL::VARCHAR"
    pairs = ", ".join(f"{sql_literal(name)}, {sql_name(name)}" for name in names)
    return f"nullif(json_merge_patch('{{}}', json_object({pairs}))::VARCHAR, '{{}}')"
