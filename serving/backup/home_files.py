"""The files of a state folder that belong into a backup."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from features.contracts.errors import BadInput

# Of processes that run, and what they make again.
_LEFT_OUT = ("spill", "metrics", "shown-slates.ring")
_UNFINISHED = (".lock", "-wal", "-shm", "-journal", ".staging", ".retired", ".part")


def list_home_files(home: Path, out: Path) -> Iterator[Path]:
    """Return the files in order, those of linked folders too; what vanishes meanwhile is left out.

    Raises BadInput for a link that leads nowhere, back to a folder that it is in, or to that of the
    backup `out`, which would hold all earlier ones.
    """
    above = frozenset({home.resolve(), out.resolve().parent})
    for path in _list_entries(home):
        if path.name not in _LEFT_OUT:
            yield from _list_below(path, above)


def _list_below(path: Path, above: frozenset[Path]) -> Iterator[Path]:
    """Return the files of a folder, or the file itself. Raises BadInput for one of `above`."""
    if path.is_dir():
        folder = path.resolve()
        if folder in above:
            raise BadInput(
                "the link leads to a folder that it is in, or to that of the backup",
                where=str(path),
                hint="Remove the link, or choose another folder for the backup",
            )
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
