"""From the files of one table to the DuckDB table `raw`: all text, with the file and row of origin.

CSV is read strictly: comma, double quotes, UTF-8, a first line of column names, nothing guessed. A
line that is no row (bad encoding, too few or many values) is returned with its reason. Names match
without regard to case and blanks.
"""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from features.contracts.errors import BadInput
from features.contracts.tables import TableSchema
from features.contracts.texts import clean_text, sql_literal, sql_name, sql_path
from features.sources.id_columns import (
    find_decimal_ids,
    rewrite_decimal_ids,
    whole_number_sql,
)

FILE, ROW = "__file", "__row"
BAD_ROWS = pa.schema(
    [("file", pa.string()), ("row", pa.int64()), ("reasons", pa.string()), ("raw", pa.string())]
)

_WIDE = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}
_MAX_LINE_BYTES = 16 * 2**20
_CSV = f"""hive_partitioning = false, header = true,
    auto_detect = false, delim = ',', quote = '"', escape = '"',
    max_line_size = {_MAX_LINE_BYTES}, store_rejects = true, rejects_limit = 0"""


@dataclass(frozen=True)
class RawTable:
    """What the files of one table hold, beside the rows of the table `raw`.

    names         the columns
    rejected      the lines that are no rows, in the schema `BAD_ROWS`
    decimal_ids   the columns of ids that were decimal numbers and are read as whole ones
    """

    names: list[str]
    rejected: pa.Table
    decimal_ids: list[str]


def load_raw(
    duck: duckdb.DuckDBPyConnection, schema: TableSchema, paths: Sequence[Path]
) -> RawTable:
    """Create the table `raw` from the files of one table."""
    if paths[0].suffix == ".csv":
        names, rejected = _load_csv(duck, schema, paths[0])
        return RawTable(names, rejected, rewrite_decimal_ids(duck, schema, names, paths[0]))
    return _load_parquet(duck, schema, paths)


def _load_parquet(
    duck: duckdb.DuckDBPyConnection, schema: TableSchema, paths: Sequence[Path]
) -> RawTable:
    for path in paths:
        try:
            duck.execute(f"SELECT * FROM parquet_schema({sql_path(str(path))})")
        except duckdb.Error as error:
            raise BadInput(
                "no readable Parquet file", where=str(path), hint=_first_line(error)
            ) from error
    sources = ", ".join(sql_path(str(path)) for path in paths)
    scan = f"read_parquet([{sources}], union_by_name = true, hive_partitioning = false"
    try:
        described = duck.sql(f"DESCRIBE SELECT * FROM {scan})").fetchall()
        types = {name: kind for name, kind, *_ in described}
        names = _spell_names(schema, list(types), paths[0])
        decimal_ids = find_decimal_ids(duck, schema, f"{scan})", types, paths[0])
        texts = [
            whole_number_sql(sql_name(name))
            if name in decimal_ids
            else f"{sql_name(name)}::VARCHAR"
            for name in types
        ]
        columns = "".join(
            f"{text} AS {sql_name(name)}, " for text, name in zip(texts, names, strict=True)
        )
        duck.execute(
            f"CREATE TEMP TABLE raw AS SELECT {columns}filename AS {FILE}, "
            f"(file_row_number + 1)::BIGINT AS {ROW} "
            f"FROM {scan}, filename = true, file_row_number = true)"
        )
    except duckdb.Error as error:
        raise BadInput(
            f"the files of {schema.name} cannot be read",
            where=str(paths[0].parent),
            hint=_first_line(error),
        ) from error
    spelt = dict(zip(types, names, strict=True))
    return RawTable(names, BAD_ROWS.empty_table(), [spelt[name] for name in decimal_ids])


