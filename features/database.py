"""The SQL database: how it is opened, and the unit of work.

SQLite (WAL, one writer at a time, BEGIN IMMEDIATE) and PostgreSQL (psycopg 3) hold the same tables.
Write inside `transaction(engine)`; read inside `reading(engine)`. The schema is created by
migrations (serving/database/migrate.py). How long a process waits for the database is its
`Patience`.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import make_url

from configs.settings import Settings
from features.contracts.breaker import Breaker
from features.contracts.errors import Damaged
from features.contracts.manifest import MANIFEST

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

# An attempt to empty the log keeps writers out while it waits for readers: short ones, with pauses.
_ATTEMPT_MILLISECONDS, _PAUSE_SECONDS = 100, 0.4
_WRITES = "shopwright_writes"
_PATIENCE = "shopwright_patience"


@dataclass(frozen=True)
class Patience:
    """How long a process waits for the database (in seconds), and over how many connections.

    lock          for another writer, and for a connection of the pool
    read, write   for the answer to one statement, None without a limit; SQLite knows no other wait
                  than that for another writer
    connections   how many are kept open; in a rush there are three times as many
    breaker       leaves a database alone that did not answer; None: every call tries
    """

    lock: float = 30.0
    read: float | None = None
    write: float | None = None
    connections: int = 10
    breaker: Breaker | None = None


# Of a command that nobody else waits for.
PATIENT = Patience()
# What is deleted is overwritten: the rows of somebody who was erased do not stay in free pages.
_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON")


RESTORE_DATABASE = "Stop the server and restore the file from a backup: it holds all prices"


def engine(settings: Settings, patience: Patience = PATIENT) -> sa.Engine:
    """Return the database of the settings, not migrated; the folder of a SQLite file is made.

    Its errors name no values: these may be ids of people, and errors are written to the log.
    """
    url = make_url(settings.sqlalchemy_url)
    if url.get_backend_name() == "sqlite":
        if url.database and url.database != ":memory:":
            settings.home.mkdir(parents=True, exist_ok=True)
            _refuse_empty_file(Path(url.database), settings)
        opened = sa.create_engine(
            url,
            connect_args={"timeout": patience.lock},
            hide_parameters=True,
            **_pool_limits(url, patience),
        )
        event.listen(opened, "connect", lambda made, _: _open_sqlite(made, url.database))
        event.listen(opened, "handle_error", _name_damaged_file)
        event.listen(opened, "begin", _begin_sqlite)
        return opened
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg")
    return _open_postgresql(url, patience)


def _refuse_empty_file(path: Path, settings: Settings) -> None:
    """Raise Damaged for a file without a byte in a shop that has tables: SQLite would take it for a
    new database, and all prices would be gone without a word."""
    try:
        is_empty = path.stat().st_size == 0
    except FileNotFoundError:
        return
    if is_empty and (settings.home / "tables" / MANIFEST).exists():
        raise Damaged(
            "the database is damaged: it is empty", where=str(path), hint=RESTORE_DATABASE
        )


def refuse_missing_file(settings: Settings) -> None:
    """Raise Damaged where the database is gone from a shop that has tables. An import writes it
    before the tables; a new one would have no prices, keys or people."""
    if settings.database_url is not None:
        return
    path = settings.home.absolute() / "shopwright.db"
    if not path.exists() and (settings.home / "tables" / MANIFEST).exists():
        hint = f"{RESTORE_DATABASE}. To begin anew, import into an empty SHOPWRIGHT_HOME"
        raise Damaged("the database is gone", where=str(path), hint=hint)


def _open_postgresql(url: sa.URL, patience: Patience) -> sa.Engine:
    from features.postgresql import NETWORK_LIMITS, TimedConnection, set_server_limits

    limits = {name: value for name, value in NETWORK_LIMITS.items() if name not in url.query}
    opened = sa.create_engine(
        url,
        connect_args=limits,
        hide_parameters=True,
        pool_pre_ping=True,
        **_pool_limits(url, patience),
    )
    opened.update_execution_options(**{_PATIENCE: patience})

    @event.listens_for(opened, "do_connect")
    def connect(_dialect: object, _record: object, args: list[str], values: dict) -> object:
        made = TimedConnection.connect(*args, **values)
        made.answer_seconds = patience.read
        return made

    @event.listens_for(opened, "connect")
    def set_limits(connection: TimedConnection, _record: object) -> None:
        set_server_limits(connection, patience.lock)

    return opened


def _pool_limits(url: sa.URL, patience: Patience) -> dict[str, int | float]:
    if url.database == ":memory:":
        return {}
    return {
        "pool_size": patience.connections,
        "max_overflow": 2 * patience.connections,
        "pool_timeout": patience.lock,
    }


@contextmanager
def transaction(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Run one unit of work: commit when the block ends, roll back when it raises.

    SQLite locks for writing at once. Raises Unavailable where a server's database does not answer.
    """
    writing = engine.execution_options(**{_WRITES: True})
    with (
        _guard(engine),
        writing.connect() as connection,
        _allow_long_answers(engine, connection),
        connection.begin(),
    ):
        yield connection


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Open a connection to read with. Raises Unavailable where a server's database does not
    answer."""
    with _guard(engine), engine.connect() as connection:
        yield connection


def _patience_of(engine: sa.Engine) -> Patience:
    patience: Patience = engine.get_execution_options().get(_PATIENCE, PATIENT)
    return patience


@contextmanager
def _allow_long_answers(engine: sa.Engine, connection: sa.Connection) -> Iterator[None]:
    """Wait for the answers of a transaction as long as those of writes."""
    patience = _patience_of(engine)
    raw: Any = connection.connection.dbapi_connection
    if patience.write == patience.read:
        yield
        return
    raw.answer_seconds = patience.write
    try:
        yield
    finally:
        raw.answer_seconds = patience.read


@contextmanager
def _guard(engine: sa.Engine) -> Iterator[None]:
    """Report to the breaker whether the database answered."""
    breaker = _patience_of(engine).breaker
    if breaker is None:
        yield
        return
    breaker.enter()
    try:
        yield
    except sa.exc.TimeoutError as error:  # all connections wait
        raise breaker.unavailable() from error
    except sa.exc.OperationalError as error:
        # Without a statement it was the connection that failed.
        if error.statement is not None and not error.connection_invalidated:
            raise
        breaker.fail(error)
        raise breaker.unavailable() from error
    breaker.succeed()


def empty_write_ahead_log(engine: sa.Engine, attempts: int) -> bool:
    """Move what SQLite has written ahead into the file, and empty the log, which still holds rows
    that were deleted; return whether no reader or writer kept all attempts from that. Other
    databases do so themselves."""
    if engine.dialect.name != "sqlite":
        return True
    for attempt in range(attempts):
        if attempt:
            time.sleep(_PAUSE_SECONDS)
        with engine.connect() as connection:
            raw: Any = connection.connection.driver_connection  # outside of any transaction
            (patience,) = raw.execute("PRAGMA busy_timeout").fetchone()
            raw.execute(f"PRAGMA busy_timeout = {_ATTEMPT_MILLISECONDS}")
            try:
                is_busy, _, _ = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                raw.execute(f"PRAGMA busy_timeout = {patience}")
        if not is_busy:
            return True
    return False


def lock(connection: sa.Connection, name: str) -> None:
    """Wait until this transaction is the only one that holds `name`.

    On SQLite a writing transaction is alone already. On PostgreSQL rows whose order matters
    (ledger, audit) are numbered under such a lock, so that a reader who has seen number n never
    misses a smaller one.
    """
    if connection.dialect.name == "postgresql":
        number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))


def give_way(engine: sa.Engine) -> None:
    """Let others write before the next of many transactions.

    SQLite hands its lock to whoever asks first; those who wait ask every tenth of a second.
    """
    if engine.dialect.name == "sqlite":
        time.sleep(0.12)


def has_table(engine: sa.Engine, name: str) -> bool:
    """Return whether the database has the table."""
    return sa.inspect(engine).has_table(name)


@contextmanager
def reading_stored(settings: Settings, table: sa.Table) -> Iterator[sa.Connection | None]:
    """Open a connection of its own to read `table` with; None while there is no such table."""
    if settings.database_url is None and not (settings.home / "shopwright.db").exists():
        yield None
        return
    database = engine(settings)
    try:
        if not has_table(database, table.name):
            yield None
            return
        with reading(database) as connection:
            yield connection
    finally:
        database.dispose()


def insert(connection: sa.Connection, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    """Return an INSERT with `on_conflict_do_nothing` and `on_conflict_do_update`."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table)


