"""Who may read the files of a verb: those of the state folder its user alone, outputs as usual."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_PRIVATE = 0o077
# What a state folder has first, of whatever verb made it.
_OURS = ("shopwright.db", "tables", "mlflow.db")

_usual_mask = 0o022


def keep_files_private() -> None:
    """Make new files of this process, and of those it starts, readable by its user alone."""
    global _usual_mask
    _usual_mask = os.umask(_PRIVATE)


def share_output(path: Path) -> None:
    """Give a file, or a folder with its files, that was asked for its usual mode."""
    path.chmod((0o777 if path.is_dir() else 0o666) & ~_usual_mask)
    for below in path.rglob("*") if path.is_dir() else ():
        below.chmod((0o777 if below.is_dir() else 0o666) & ~_usual_mask)


def close_state_folder(home: Path) -> None:
    """Keep other users out of a state folder, or of an empty folder that will be one."""
    if not home.is_dir() or not home.stat().st_mode & _PRIVATE:
        return
    if any((home / name).exists() for name in _OURS) or not any(home.iterdir()):
        with contextlib.suppress(PermissionError):  # somebody else's; `doctor` says so
            home.chmod(0o700)
