"""Fixtures: the migrated database, once on SQLite and once on PostgreSQL, empty for every test."""

from __future__ import annotations

import os
import shutil
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from configs.settings import Settings
from features.database import engine as open_engine
from features.database import metadata
from serving.database.migrate import upgrade

POSTGRES_URL = os.environ.get(
    "SHOPWRIGHT_TEST_POSTGRES_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test"
)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str | None]:
    """A PostgreSQL schema of this test session's own, None when no server answers."""
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
    """A migrated, empty SQLite file to copy: migrating anew for every test would take most of its
    time."""
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
        said = f"no PostgreSQL answers at {POSTGRES_URL}; set SHOPWRIGHT_TEST_POSTGRES_URL"
        if os.environ.get("CI") == "true":
            pytest.fail(said)
        warnings.warn(said, stacklevel=1)
        pytest.skip(said)
    return Settings(home=tmp_path / "home", database_url=url)


@pytest.fixture
def engine(settings: Settings) -> Iterator[sa.Engine]:
    """The migrated, empty database."""
    opened = open_engine(settings)
    upgrade(opened)
    yield opened
    if opened.dialect.name == "postgresql":
        _empty(opened)
    opened.dispose()


def _empty(opened: sa.Engine) -> None:
    with opened.begin() as connection:
        connection.execute(
            sa.text("SET LOCAL session_replication_role = replica")
        )  # append-only tables too
        names = ", ".join(metadata.tables)
        connection.execute(sa.text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
