"""The files of a state folder that belong into a backup."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from features.contracts.errors import BadInput

# Of processes that run, and what they make again.
_LEFT_OUT = ("spill", "metrics", "shown-slates.ring")
_UNFINISHED = (".lock", "-wal", "-shm", "-journal", ".staging", ".retired", ".part")


def list_home_files(home: Path) -> Iterator[Path]:
    """Return the files in order, those of linked folders too; what vanishes meanwhile is left out.

    Raises BadInput for a link that leads nowhere, or back to a folder that it is in.
    """
    for path in _list_entries(home):
        if path.name not in _LEFT_OUT:
            yield from _list_below(path, frozenset({home.resolve()}))


def _list_below(path: Path, above: frozenset[Path]) -> Iterator[Path]:
    if path.is_dir():
        folder = path.resolve()
        if folder in above:
            raise BadInput("the link leads back to a folder that it is in", where=str(path))
        for entry in _list_entries(path):
            yield from _list_below(entry, above | {folder})
    elif path.is_file():
        yield path
    elif path.is_symlink() and not path.exists():
        raise BadInput(
            "the link leads nowhere", where=str(path), hint="Mount its disk or remove it"
        )


def _list_entries(folder: Path) -> list[Path]:
    try:
        paths = sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    return [
        path
        for path in paths
        if not path.name.startswith(".") and not path.name.endswith(_UNFINISHED)
    ]