def insert_new(
    connection: sa.Connection, table: sa.Table, key: str, rows: Sequence[Mapping[str, object]]
) -> int:
    """Insert the rows, in order, whose `key` is new; return how many were inserted."""
    if not rows:
        return 0
    statement = insert(connection, table).on_conflict_do_nothing(index_elements=[key])
    # One prepared statement for all rows: far quicker on PostgreSQL than one with many VALUES.
    result = connection.execute(
        statement, list(rows), execution_options={"preserve_rowcount": True}
    )
    return int(result.rowcount)


def _open_sqlite(connection: sqlite3.Connection, path: str | None) -> None:
    connection.isolation_level = None  # otherwise the driver begins transactions of its own
    try:
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise
        raise _describe_damage(error, path) from error


def _name_damaged_file(context: sa.engine.ExceptionContext) -> None:
    """Raise Damaged, with the name of the file, for an error that says that it is damaged."""
    error = context.original_exception
    if _is_damage(error):
        path = context.engine.url.database if context.engine is not None else None
        raise _describe_damage(error, path) from error


def _is_damage(error: BaseException) -> bool:
    code: int = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _describe_damage(error: BaseException, path: str | None) -> Damaged:
    what = f"the database is damaged: {error}"
    return Damaged(what, where=path, hint=RESTORE_DATABASE)


def _begin_sqlite(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