def _load_csv(
    duck: duckdb.DuckDBPyConnection, schema: TableSchema, path: Path
) -> tuple[list[str], pa.Table]:
    names = _spell_names(schema, _read_header(path), path)
    columns = ", ".join(f"{sql_literal(name)}: 'VARCHAR'" for name in names)
    try:
        duck.execute(
            f"CREATE TEMP TABLE raw AS SELECT *, {sql_literal(str(path))} AS {FILE}, "
            f"row_number() OVER () AS {ROW} "
            f"FROM read_csv({sql_path(str(path))}, columns = {{{columns}}}, {_CSV})"
        )
    except duckdb.Error as error:
        raise BadInput(
            "no readable CSV file",
            where=str(path),
            hint=(
                "Write it in UTF-8 with commas, double quotes and one kind of line end. "
                + _first_line(error)
            ),
        ) from error
    rejected = duck.sql(
        "SELECT line - 1, "
        "string_agg(DISTINCT lower(replace(error_type::VARCHAR, '_', ' ')), ' and '), "
        "any_value(csv_line) FROM reject_errors GROUP BY line ORDER BY line"
    ).fetchall()
    for row, _, text in rejected:
        if "\n" in (text or "").strip():
            raise BadInput(
                "a quoted value spans lines and is not closed as it should be",
                where=f"{path}, row {row}",
                hint="Close the quotes, and write a quote inside a value twice",
            )
    if rejected:
        _number_with_rejected(duck, [row for row, _, _ in rejected])
    rows = [
        {
            "file": str(path),
            "row": row,
            "reasons": f"the line has {fault}",
            "raw": _quote_line(text or ""),
        }
        for row, fault, text in rejected
    ]
    return names, pa.Table.from_pylist(rows, BAD_ROWS)


def _read_header(path: Path) -> list[str]:
    """Return the column names in the first line."""
    with path.open("rb") as file:
        start = file.read(2)
    if not start:
        raise BadInput(
            "the file is empty",
            where=str(path),
            hint="A CSV file starts with a line of column names",
        )
    if start in _WIDE:
        raise BadInput(f"the file is {_WIDE[start]}", where=str(path), hint="Save it as UTF-8")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            names = next(csv.reader(file), [])
    except (UnicodeDecodeError, csv.Error):
        # The decoder reads ahead: only the first line itself must be UTF-8, later ones are checked
        # one by one.
        with path.open("rb") as file:
            names = _decode_header(file.readline(_MAX_LINE_BYTES), path)
    if not any(name.strip() for name in names):
        raise BadInput(
            "the first line is empty",
            where=str(path),
            hint="A CSV file starts with a line of column names",
        )
    return names


def _decode_header(line: bytes, path: Path) -> list[str]:
    try:
        return next(csv.reader([line.decode("utf-8-sig")]), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(
            "the first line is no line of names in UTF-8", where=str(path), hint="Save it as UTF-8"
        ) from error


def _spell_names(schema: TableSchema, given: Sequence[str], path: Path) -> list[str]:
    """Return the names as the table spells them, others without blanks around.

    A column without a name gets its number.
    """
    known, aliases = {column.name for column in schema.columns}, dict(schema.aliases)
    names = []
    for number, name in enumerate(given, start=1):
        stripped = clean_text(name) or f"column_{number}"
        lowered = aliases.get(stripped.lower(), stripped.lower())
        names.append(lowered if lowered in known else stripped)
    folded = [name.lower() for name in names]
    repeated = sorted(
        {name for name in folded if folded.count(name) > 1} | ({FILE, ROW} & set(folded))
    )
    if repeated:
        raise BadInput(
            f"the column {repeated[0]!r} stands more than once, or is a reserved name",
            where=str(path),
            hint="Keep one, or give it another name",
        )
    return names


def _number_with_rejected(duck: duckdb.DuckDBPyConnection, rejected: list[int]) -> None:
    """Number the rows of `raw` as in the file, which has the rejected rows (ascending) too."""
    # The first remaining row after each rejected one.
    firsts = [row - n_before for n_before, row in enumerate(rejected)]
    duck.register("behind", pa.table({"first_row": firsts, "n_before": range(1, len(firsts) + 1)}))
    duck.execute(
        "CREATE OR REPLACE TEMP TABLE raw AS "
        f"SELECT raw.* REPLACE ({ROW} + coalesce(n_before, 0) AS {ROW}) FROM raw "
        "ASOF LEFT JOIN (SELECT first_row, max(n_before) AS n_before FROM behind GROUP BY 1) b "
        f"ON raw.{ROW} >= b.first_row"
    )
    duck.unregister("behind")


def _quote_line(text: str) -> str:
    """Return a line that is no row as the JSON of quarantine files."""
    return json.dumps({"line": text}, ensure_ascii=False)


def _first_line(error: duckdb.Error) -> str:
    return str(error).splitlines()[0]
