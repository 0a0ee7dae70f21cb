"""Backups of a shop: the database and the state folder as of one instant, in one file.

While a backup is made no import, no sealing and no materialization runs: they wait for it. What the
server stores meanwhile is in the backup whole or not at all: databases are copied before files, and
everything that a database names is in the files by then.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.errors import BadInput, Conflict
from features.contracts.files import hold_lock, sync_folder
from serving.backup.archive import BackupWriter, extract_backup, writing_backup
from serving.backup.database_copy import (
    copy_sqlite,
    copy_tables,
    is_sqlite,
    load_tables,
    refuse_used_database,
)
from serving.database.migrate import newest_revision, upgrade

_HOME, _TABLES = "home", "database"
# Of processes that run, and what they make again.
_LEFT_OUT = ("spill", "metrics", "shown-slates.ring")
_UNFINISHED = (".lock", "-wal", "-shm", "-journal", ".staging", ".retired", ".part")


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
    home = settings.home.absolute()
    if out.absolute().is_relative_to(home):
        raise BadInput(
            "a backup lies outside of the state folder",
            where=str(out),
            hint="Choose another folder, best on another disk",
        )
    if not out.absolute().parent.is_dir():
        raise BadInput("there is no such folder", where=str(out.parent), hint="Make it first")
    with tempfile.TemporaryDirectory(dir=out.absolute().parent, prefix=".backup-") as temporary:
        staging = Path(temporary) / "backup.tar"
        with (
            hold_lock(home / "features" / ".lock"),
            hold_lock(home / "tables" / ".lock"),
            writing_backup(staging) as writer,
        ):
            description: dict[str, object] = {
                "made_at": now.isoformat(),
                "engine": engine.dialect.name,
                "revision": newest_revision(),
            }
            if engine.dialect.name == "postgresql":
                copies = Path(temporary) / _TABLES
                description["sequences"] = copy_tables(engine, copies)
                for path in sorted(copies.iterdir()):
                    writer.add(f"{_TABLES}/{path.name}", path)
            _add_files(home, writer, Path(temporary) / "copy.db")
            writer.finish(description)
            n_files = writer.n_files
        n_bytes = staging.stat().st_size
        staging.replace(out)
    sync_folder(out.absolute().parent)
    return BackupReport(out, engine.dialect.name, n_files, n_bytes)


def _add_files(home: Path, writer: BackupWriter, copy: Path) -> None:
    """Add the files of the state folder, databases first."""
    paths = list(_list_files(home))
    databases = [path for path in paths if is_sqlite(path)]
    for path in databases:
        copy.unlink(missing_ok=True)
        copy_sqlite(path, copy)
        writer.add(f"{_HOME}/{path.relative_to(home)}", copy)
    for path in paths:
        if path not in databases:
            writer.add(f"{_HOME}/{path.relative_to(home)}", path)


def _list_files(home: Path) -> Iterator[Path]:
    for path in sorted(home.rglob("*")):
        parts = path.relative_to(home).parts
        is_hidden = any(part.startswith(".") for part in parts)
        if parts[0] in _LEFT_OUT or is_hidden or path.name.endswith(_UNFINISHED):
            continue
        if path.is_file():
            yield path


def restore_backup(settings: Settings, engine: sa.Engine, file: Path) -> RestoreReport:
    """Restore a backup into an empty state folder, and an empty database where it is PostgreSQL.

    Every file is checked before anything is put in its place.
    """
    home = settings.home.absolute()
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise Conflict(
            "the state folder is not empty",
            where=str(home),
            hint="Restore into an empty one: set SHOPWRIGHT_HOME",
        )
    if engine.dialect.name == "postgresql":
        refuse_used_database(engine)
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=".restore-") as temporary:
        folder = Path(temporary)
        description = extract_backup(file, folder)
        _check_kind(description, engine, file)
        if engine.dialect.name == "postgresql":
            upgrade(engine)
            load_tables(engine, folder / _TABLES, _read_sequences(description))
        (folder / _HOME).mkdir(exist_ok=True)
        (folder / _HOME).chmod(0o700)
        if home.exists():
            home.rmdir()
        (folder / _HOME).replace(home)
        n_files = sum(path.is_file() for path in home.rglob("*"))
        shutil.rmtree(folder / _TABLES, ignore_errors=True)
    sync_folder(home.parent)
    return RestoreReport(home, engine.dialect.name, n_files, str(description["made_at"]))


def _check_kind(description: dict[str, object], engine: sa.Engine, file: Path) -> None:
    """Raise BadInput for a backup that this database or this version cannot take."""
    kind, revision = description["engine"], str(description["revision"])
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


def _read_sequences(description: dict[str, object]) -> dict[str, int]:
    stored = description["sequences"]
    assert isinstance(stored, dict)  # noqa: S101
    return stored
