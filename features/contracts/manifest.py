"""The manifest of the imported tables, in two equal files: the segments of each, and currencies.

`manifest.json` is what readers use. `manifest.copy.json` is written after it: where the first is
damaged or gone, the copy says the same, or what the write before said.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from features.contracts.errors import Damaged
from features.contracts.files import digest_file, read_json, write_json

log = logging.getLogger(__name__)

MANIFEST, COPY = "manifest.json", "manifest.copy.json"
# The keys beside the names of tables: the currency of each zone, and that under which the rows of
# zones that nobody knew were read as rows of the default zone.
CURRENCIES, UNKNOWN_ZONES = "currencies", "unknown_zones"
_NO_TABLES = (CURRENCIES, UNKNOWN_ZONES)
RESTORE_TABLES = "Restore it from a backup, or import all files into a new SHOPWRIGHT_HOME"


def read_segments(folder: Path) -> dict[str, list[str]]:
    """Return the segments by table, empty before the first import. Raises Damaged without one
    whole file."""
    manifest = read_manifest(folder)
    return {name: segments for name, segments in manifest.items() if name not in _NO_TABLES}


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the segments by table, CURRENCIES and UNKNOWN_ZONES; empty before the first import."""
    try:
        return _read(folder / MANIFEST)
    except FileNotFoundError:
        return _read(folder / COPY) if (folder / COPY).exists() else {}
    except Damaged as error:
        if not (folder / COPY).exists():
            raise
        _warn_once(f"{error.what} (in {error.where}); its copy is read instead")
        return _read(folder / COPY)


@cache
def _warn_once(message: str) -> None:
    """Log a message the first time: the manifest is read with every answer."""
    log.warning("%s", message)


def write_manifest(folder: Path, manifest: Mapping[str, object]) -> None:
    """Publish the tables, in one rename; then the copy."""
    write_json(folder / MANIFEST, manifest)
    write_json(folder / COPY, manifest)


def stamp_manifest(folder: Path) -> tuple[int, int]:
    """Return a stamp that changes with every write; (0, 0) before the first."""
    for path in _list_paths(folder):
        try:
            stat = os.stat(path)  # noqa: PTH116 (read several times with every answer)
        except FileNotFoundError:
            continue
        return stat.st_mtime_ns, stat.st_ino
    return 0, 0


@lru_cache(maxsize=64)
def _list_paths(folder: Path) -> tuple[str, str]:
    """Return the paths of the manifest and of its copy: to join them costs more than the stat."""
    return str(folder / MANIFEST), str(folder / COPY)


def check_tables(folder: Path) -> None:
    """Raise Damaged where the manifest is damaged, or gone although its copy is there, or where a
    segment is not what was written: its name is its digest."""
    path, hint = folder / MANIFEST, "The next import writes it anew"
    try:
        _read(path)
    except FileNotFoundError as error:
        if (folder / COPY).exists():
            gone = "the file is gone; its copy is read"
            raise Damaged(gone, where=str(path), hint=hint) from error
    except Damaged as error:
        read_manifest(folder)  # raises where the copy is damaged too
        raise Damaged(f"{error.what}; its copy is read", where=str(path), hint=hint) from error
    for segments in read_segments(folder).values():
        for segment in segments:
            check_segment(folder / segment)


def is_whole(folder: Path) -> bool:
    """Return whether the file that readers use is there and can be read."""
    try:
        _read(folder / MANIFEST)
    except (FileNotFoundError, Damaged):
        return False
    return True


def check_segment(path: Path) -> None:
    """Raise Damaged where a segment is gone or is not what was written: its name is its digest."""
    try:
        digest = digest_file(path)
    except FileNotFoundError as error:
        gone = "a segment of a table is gone"
        raise Damaged(gone, where=str(path), hint=RESTORE_TABLES) from error
    if not digest.startswith(path.stem):
        changed = "a segment of a table is not what was written"
        raise Damaged(changed, where=str(path), hint=RESTORE_TABLES)


def _read(path: Path) -> dict[str, Any]:
    try:
        manifest = read_json(path)
    except Damaged as error:
        raise Damaged(error.what, where=error.where, hint=RESTORE_TABLES) from error
    for name, segments in manifest.items():
        if not isinstance(segments, dict if name in _NO_TABLES else list):
            no_list = "the file is damaged: no list of segments"
            raise Damaged(no_list, where=str(path), hint=RESTORE_TABLES)
    return manifest
