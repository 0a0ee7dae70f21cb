"""An empty registry of models, made by MLflow once: it takes seconds for each new shop."""

from __future__ import annotations

import os
import shutil
from functools import cache
from pathlib import Path

from features.contracts.files import hold_lock
from models.registry import Registry

FOLDER = "SHOPWRIGHT_TESTS_FOLDER"  # a folder of this run of the tests


def share_empty_registry() -> None:
    """Let a new registry in a file begin as a copy of one that MLflow made for this run."""
    if FOLDER not in os.environ:  # outside of a run of the tests
        return
    open_client, folder = Registry.open_client, Path(os.environ[FOLDER])

    @cache
    def make_template() -> Path:
        template, finished = folder / "registry" / "mlflow.db", folder / "registry" / "finished"
        with hold_lock(folder / "registry" / "lock"):
            if not finished.exists():
                new = Registry(f"sqlite:///{template}", template.parent)
                open_client(new)._tracking_client.store.engine.dispose()
                finished.touch()
        return template

    def copy_and_open(registry: Registry):
        if registry._is_new():
            registry._file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(make_template(), registry._file)
        return open_client(registry)

    Registry.open_client = copy_and_open
