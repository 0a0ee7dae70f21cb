"""Checks every few seconds whether a process can read the imported tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from configs.settings import Settings
from features.contracts.errors import Damaged
from features.contracts.manifest import check_segment, read_segments

# Of longer segments (a table of many events) it is checked that they are there with their size.
_MAX_DIGESTED = 64 * 2**20


class StoredTables:
    """What of the tables of one state folder is gone or damaged.

    problem      the first segment that is, None where all are whole
    unreadable   why the catalogue cannot be read, so that no slate and no price is answered; None
                 while it can be, or what was read of it before is used

    `read_catalogue` reads what every slate needs, unless that was read already.
    """

    def __init__(self, settings: Settings, read_catalogue: Callable[[], None]) -> None:
        self._folder = settings.home / "tables"
        self._read_catalogue = read_catalogue
        self._whole: dict[Path, tuple[int, int]] = {}  # size and time of what was checked
        self.problem: str | None = None
        self.unreadable: str | None = None

    def refresh(self) -> None:
        """Look at every segment that is new or has changed. Raises Damaged for the first that is
        gone or not what was written."""
        self.unreadable = _describe_failure(self._read_catalogue)
        try:
            self._check()
        except Damaged as error:
            self.problem = str(error)
            raise
        self.problem = None

    def _check(self) -> None:
        segments = read_segments(self._folder)
        try:
            self._check_segments(segments)
        except Damaged:
            # An import may have replaced the segments meanwhile.
            newer = read_segments(self._folder)
            if newer == segments:
                raise
            self._check_segments(newer)

    def _check_segments(self, segments: dict[str, list[str]]) -> None:
        whole: dict[Path, tuple[int, int]] = {}
        for name in (name for names in segments.values() for name in names):
            path = self._folder / name
            stamp = _stamp(path)
            if stamp is None or (stamp != self._whole.get(path) and stamp[0] <= _MAX_DIGESTED):
                check_segment(path)
            whole[path] = stamp or (0, 0)
        self._whole = whole


def _stamp(path: Path) -> tuple[int, int] | None:
    """Return size and time of a file, None where it is gone."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_size, status.st_mtime_ns


def _describe_failure(read: Callable[[], None]) -> str | None:
    """Return why reading fails twice: an import may replace what is read the first time."""
    problem = None
    for _ in range(2):
        try:
            read()
        except (Damaged, OSError, ValueError) as error:  # those of Arrow are ValueErrors
            problem = str(error)
        else:
            return None
    return problem
