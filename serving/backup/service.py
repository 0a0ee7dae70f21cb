"""Backups of a shop: the database and the state folder in one file.

While a backup is made no import, no sealing and no materialization runs: they wait for it. Every
database is copied as of one instant: first the shop's, then the others of the state folder, which
are the registry of models and online features, then the files. So whatever a database names is in
what is copied after it, unless somebody deletes it meanwhile.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.errors import BadInput, Conflict, ShopwrightError
from features.contracts.files import hold_lock, sync_file, sync_folder
from serving.backup.archive import (
    BackupDescription,
    BackupWriter,
    extract_backup,
    writing_backup,
)
from serving.backup.database_copy import (
    copy_sqlite,
    copy_tables,
    is_sqlite,
    load_tables,
    refuse_used_database,
)
from serving.backup.home_files import list_home_files
from serving.database.migrate import newest_revision, upgrade

_HOME, _TABLES = "home", "database"
# The database of a shop on SQLite, wherever that shop has it.
_SQLITE_COPY = f"{_TABLES}/shopwright.db"


@dataclass(frozen=True)
class BackupReport:
    """What a backup holds."""

    file: Path
    engine: str
    n_files: int
    n_bytes: int


@dataclass(frozen=True)
class RestoreReport:
    """What was restored, and when it was backed up (system time)."""

    home: Path
    engine: str
    n_files: int
    made_at: str


def write_backup(settings: Settings, engine: sa.Engine, out: Path, now: datetime) -> BackupReport:
    """Write a backup of the shop to a file, which is replaced in one rename."""
    home, database = settings.home.absolute(), _locate_sqlite(engine)
    _check_target(out, home, database)
    folder = out.absolute().parent
    with (
        _naming_disk_faults(folder),
        tempfile.TemporaryDirectory(dir=folder, prefix=".backup-") as temporary,
    ):
        staging = Path(temporary) / "backup.tar"
        with (
            hold_lock(home / "features" / ".lock"),
            hold_lock(home / "tables" / ".lock"),
            writing_backup(staging) as writer,
        ):
            sequences = _add_database(engine, database, writer, Path(temporary))
            for path in _list_databases(home, out, database):
                with contextlib.suppress(FileNotFoundError):  # a process has removed it
                    _add_copy(f"{_HOME}/{path.relative_to(home)}", path, writer, Path(temporary))
            # Listed after that: whatever the databases name is there by now.
            for path in list_home_files(home, out):
                with contextlib.suppress(FileNotFoundError):
                    if not is_sqlite(path):
                        writer.add(f"{_HOME}/{path.relative_to(home)}", path)
            description = BackupDescription(
                made_at=now.isoformat(),
                engine=engine.dialect.name,
                revision=newest_revision(),
                sequences=sequences,
            )
            writer.finish(description)
            n_files = writer.n_files
        n_bytes = staging.stat().st_size
        staging.replace(out)
        sync_folder(folder)
    return BackupReport(out, engine.dialect.name, n_files, n_bytes)


def _locate_sqlite(engine: sa.Engine) -> Path | None:
    """Return the file of a database on SQLite; None for PostgreSQL."""
    if engine.dialect.name != "sqlite":
        return None
    name = engine.url.database
    if not name or name == ":memory:":
        raise BadInput("the database is in memory: there is no file to back up or restore")
    return Path(name).absolute()


def _check_target(out: Path, home: Path, database: Path | None) -> None:
    """Raise BadInput for a place where a backup would be of no use, or harm the shop."""
    if out.absolute().is_relative_to(home):
        raise BadInput(
            "a backup lies outside of the state folder",
            where=str(out),
            hint="Choose another folder, best on another disk",
        )
    if database is not None and out.resolve() == database.resolve():
        raise BadInput("that is the database of the shop", where=str(out), hint="Name another file")
    if not out.absolute().parent.is_dir():
        raise BadInput("there is no such folder", where=str(out.parent), hint="Make it first")


@contextmanager
def _naming_disk_faults(folder: Path) -> Iterator[None]:
    """Raise ShopwrightError with the place where a disk is full or does not let us write."""
    try:
        yield
    except OSError as error:
        raise ShopwrightError(
            f"a file cannot be read or written: {error.strerror or error}",
            where=str(error.filename or folder),
            hint="Make room, or let this user write there",
        ) from error


def _add_database(
    engine: sa.Engine, database: Path | None, writer: BackupWriter, temporary: Path
) -> dict[str, int]:
    """Add the database of the shop; return the last number of each sequence of PostgreSQL."""
    if database is not None:
        _add_copy(_SQLITE_COPY, database, writer, temporary)
        return {}
    copies = temporary / _TABLES
    sequences = copy_tables(engine, copies)
    for path in sorted(copies.iterdir()):
        writer.add(f"{_TABLES}/{path.name}", path)
    return sequences


def _list_databases(home: Path, out: Path, database: Path | None) -> list[Path]:
    """Return the SQLite files of the state folder but the shop's own database."""
    own = None if database is None else database.resolve()
    databases = []
    for path in list_home_files(home, out):
        with contextlib.suppress(FileNotFoundError):
            if is_sqlite(path) and path.resolve() != own:
                databases.append(path)
    return databases


