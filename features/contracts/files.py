"""Files of the state folder that several processes share: JSON replaced in one rename, locks."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TextIO

from features.contracts.errors import Damaged, Unavailable

_LOCK_STEP_SECONDS = 0.1


def write_json(path: Path, document: object) -> None:
    """Write a JSON file in one rename that survives a power cut; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=f".{path.name}.", delete=False, encoding="utf-8"
    ) as staging:
        json.dump(document, staging, indent=1)
        staging.flush()
        os.fsync(staging.fileno())
    Path(staging.name).replace(path)
    sync_folder(path.parent)


def read_json(path: Path) -> dict[str, Any]:
    """Return the object of a JSON file. Raises FileNotFoundError, and Damaged for another text."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Damaged("the file is damaged: no JSON", where=str(path)) from error
    if not isinstance(document, dict):
        raise Damaged("the file is damaged: no JSON object", where=str(path))
    return document


def make_secret(path: Path) -> None:
    """Write a secret that only this user may read, unless there is one: the first of several
    processes makes it. It survives a power cut: what was made with it is of no use without."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    staging.touch(mode=0o600)
    staging.write_text(secrets.token_hex(32))
    sync_file(staging)
    try:
        os.link(staging, path)
    except FileExistsError:
        pass
    finally:
        staging.unlink()
    sync_folder(path.parent)


def read_secret(path: Path) -> bytes:
    """Return what `make_secret` wrote. Raises FileNotFoundError."""
    return path.read_text().strip().encode()


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sqlite(path: Path, *, hint: str) -> None:
    """Raise Damaged where an SQLite file cannot be read, or is not whole; nothing without one.

    A file without a byte is damaged too: SQLite would take it for a new database.
    """
    if not path.exists():
        return
    finding = "it is empty"
    if path.stat().st_size:
        try:
            with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as opened:
                (finding,) = opened.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            finding = str(error)
    if finding != "ok":
        raise Damaged(f"the database is damaged: {finding}", where=str(path), hint=hint)


def sync_file(path: Path) -> None:
    """Make what was written to a file survive a power cut."""
    _sync(path)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut."""
    _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def hold_lock(path: Path, wait_seconds: float | None = None) -> Iterator[None]:
    """Allow one holder at a time, across processes; the lock ends with its process.

    Waits as long as it takes, or raises Unavailable after `wait_seconds`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        if wait_seconds is None:
            fcntl.flock(lock, fcntl.LOCK_EX)
        else:
            _lock_within(lock, path, wait_seconds)
        yield


def _lock_within(lock: TextIO, path: Path, seconds: float) -> None:
    last_try = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= last_try:
                raise Unavailable(
                    "another process works on these files",
                    where=str(path.parent),
                    hint="Repeat this once it has ended",
                    retry_after_seconds=30,
                ) from None
            time.sleep(_LOCK_STEP_SECONDS)
        else:
            return
