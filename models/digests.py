"""Digests of the files of an artifact: `digests.json`, written last, names each with its SHA-256.

Artifacts of earlier releases have none.
"""

from __future__ import annotations

from pathlib import Path

from features.contracts.errors import Damaged
from features.contracts.files import digest_file, read_json, write_json

_DIGESTS = "digests.json"


def write_digests(folder: Path) -> str:
    """Write the digest of every file of a complete artifact; return that of the list."""
    write_json(folder / _DIGESTS, _digest_files(folder))
    return digest_file(folder / _DIGESTS)


def read_digest(folder: Path) -> str | None:
    """Return the digest of the list; None for an artifact of an earlier release, without one."""
    try:
        return digest_file(folder / _DIGESTS)
    except FileNotFoundError:
        return None


def check_digests(folder: Path, expected: str | None = None) -> None:
    """Raise Damaged where a file is missing or is not what was written, or where the list has
    another digest than `expected`."""
    digest = read_digest(folder)
    if digest is None and expected is None:
        return
    if expected is not None and digest != expected:
        what = "is missing" if digest is None else "is not what was written"
        raise _describe_damage(folder, f"{_DIGESTS} {what}")
    written = read_json(folder / _DIGESTS)
    present = _digest_files(folder)
    for name in written:
        if present.get(name) != written[name]:
            what = "is not what was written" if name in present else "is missing"
            raise _describe_damage(folder, f"{name} {what}")


def _digest_files(folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != _DIGESTS)
    return {path.relative_to(folder).as_posix(): digest_file(path) for path in paths}


def _describe_damage(folder: Path, what: str) -> Damaged:
    hint = "Promote another version, restore the files, or train again"
    return Damaged(f"a model is damaged: {what}", where=str(folder), hint=hint)
