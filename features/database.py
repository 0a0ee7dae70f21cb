"""The SQL database: its MetaData, the tables of facts, and the unit of work.

SQLite (WAL, one writer at a time, BEGIN IMMEDIATE) and PostgreSQL (psycopg 3) hold the same tables.
Write inside `transaction(engine)`; read inside `reading(engine)`. The schema is created by
migrations (serving/database/migrate.py).
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url

from configs.settings import Settings
from features.contracts.tables import VIEW_TYPES

BUSY_TIMEOUT_SECONDS = 30
_WRITES = "shopwright_writes"

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Instant(sa.TypeDecorator[datetime]):
    """An aware UTC time, to the microsecond; a time without a zone is refused."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


# SQLite numbers rows by itself only in a column of type INTEGER.
RowNumber = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

# The events of a history, as literals: a query uses a partial index only with the same condition.
BOUGHT = sa.text("event_type IN ('purchase', 'refund')")
VIEWED = sa.text(f"event_type IN {tuple(VIEW_TYPES)}")

events = sa.Table(
    "events",
    metadata,
    sa.Column("event_id", sa.Text, primary_key=True),
    sa.Column("event_type", sa.Text, nullable=False),
    sa.Column("occurred_at", Instant, nullable=False),
    sa.Column("user_id", sa.Text),
    sa.Column("visitor_id", sa.Text),
    sa.Column("session_id", sa.Text),
    sa.Column("item_id", sa.Text, nullable=False),
    sa.Column("zone", sa.Text, nullable=False),
    sa.Column("quantity", sa.Double),
    sa.Column("line_amount_minor", sa.BigInteger),
    sa.Column("unit_price_minor", sa.Double),
    sa.Column("list_price_minor", sa.Double),
    sa.Column("order_id", sa.Text),
    sa.Column("recommendation_id", sa.Text),
    sa.Column("placement", sa.Text),
    sa.Column("rank", sa.Integer),
    sa.Column("attributes", sa.Text),
    sa.Column("received_at", Instant, nullable=False),
    sa.Index(None, "user_id", "occurred_at"),
    sa.Index(None, "visitor_id", "occurred_at"),
    sa.Index(None, "session_id", "occurred_at"),
    sa.Index(None, "occurred_at"),
    sa.Index(None, "received_at"),
    *(
        sa.Index(
            f"ix_events_{who}_bought",
            f"{who}_id",
            "occurred_at",
            sqlite_where=BOUGHT,
            postgresql_where=BOUGHT,
        )
        for who in ("visitor", "session")
    ),
)

price_ledger = sa.Table(
    "price_ledger",
    metadata,
    sa.Column("seq", RowNumber, primary_key=True, autoincrement=True),
    sa.Column("price_id", sa.Text, nullable=False, unique=True),
    sa.Column("item_id", sa.Text, nullable=False),
    sa.Column("zone", sa.Text, nullable=False),
    sa.Column("valid_from", Instant, nullable=False),
    sa.Column("valid_to", Instant),
    sa.Column("list_price_minor", sa.BigInteger, nullable=False),
    sa.Column("offer_price_minor", sa.BigInteger, nullable=False),
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("promotion_id", sa.Text),
    sa.Column("suggestion_id", sa.Text),
    sa.Column("reverts_price_id", sa.Text, unique=True),
    sa.Column("recorded_at", Instant, nullable=False),
    sa.CheckConstraint(
        "offer_price_minor >= 0 AND offer_price_minor <= list_price_minor", name="offer_within_list"
    ),
    sa.CheckConstraint("valid_to IS NULL OR valid_to > valid_from", name="ends_after_start"),
    sa.CheckConstraint(
        "source IN ('imported', 'observed', 'desk', 'rollback')", name="known_source"
    ),
    sa.Index(None, "item_id", "zone", "valid_from", "seq"),
    sa.Index(None, "suggestion_id"),
    sqlite_autoincrement=True,
)

