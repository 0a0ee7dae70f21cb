"""What takes seconds to build and is never changed: built by one test process for all of a run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from features.contracts.files import hold_lock


def build_once(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], object]) -> Path:
    """Return what `build` makes at a path of this name, in this process or in another one."""
    folder = find_shared_folder(factory)
    target, finished = folder / name, folder / f"{name}.finished"
    with hold_lock(folder / f"{name}.lock"):
        if not finished.exists():
            build(target)
            finished.touch()
    return target


def find_shared_folder(factory: pytest.TempPathFactory) -> Path:
    """Return the folder of this run of the tests, for all of its workers."""
    folder = factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
