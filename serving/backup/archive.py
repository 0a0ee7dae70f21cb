"""A backup as one tar file: files by name, and at its end their digests."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Literal

from pydantic import BaseModel

from features.contracts.errors import BadInput, Damaged
from features.contracts.files import sync_file

_DESCRIPTION = "backup.json"
_CHUNK = 1 << 20


class BackupDescription(BaseModel):
    """Of which shop a backup is, and the digests of its files.

    made_at     system time
    engine      the kind of the database
    revision    of the database
    sequences   the last number of each sequence, of PostgreSQL only
    files       the SHA-256 of each file, by name
    """

    format: Literal[1] = 1
    made_at: str
    engine: str
    revision: str
    sequences: Mapping[str, int] = {}
    files: Mapping[str, str] = {}


class BackupWriter:
    """Adds files to a backup."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._digests: dict[str, str] = {}

    @property
    def n_files(self) -> int:
        """How many files were added."""
        return len(self._digests)

    def add(self, name: str, path: Path) -> None:
        """Add a file; one that grows meanwhile as long as it was at first."""
        with path.open("rb") as file:
            entry = self._archive.gettarinfo(arcname=name, fileobj=file)
            reader = _DigestingReader(file)
            self._archive.addfile(entry, reader)  # type: ignore[arg-type]
        self._digests[name] = reader.digest.hexdigest()

    def finish(self, description: BackupDescription) -> None:
        """Add the description and the digests."""
        document = description.model_copy(update={"files": self._digests})
        content = document.model_dump_json(indent=1).encode()
        entry = tarfile.TarInfo(_DESCRIPTION)
        entry.size = len(content)
        self._archive.addfile(entry, BytesIO(content))


class _DigestingReader:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        """Return what `size` bytes hold, as tarfile reads them."""
        content = self._file.read(size)
        self.digest.update(content)
        return content


@contextmanager
def writing_backup(path: Path) -> Iterator[BackupWriter]:
    """Open a backup to be written; only this user may read it, as it holds secrets. At the end it
    is on the disk."""
    path.touch(mode=0o600)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        yield BackupWriter(archive)
    sync_file(path)


@contextmanager
def _reading_backup(path: Path) -> Iterator[tarfile.TarFile]:
    """Open a backup to be read. Raises BadInput where it is no tar file, or not a whole one."""
    try:
        archive = tarfile.open(path, "r:")  # noqa: SIM115 (closed below)
    except (tarfile.TarError, OSError) as error:
        raise _no_backup(path) from error
    with archive:
        try:
            yield archive
        except tarfile.TarError as error:
            raise _no_backup(path) from error


def extract_backup(path: Path, folder: Path) -> BackupDescription:
    """Write the files of a backup into a folder, and return its description.

    Raises BadInput for a file that is no backup, Damaged where one of its files is not what was
    written.
    """
    digests: dict[str, str] = {}
    description: BackupDescription | None = None
    with _reading_backup(path) as archive:
        for entry in archive:
            content = archive.extractfile(entry)
            if content is None or description is not None:
                raise _no_backup(path)
            if entry.name == _DESCRIPTION:
                description = _read_description(content.read(), path)
                continue
            target = _find_target(folder, entry.name, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            digest = hashlib.sha256()
            with target.open("wb") as file:
                while chunk := content.read(_CHUNK):
                    digest.update(chunk)
                    file.write(chunk)
            target.chmod(entry.mode & 0o700)
            digests[entry.name] = digest.hexdigest()
    if description is None:
        raise _no_backup(path)
    if digests != description.files:
        raise Damaged("the backup is damaged: a file is not what was written", where=str(path))
    return description


def _read_description(content: bytes, path: Path) -> BackupDescription:
    try:
        return BackupDescription.model_validate_json(content)
    except ValueError as error:
        raise _no_backup(path) from error


def _find_target(folder: Path, name: str, path: Path) -> Path:
    target = (folder / name).resolve()
    if not target.is_relative_to(folder.resolve()):
        raise _no_backup(path)
    return target


def _no_backup(path: Path) -> BadInput:
    return BadInput(
        "no whole backup", where=str(path), hint="Name a file that `shopwright backup` wrote"
    )
