"""Settings of every test, and the migrated database: on SQLite and on PostgreSQL, empty."""

from __future__ import annotations

import os
import shutil
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import sqlalchemy as sa

from configs.settings import Settings
from features.database import engine as open_engine
from features.database import metadata
from serving.database.migrate import upgrade

# The first example may compile for seconds; no test is a time limit.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")

POSTGRES_URL = os.environ.get(
    "SHOPWRIGHT_TEST_POSTGRES_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test"
)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str | None]:
    """The URL of a PostgreSQL schema made for this test session, None without a server."""
    admin = sa.create_engine(POSTGRES_URL, connect_args={"connect_timeout": 3})
    schema = f"test_{uuid.uuid4().hex[:12]}"
    try:
        with admin.begin() as connection:
            connection.execute(sa.text(f"CREATE SCHEMA {schema}"))
    except sa.exc.OperationalError:
        admin.dispose()
        yield None
        return
    url = sa.make_url(POSTGRES_URL).update_query_dict({"options": f"-csearch_path={schema}"})
    yield url.render_as_string(hide_password=False)
    with admin.begin() as connection:
        connection.execute(sa.text(f"DROP SCHEMA {schema} CASCADE"))
    admin.dispose()


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite file; a copy of it saves each test the migration."""
    settings = Settings(home=tmp_path_factory.mktemp("migrated"))
    opened = open_engine(settings)
    upgrade(opened)
    opened.dispose()
    return settings.home / "shopwright.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings of a new shop on either engine."""
    if request.param == "sqlite":
        (tmp_path / "home").mkdir()
        shutil.copy(request.getfixturevalue("migrated_sqlite"), tmp_path / "home" / "shopwright.db")
        return Settings(home=tmp_path / "home")
    url = request.getfixturevalue("postgres_url")
    if url is None:
        message = f"no PostgreSQL answers at {POSTGRES_URL}; set SHOPWRIGHT_TEST_POSTGRES_URL"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        warnings.warn(message, stacklevel=1)
        pytest.skip(message)
    return Settings(home=tmp_path / "home", database_url=url)


@pytest.fixture
def engine(settings: Settings) -> Iterator[sa.Engine]:
    """The migrated, empty database."""
    opened = open_engine(settings)
    upgrade(opened)
    yield opened
    if opened.dialect.name == "postgresql":
        _empty_tables(opened)
    opened.dispose()


def _empty_tables(opened: sa.Engine) -> None:
    with opened.begin() as connection:
        # Lets append-only tables be emptied too.
        connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
        names = ", ".join(metadata.tables)
        connection.execute(sa.text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
