"""Loads versions of models: files checked, tried in a process of their own, then loaded here."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.settings import Settings
from features.contracts.errors import ShopwrightError
from features.contracts.files import hold_lock
from models.digests import check_digests, read_digest
from models.registry import Registry, Version
from serving.models.model_files import load_model
from serving.models.served_versions import ServedVersion, ServedVersions
from serving.models.trial import try_version

log = logging.getLogger(__name__)

# A version that failed is tried again when its files change, and after this time all the same.
RETRY_SECONDS = 60.0


@dataclass(frozen=True)
class _Failure:
    """Why a version could not be loaded, with the state of its files and the time of the trial."""

    error: Exception
    files: object
    at_seconds: float


class VersionLoader:
    """Loads versions, and remembers on disk which of them served."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._settings = settings
        self._registry = registry
        self._served = ServedVersions(settings.home)
        self._failures: dict[tuple[str, str], _Failure] = {}
        self._no_earlier_until: dict[str, float] = {}

    def load(self, version: Version) -> object:
        """Return the loaded version. Raises what loading raised.

        Within RETRY_SECONDS it raises that again without another trial, unless the files changed.
        """
        key, files = (version.name, version.version), self._stamp_files(version)
        failure = self._failures.get(key)
        if (
            failure is not None
            and failure.files == files
            and time.monotonic() < failure.at_seconds + RETRY_SECONDS
        ):
            raise failure.error
        try:
            model = self._load_folder(version, self._registry.fetch_files(version))
        except Exception as error:
            self._failures[key] = _Failure(error, files, time.monotonic())
            raise
        self._failures.pop(key, None)
        return model

    def load_for_preview(self, version: Version) -> Any:
        """Return a version that serves nobody, after a trial; it is not remembered as one that
        served. Raises what loading raised."""
        folder = self._registry.fetch_files(version)
        try_version(self._settings, version.name, folder)
        return load_model(version.name, folder)

    def load_earlier(self, name: str, champion: Version | None) -> tuple[Version, object] | None:
        """Return the last version but `champion` that served and can still be loaded; None without
        one, and then for RETRY_SECONDS without another look."""
        if time.monotonic() < self._no_earlier_until.get(name, 0.0):
            return None
        for served in self._list_earlier(name):
            if champion is not None and served.version.version == champion.version:
                continue
            try:
                check_digests(served.folder, served.digests)
                return served.version, self._load_folder(served.version, served.folder)
            except Exception as error:  # the next one may do
                log.warning("cannot load %s %s: %s", name, served.version.version, error)
        self._no_earlier_until[name] = time.monotonic() + RETRY_SECONDS
        return None

    def _list_earlier(self, name: str) -> list[ServedVersion]:
        """Return the versions that served here, then the champion before the present one."""
        earlier = self._served.read(name)
        try:
            previous = self._registry.find_previous(name)
            if previous is not None:
                folder = self._registry.fetch_files(previous)
                earlier.append(ServedVersion.of(previous, folder, read_digest(folder)))
        except Exception as error:  # a registry that does not answer, or damaged files
            log.warning("cannot read the champion of %s before this one: %s", name, error)
        return earlier

    def _load_folder(self, version: Version, folder: Path) -> object:
        """Load checked files, after a trial where the same ones have not served here yet."""
        served = ServedVersion.of(version, folder, read_digest(folder))
        with hold_lock(self._served.lock_file):
            known = any(served.is_same(former) for former in self._served.read(version.name))
            if served.digests is None or not known:
                try_version(self._settings, version.name, folder)
            model = load_model(version.name, folder)
            self._served.add(served)
        return model

    def _stamp_files(self, version: Version) -> object:
        """Return a value that changes with the files of a version on this machine."""
        try:
            folder = self._registry.find_files(version)
        except Exception:  # the registry does not answer: `fetch_files` raises it again
            return None
        if folder is None:
            return None
        stats = [(str(path), path.stat()) for path in sorted(folder.rglob("*"))]
        return [(path, stat.st_mtime_ns, stat.st_size) for path, stat in stats]


def describe_error(error: Exception) -> str:
    """Return the message of an error, with its type where it is not one of ours."""
    return str(error) if isinstance(error, ShopwrightError) else f"{type(error).__name__}: {error}"