def _add_copy(name: str, database: Path, writer: BackupWriter, temporary: Path) -> None:
    """Add a database as of one instant. Raises FileNotFoundError where it is gone."""
    copy = temporary / "copy.db"
    copy_sqlite(database, copy)
    writer.add(name, copy)
    copy.unlink()


def restore_backup(settings: Settings, engine: sa.Engine, file: Path) -> RestoreReport:
    """Restore a backup into an empty state folder and the empty database of the settings.

    Every file is checked before anything is put in its place.
    """
    home, database = settings.home.absolute(), _locate_sqlite(engine)
    _check_empty(home, engine, database)
    with _naming_disk_faults(home):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home, prefix=".restore-") as temporary:
            folder = Path(temporary)
            description = extract_backup(file, folder)
            _check_kind(description, engine, file)
            (folder / _HOME).mkdir(exist_ok=True)
            if database is None:
                upgrade(engine)
                load_tables(engine, folder / _TABLES, description.sequences)
                _move_up(folder / _HOME, home)
            elif not (folder / _SQLITE_COPY).is_file():
                raise BadInput("the backup has no database", where=str(file))
            else:
                # The database last: without it nobody takes the folder for a whole shop.
                with _replacing(database, folder / _SQLITE_COPY):
                    _move_up(folder / _HOME, home)
        sync_folder(home.parent)
    n_files = len(description.files)
    return RestoreReport(home, engine.dialect.name, n_files, description.made_at)


def _check_empty(home: Path, engine: sa.Engine, database: Path | None) -> None:
    """Raise Conflict where a restore would meet another shop."""
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise Conflict(
            "the state folder is not empty",
            where=str(home),
            hint="Restore into an empty one: set SHOPWRIGHT_HOME",
        )
    if database is None:
        refuse_used_database(engine)
    elif database.exists():
        raise Conflict(
            "there is a database already",
            where=str(database),
            hint="Set SHOPWRIGHT_DATABASE_URL to a new file, or unset it",
        )


def _move_up(folder: Path, home: Path) -> None:
    for path in sorted(folder.iterdir()):
        path.replace(home / path.name)
    sync_folder(home)


@contextmanager
def _replacing(database: Path, copy: Path) -> Iterator[None]:
    """Bring a copy to the disk of the database, and at the end of the block in its place."""
    database.parent.mkdir(parents=True, exist_ok=True)
    staging = database.with_name(f".{database.name}.restored")
    try:
        shutil.move(copy, staging)
        sync_file(staging)
        yield
        staging.replace(database)
    finally:
        staging.unlink(missing_ok=True)
    sync_folder(database.parent)


def _check_kind(description: BackupDescription, engine: sa.Engine, file: Path) -> None:
    """Raise BadInput for a backup that this database or this version cannot take."""
    kind, revision = description.engine, description.revision
    if kind != engine.dialect.name:
        raise BadInput(
            f"the backup is of a shop on {kind}, and this database is {engine.dialect.name}",
            where=str(file),
            hint="Set SHOPWRIGHT_DATABASE_URL to a database of the same kind",
        )
    is_newer = revision > newest_revision()
    if is_newer or (kind == "postgresql" and revision != newest_revision()):
        raise BadInput(
            f"the backup is of the database revision {revision}, this version has "
            f"{newest_revision()}",
            where=str(file),
            hint="Restore it with the version that wrote it, then start this one",
        )
