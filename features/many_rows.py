"""Rows inserted in one statement, however many there are.

On PostgreSQL a statement for each row costs more than the insert itself: there all rows are one
parameter, a JSON text. SQLite runs in the process, and takes them one by one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa

from features.database import insert, insert_new

_POSITION = "position_of_row"


def insert_rows(
    connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, object]]
) -> None:
    """Insert rows of texts, numbers, flags and times, in order; all name the same columns."""
    if rows and connection.dialect.name == "postgresql":
        connection.execute(insert(connection, table).from_select(*_select(table, rows)))
    elif rows:
        connection.execute(table.insert(), list(rows))


def insert_new_rows(
    connection: sa.Connection, table: sa.Table, key: str, rows: Sequence[Mapping[str, object]]
) -> int:
    """Insert those whose `key` is new, as `insert_rows` does; return how many were inserted."""
    if not rows or connection.dialect.name != "postgresql":
        return insert_new(connection, table, key, rows)
    statement = insert(connection, table).from_select(*_select(table, rows))
    new = statement.on_conflict_do_nothing(index_elements=[key])
    result = connection.execute(new, execution_options={"preserve_rowcount": True})
    return int(result.rowcount)


def _select(
    table: sa.Table, rows: Sequence[Mapping[str, object]]
) -> tuple[list[str], sa.Select[tuple[object, ...]]]:
    """Return the names of the columns, and a query of the rows in their order."""
    names = list(rows[0])
    encoder = json.JSONEncoder(default=_write_time, ensure_ascii=False, allow_nan=False)
    # One row after the other: ten thousands of objects at once keep the garbage collector busy.
    texts = (encoder.encode({**row, _POSITION: position}) for position, row in enumerate(rows))
    text = f"[{','.join(texts)}]"
    columns = [sa.column(name, table.c[name].type) for name in names]
    given = (
        sa.func.json_to_recordset(sa.cast(sa.literal(text, sa.Text), sa.JSON))
        .table_valued(*columns, sa.column(_POSITION, sa.Integer))
        .render_derived(with_types=True)
    )
    query = sa.select(*(given.c[name] for name in names)).order_by(given.c[_POSITION])
    return names, query


def _write_time(value: object) -> str:
    """Return a time as the database reads it. Raises ValueError for one without a zone."""
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError(f"{value!r} cannot be stored: it is no time with a zone")
    return value.isoformat()
