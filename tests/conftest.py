"""Settings of every test, and the migrated database: on SQLite and on PostgreSQL, empty."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as serving/cli/main.py sets it, for the tests
# Servers of tests speak plain HTTP; to read all certificates takes a client longer than a request.
os.environ["SSL_CERT_DIR"] = __file__.rpartition("/")[0]
# A file would win over the folder; programs that fetch something get it back under its name.
if "SSL_CERT_FILE" in os.environ:
    os.environ["TESTS_SSL_CERT_FILE"] = os.environ.pop("SSL_CERT_FILE")

import gc
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import sqlalchemy as sa

from configs.settings import Settings
from features.database import engine as open_engine
from features.database_tables import metadata
from serving.database.migrate import upgrade
from tests.shops.built_once import find_shared_folder
from tests.shops.empty_registry import FOLDER, share_empty_registry
from tests.shops.private_servers import POSTGRES_URL, open_schema

# The first example may compile for seconds; no test is a time limit.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")

# A shop's libraries hold half a million objects. Python looks at them all again and again: a tenth
# of the time of the tests.
gc.set_threshold(50_000, 20, 50)


# Whole trainings, servers and browsers first: at the end two workers share what is quick.
LONG_FIRST = ("e2e", "training", "serving", "features")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests by the folder of their file."""
    ranks = {f"tests/{name}": rank for rank, name in enumerate(LONG_FIRST)}
    items.sort(key=lambda item: ranks.get("/".join(item.nodeid.split("/")[:2]), len(ranks)))


def pytest_collection_finish() -> None:
    """Leave what was imported out of every later collection, as the server does."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Registries of new shops begin as copies of one that MLflow made."""
    os.environ[FOLDER] = str(find_shared_folder(tmp_path_factory))
    share_empty_registry()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str | None]:
    """The URL of a PostgreSQL schema made for this test session, None without a server."""
    with open_schema(POSTGRES_URL) as url:
        yield None if url is None else url.render_as_string(hide_password=False)


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


_RESET_SEQUENCES = """
SELECT setval(format('%I.%I', schemaname, sequencename)::regclass, start_value, false)
FROM pg_sequences WHERE schemaname = current_schema() AND last_value IS NOT NULL
"""


def _empty_tables(opened: sa.Engine) -> None:
    """Delete all rows and count from one again: for a few rows much faster than TRUNCATE."""
    with opened.begin() as connection:
        # Lets append-only tables be emptied too, and in any order.
        connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
        connection.execute(sa.text(";".join(f"DELETE FROM {name}" for name in metadata.tables)))
        connection.execute(sa.text(_RESET_SEQUENCES))
