"""The last versions of each model that this machine served, in `models/served.json`.

Read where the champion cannot be loaded, even when the registry does not answer.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version as library_version
from pathlib import Path
from typing import Any

from features.contracts.errors import Damaged
from features.contracts.files import hold_lock, read_json, write_json
from models.registry import Version

log = logging.getLogger(__name__)

N_KEPT = 3


@dataclass(frozen=True)
class ServedVersion:
    """A version that was loaded and answered.

    folder    where its files are
    digests   of the list of its files; None for an artifact of an earlier release
    library   the LightGBM that loaded it
    """

    version: Version
    folder: Path
    digests: str | None
    library: str

    @classmethod
    def of(cls, version: Version, folder: Path, digests: str | None) -> ServedVersion:
        """Return the record of a version, loaded by this process."""
        return cls(version, folder, digests, library_version("lightgbm"))

    def is_same(self, other: ServedVersion) -> bool:
        """Return whether the same files were loaded by the same library."""
        mine = (self.version.version, self.digests, self.library)
        return mine == (other.version.version, other.digests, other.library)


class ServedVersions:
    """Keeps the last N_KEPT versions by model, newest first."""

    def __init__(self, home: Path) -> None:
        self._home = home.absolute()
        self._path = self._home / "models" / "served.json"

    @property
    def lock_file(self) -> Path:
        """The file of the lock under which one process at a time tries a version."""
        return self._path.with_name(".trial.lock")

    def read(self, name: str) -> list[ServedVersion]:
        """Return the versions of a model, the last served first."""
        return [self._restore(stored) for stored in self._read_all().get(name, ())]

    def add(self, served: ServedVersion) -> None:
        """Record that a version serves from now on."""
        name, version = served.version.name, served.version.version
        with hold_lock(self._path.with_name(".served.lock")):
            stored = self._read_all()
            others = [row for row in stored.get(name, ()) if row["version"]["version"] != version]
            stored[name] = [self._store(served), *others][:N_KEPT]
            write_json(self._path, stored)

    def _read_all(self) -> dict[str, list[dict[str, Any]]]:
        try:
            stored = read_json(self._path)
            for rows in stored.values():
                for row in rows:
                    self._restore(row)
        except FileNotFoundError:
            return {}
        except (Damaged, AttributeError, KeyError, TypeError) as error:
            log.warning("%s is damaged and is written anew: %s", self._path, error)
            return {}
        return stored

    def _store(self, served: ServedVersion) -> dict[str, Any]:
        folder = served.folder.absolute()
        if folder.is_relative_to(self._home):  # the state folder may move
            folder = folder.relative_to(self._home)
        version = {**asdict(served.version), "metrics": {}}
        return {**asdict(served), "version": version, "folder": str(folder)}

    def _restore(self, stored: Mapping[str, Any]) -> ServedVersion:
        version = stored["version"] | {"aliases": tuple(stored["version"]["aliases"])}
        folder = self._home / stored["folder"]
        return ServedVersion(Version(**version), folder, stored["digests"], stored["library"])
