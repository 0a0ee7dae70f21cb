"""What takes seconds to build and is never changed: built by one test process for all of a run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from features.contracts.files import hold_lock


def build_once(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], object]) -> Path:
    """Return what `build` makes at a path of this name, in this process or in another one."""
    folder = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # that of all workers
    target, finished = folder / name, folder / f"{name}.finished"
    with hold_lock(folder / f"{name}.lock"):
        if not finished.exists():
            build(target)
            finished.touch()
    return target
