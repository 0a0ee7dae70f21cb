"""A damaged database file is named, with what to do, and an empty one is not taken for a new
shop's."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.errors import Damaged
from features.contracts.files import check_sqlite
from features.contracts.manifest import write_manifest
from features.database import engine, reading, refuse_missing_file
from features.database_tables import exposures, metadata

MESSAGE = r"the database is damaged: .*shopwright\.db\).*restore the file from a backup"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A state folder with tables and a database of many pages."""
    settings = Settings(home=tmp_path)
    write_manifest(tmp_path / "tables", {"events": []})
    opened = engine(settings)
    metadata.create_all(opened)
    opened.dispose()
    return settings


def damage(settings: Settings, content: str) -> Path:
    path = settings.home / "shopwright.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = path.read_bytes()
    contents = {
        "garbage": b"\0\xffno database" * 500,
        "empty": b"",
        "cut": whole[: len(whole) // 2],
        "overwritten": whole[:4096] + b"\xff" * (len(whole) - 4096),
    }
    path.write_bytes(contents[content])
    return path


@pytest.mark.parametrize("content", ["garbage", "empty", "cut", "overwritten"])
def test_a_damaged_database_is_named(settings: Settings, content: str) -> None:
    path = damage(settings, content)
    with pytest.raises(Damaged, match=MESSAGE):
        opened = engine(settings)
        with reading(opened) as connection:
            connection.execute(sa.select(exposures)).all()
    with pytest.raises(Damaged, match=r"the database is damaged: .*shopwright\.db\)\. Restore it"):
        check_sqlite(path, hint="Restore it")


def test_an_empty_file_of_a_shop_without_tables_is_a_new_database(tmp_path: Path) -> None:
    (tmp_path / "shopwright.db").touch()
    opened = engine(Settings(home=tmp_path))
    metadata.create_all(opened)
    opened.dispose()
    check_sqlite(tmp_path / "shopwright.db", hint="")
    check_sqlite(tmp_path / "no such file", hint="")


def test_a_database_that_is_gone_from_a_shop_with_tables_is_named(settings: Settings) -> None:
    refuse_missing_file(settings)
    (settings.home / "shopwright.db").unlink()
    with pytest.raises(Damaged, match=r"the database is gone .*shopwright\.db.*from a backup"):
        refuse_missing_file(settings)
    refuse_missing_file(settings.model_copy(update={"database_url": "postgresql://db/shop"}))
    refuse_missing_file(Settings(home=settings.home / "new"))


def test_an_error_of_the_database_names_no_values(settings: Settings) -> None:
    """They may be ids of people, and errors are written to the log."""
    opened = engine(settings)
    with pytest.raises(sa.exc.SQLAlchemyError) as error, reading(opened) as connection:
        connection.execute(sa.text("SELECT * FROM nowhere WHERE id = :id"), {"id": "erika-4711"})
    opened.dispose()
    assert "erika" not in str(error.value)
