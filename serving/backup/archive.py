"""A backup as one tar file: files by name, and at its end their digests."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from features.contracts.errors import BadInput, Damaged

_DESCRIPTION = "backup.json"
_FORMAT = 1
_CHUNK = 1 << 20


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

    def finish(self, description: Mapping[str, object]) -> None:
        """Add the description and the digests."""
        document = {"format": _FORMAT, **description, "files": self._digests}
        content = json.dumps(document, indent=1).encode()
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
    """Open a backup to be written; only this user may read it, as it holds secrets."""
    path.touch(mode=0o600)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        yield BackupWriter(archive)


def extract_backup(path: Path, folder: Path) -> dict[str, object]:
    """Write the files of a backup into a folder, and return its description.

    Raises BadInput for a file that is no backup, Damaged where one of its files is not what was
    written.
    """
    digests: dict[str, str] = {}
    description: dict[str, object] | None = None
    try:
        with tarfile.open(path) as archive:
            for entry in archive:
                content = archive.extractfile(entry)
                if content is None or description is not None:
                    raise _no_backup(path)
                if entry.name == _DESCRIPTION:
                    description = json.load(content)
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
    except (tarfile.TarError, OSError, ValueError) as error:
        raise _no_backup(path) from error
    if description is None or description.get("format") != _FORMAT:
        raise _no_backup(path)
    expected = description.pop("files")
    if digests != expected:
        raise Damaged("the backup is damaged: a file is not what was written", where=str(path))
    return description


def _find_target(folder: Path, name: str, path: Path) -> Path:
    target = (folder / name).resolve()
    if not target.is_relative_to(folder.resolve()):
        raise _no_backup(path)
    return target


def _no_backup(path: Path) -> BadInput:
    return BadInput(
        "no whole backup", where=str(path), hint="Name a file that `shopwright backup` wrote"
    )
