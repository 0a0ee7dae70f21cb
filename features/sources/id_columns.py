"""Columns of ids that a program wrote as decimal numbers: `101.0` for `101`.

pandas turns a column of whole numbers with a gap into decimal ones. Whole numbers are read as such,
when all of the column are. A fraction, or a number that a decimal one does not hold exactly, is no
id any more: the column is refused, for what was lost cannot be told from the rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import duckdb

from features.contracts.errors import BadInput
from features.contracts.tables import TableSchema
from features.contracts.texts import sql_literal, sql_name

# The largest whole number up to which every one is held exactly, by type of the column.
_EXACT_UP_TO = {"DOUBLE": 2**53, "FLOAT": 2**24}
# How programs write decimal numbers in CSV: all digits up to 10^16, then with an exponent.
_WHOLE = r"-?[0-9]{1,16}\.0"
_LARGE = r"-?[0-9](\.[0-9]+)?e\+[0-9]+"


def find_decimal_ids(
    duck: duckdb.DuckDBPyConnection,
    schema: TableSchema,
    scan: str,
    types: Mapping[str, str],
    path: Path,
) -> list[str]:
    """Return the id columns of decimal numbers in a Parquet scan, by their names there.

    `types` has the type of each column by name. Raises BadInput for one with other values than
    whole numbers that are held exactly.
    """
    decimal = []
    for given, kind in types.items():
        column = schema.find(given.strip().lower())
        is_float = kind in _EXACT_UP_TO
        if column is None or not column.is_id or not (is_float or kind.startswith("DECIMAL")):
            continue
        value, limit = sql_name(given), _EXACT_UP_TO.get(kind)
        lost = f"{value} % 1 <> 0"
        if is_float:
            lost += f" OR NOT isfinite({value}) OR abs({value}) > {limit}"
            lost = f"NOT isnan({value}) AND ({lost})"
        _refuse(
            duck, f"SELECT {value}::VARCHAR FROM {scan} WHERE {lost} LIMIT 1", column.name, path
        )
        decimal.append(given)
    return decimal


def whole_number_sql(value: str) -> str:
    """SQL for the text of a whole number in a decimal column; null where it has no value."""
    return f"CASE WHEN NOT isnan({value}::DOUBLE) THEN {value}::HUGEINT::VARCHAR END"


def rewrite_decimal_ids(
    duck: duckdb.DuckDBPyConnection, schema: TableSchema, names: list[str], path: Path
) -> list[str]:
    """Rewrite the id columns of the table `raw`, read from CSV, that hold decimal numbers only.

    Returns their names. Raises BadInput as `find_decimal_ids`.
    """
    decimal = []
    for name in names:
        column = schema.find(name)
        if column is None or not column.is_id:
            continue
        value = f"nullif(trim({sql_name(name)}), '')"
        is_whole = f"regexp_full_match({value}, {sql_literal(_WHOLE)})"
        is_large = f"regexp_full_match({value}, {sql_literal(_LARGE)})"
        counts = duck.sql(
            f"SELECT count({value}), count(*) FILTER ({is_whole} OR {is_large}) FROM raw"
        ).fetchone()
        if counts is None or counts[0] == 0 or counts[0] != counts[1]:
            continue
        lost = f"{is_large} OR abs(TRY_CAST({value} AS DECIMAL(20, 1))) > {2**53}"
        _refuse(duck, f"SELECT {value} FROM raw WHERE {lost} LIMIT 1", name, path)
        decimal.append(name)
    if decimal:
        rewritten = ", ".join(
            f"regexp_replace({sql_name(name)}, '\\.0\\s*$', '') AS {sql_name(name)}"
            for name in decimal
        )
        duck.execute(f"CREATE OR REPLACE TEMP TABLE raw AS SELECT * REPLACE ({rewritten}) FROM raw")
    return decimal


def _refuse(duck: duckdb.DuckDBPyConnection, query: str, column: str, path: Path) -> None:
    """Raise BadInput when the query finds a value."""
    row = duck.sql(query).fetchone()
    if row is not None:
        raise BadInput(
            f"{column} is a column of decimal numbers, and {row[0]} is no whole number below 2^53: "
            "such ids have lost digits",
            where=str(path),
            hint="Write ids as text. In pandas: column.astype('Int64').astype('string')",
        )