exposures = sa.Table(
    "exposures",
    metadata,
    sa.Column("exposure_id", sa.Text, primary_key=True),
    sa.Column("experiment", sa.Text, nullable=False),
    sa.Column("variant", sa.Text, nullable=False),
    sa.Column("unit_id", sa.Text, nullable=False),
    sa.Column("exposed_at", Instant, nullable=False),
    sa.Column("recommendation_id", sa.Text),
    sa.Column("placement", sa.Text),
    sa.Column("model_name", sa.Text),
    sa.Column("model_version", sa.Text),
    sa.Column("propensity", sa.Double),
    sa.Column("recorded_at", Instant, nullable=False),
    sa.CheckConstraint(
        "propensity IS NULL OR (propensity > 0 AND propensity <= 1)", name="propensity_is_share"
    ),
    sa.Index(None, "experiment", "unit_id", "exposed_at"),
    sa.Index(None, "unit_id"),
)

impressions = sa.Table(
    "impressions",
    metadata,
    sa.Column("impression_id", sa.Text, primary_key=True),
    sa.Column("recommendation_id", sa.Text, nullable=False),
    sa.Column("placement", sa.Text, nullable=False),
    sa.Column("rank", sa.Integer, nullable=False),
    sa.Column("item_id", sa.Text, nullable=False),
    sa.Column("propensity", sa.Double, nullable=False),
    sa.Column("explored", sa.Boolean, nullable=False),
    sa.Column("unit_id", sa.Text),
    sa.Column("model_name", sa.Text),
    sa.Column("model_version", sa.Text),
    sa.Column("shown_at", Instant, nullable=False),
    sa.Column("recorded_at", Instant, nullable=False),
    sa.CheckConstraint("propensity > 0 AND propensity <= 1", name="propensity_is_share"),
    sa.CheckConstraint("rank >= 1", name="rank_from_one"),
    sa.Index(None, "recommendation_id"),
    sa.Index(None, "placement", "shown_at"),
    sa.Index(None, "unit_id"),
)

user_consent = sa.Table(
    "user_consent",
    metadata,
    sa.Column("user_id", sa.Text, primary_key=True),
    sa.Column("personalization_allowed", sa.Boolean, nullable=False),
    sa.Column("updated_at", Instant, nullable=False),
)


def engine(settings: Settings) -> sa.Engine:
    """Return the database of the settings, not migrated; the folder of a SQLite file is made."""
    url = make_url(settings.sqlalchemy_url)
    if url.get_backend_name() == "sqlite":
        if url.database and url.database != ":memory:":
            settings.home.mkdir(parents=True, exist_ok=True)
        sqlite = sa.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_SECONDS})
        event.listen(sqlite, "connect", _open_sqlite)
        event.listen(sqlite, "begin", _begin_sqlite)
        return sqlite
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg")
    return sa.create_engine(url, pool_pre_ping=True, pool_size=10, max_overflow=20)


@contextmanager
def transaction(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Run one unit of work: commit when the block ends, roll back when it raises.

    SQLite locks for writing at once.
    """
    with engine.execution_options(**{_WRITES: True}).begin() as connection:
        yield connection


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Open a connection to read with."""
    with engine.connect() as connection:
        yield connection


def lock(connection: sa.Connection, name: str) -> None:
    """Wait until this transaction is the only one that holds `name`.

    On SQLite a writing transaction is alone already. On PostgreSQL rows whose order matters
    (ledger, audit) are numbered under such a lock, so that a reader who has seen number n never
    misses a smaller one.
    """
    if connection.dialect.name == "postgresql":
        number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))


def has_table(engine: sa.Engine, name: str) -> bool:
    """Return whether the database has the table."""
    return sa.inspect(engine).has_table(name)


def insert(connection: sa.Connection, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    """Return an INSERT with `on_conflict_do_nothing` and `on_conflict_do_update`."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)
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


def _open_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # otherwise the driver begins transactions of its own
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
