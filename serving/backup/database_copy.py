"""Copies of a database at one instant: of SQLite files, and of the tables of PostgreSQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa

import serving.database.desk_tables
import serving.database.tables  # noqa: F401 - both fill the MetaData
from features.contracts.errors import Conflict, Damaged
from features.database_tables import metadata

_SQLITE = b"SQLite format 3\0"
_SUFFIX = ".copy"
# A shop that was used has rows in one of them.
_USED = ("audit_log", "events", "price_ledger")


def is_sqlite(path: Path) -> bool:
    """Return whether a file is one of SQLite."""
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


def copy_sqlite(path: Path, target: Path) -> None:
    """Copy an SQLite file as it is at one instant, while others write to it. Raises Damaged, and
    FileNotFoundError where it is gone."""
    try:
        with (
            closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
    except sqlite3.DatabaseError as error:
        path.stat()
        hint = "Try: shopwright doctor"
        raise Damaged(f"the file cannot be copied: {error}", where=str(path), hint=hint) from error


def copy_tables(engine: sa.Engine, folder: Path) -> dict[str, int]:
    """Write the tables of PostgreSQL as of one instant into a folder, a file each; return the last
    number of each sequence."""
    folder.mkdir()
    snapshot = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    with snapshot.connect() as connection:
        for table in metadata.sorted_tables:
            columns = ", ".join(f'"{column.name}"' for column in table.columns)
            raw: Any = connection.connection.driver_connection
            with (
                (folder / f"{table.name}{_SUFFIX}").open("wb") as file,
                raw.cursor() as cursor,
                cursor.copy(f'COPY "{table.name}" ({columns}) TO STDOUT') as rows,
            ):
                for chunk in rows:
                    file.write(chunk)
        query = "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = "
        sequences = connection.execute(sa.text(f"{query} current_schema()"))
        return {row.sequencename: row.last_value for row in sequences if row.last_value}


def refuse_used_database(engine: sa.Engine) -> None:
    """Raise Conflict where a database holds a shop."""
    present = set(sa.inspect(engine).get_table_names()) & set(_USED)
    with engine.connect() as connection:
        for name in sorted(present):
            rows = sa.select(sa.literal(1)).select_from(sa.table(name)).limit(1)
            if connection.execute(rows).first() is not None:
                raise Conflict(
                    f"the database has rows in {name}",
                    hint="Restore into an empty database: set SHOPWRIGHT_DATABASE_URL to one",
                )


def load_tables(engine: sa.Engine, folder: Path, sequences: Mapping[str, int]) -> None:
    """Fill the migrated tables of PostgreSQL in one transaction, in place of what migrations wrote.

    Triggers rest meanwhile: they guard against changes by people, and these are no changes.
    """
    with engine.begin() as connection:
        raw: Any = connection.connection.driver_connection
        for table in metadata.sorted_tables:
            connection.execute(sa.text(f'ALTER TABLE "{table.name}" DISABLE TRIGGER USER'))
        for table in reversed(metadata.sorted_tables):
            connection.execute(sa.text(f'DELETE FROM "{table.name}"'))
        for table in metadata.sorted_tables:
            columns = ", ".join(f'"{column.name}"' for column in table.columns)
            with (
                (folder / f"{table.name}{_SUFFIX}").open("rb") as file,
                raw.cursor() as cursor,
                cursor.copy(f'COPY "{table.name}" ({columns}) FROM STDIN') as rows,
            ):
                while chunk := file.read(1 << 20):
                    rows.write(chunk)
        for name, last in sequences.items():
            connection.execute(
                sa.text("SELECT setval(quote_ident(:name)::regclass, :last)"),
                {"name": name, "last": last},
            )
        for table in metadata.sorted_tables:
            connection.execute(sa.text(f'ALTER TABLE "{table.name}" ENABLE TRIGGER USER'))
