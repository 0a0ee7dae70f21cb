"""Model versions and their aliases in MLflow's registry. `champion` is the version that serves.

MLflow is imported on first use: it takes seconds, and most commands do not need it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

from features.contracts.errors import BadInput, Conflict, NotFound

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"
CHALLENGER = "challenger"
_PREVIOUS = "previous_champion"
SERVED, EVALUATED = "model", "evaluated"  # folders of a version's files
NAMES = ("recommendations", "demand", "pricing")


@dataclass(frozen=True)
class Version:
    """One registered version of a model."""

    name: str
    version: str
    run_id: str
    aliases: tuple[str, ...]
    created_at_seconds: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


class Registry:
    """Versions of the registered models in the MLflow at `url`.

    Files of versions on another machine are stored under `home`.
    """

    def __init__(self, url: str, home: Path) -> None:
        self.url = os.environ.get("MLFLOW_TRACKING_URI", url)
        self._home = home

    @cached_property
    def _client(self) -> MlflowClient:
        os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
        if self.url.startswith("sqlite:///"):
            self._home.mkdir(parents=True, exist_ok=True)
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.url, registry_uri=self.url)

    def read_stamp(self) -> object:
        """Return a value that changes with every write to a registry in a local file.

        None for another registry, whose writes cannot be seen from here.
        """
        if not self.url.startswith("sqlite:///"):
            return None
        path = self.url.removeprefix("sqlite:///")
        files = []
        for suffix in ("", "-wal"):
            try:
                stat = Path(path + suffix).stat()
            except FileNotFoundError:
                continue
            files.append((suffix, stat.st_mtime_ns, stat.st_size))
        return tuple(files)

    def register(self, name: str, *, run_id: str, source: str, tags: Mapping[str, str]) -> Version:
        """Create a version of `name` whose files are at `source`, an MLflow artifact address."""
        _check_name(name)
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        entry = self._client.create_model_version(
            name, source=source, run_id=run_id, tags=dict(tags)
        )
        self._client.set_registered_model_alias(name, CHALLENGER, entry.version)
        return self.find_version(name, str(entry.version))

    def find_champion(self, name: str) -> Version | None:
        """Return the version that serves, or None before the first promotion."""
        return self._find_by_alias(name, CHAMPION)

    def find_version(self, name: str, version: str) -> Version:
        """Return one version. Raises NotFound when there is none."""
        _check_name(name)
        from mlflow.exceptions import MlflowException

        try:
            return self._describe_version(self._client.get_model_version(name, version))
        except MlflowException as error:
            raise NotFound(
                f"no version {version} of {name}", hint=f"See: shopwright models list {name}"
            ) from error

    def list_versions(self, name: str) -> list[Version]:
        """Return all versions, the newest first."""
        _check_name(name)
        entries = self._client.search_model_versions(f"name = '{name}'")
        versions = [self.find_version(name, str(entry.version)) for entry in entries]
        return sorted(versions, key=lambda version: -int(version.version))

    def promote(self, name: str, version: str) -> Version:
        """Make `version` the champion, and remember the one that it replaces."""
        target, present = self.find_version(name, version), self.find_champion(name)
        if present is not None and present.version == target.version:
            return present
        if present is not None:
            self._client.set_registered_model_alias(name, _PREVIOUS, present.version)
        self._client.set_registered_model_alias(name, CHAMPION, version)
        return self.find_version(name, version)

    def rollback(self, name: str) -> Version:
        """Make the previous champion the champion again. Raises Conflict when there is none."""
        previous = self._find_by_alias(name, _PREVIOUS)
        if previous is None:
            raise Conflict(
                f"{name} has no earlier champion to go back to",
                hint=f"See: shopwright models list {name}",
            )
        return self.promote(name, previous.version)

    def fetch_files(self, version: Version, part: str = SERVED) -> Path:
        """Return the local folder with the version's files; files elsewhere are downloaded once.

        `part` is SERVED, or EVALUATED for the model that was fitted at the cut. Raises NotFound
        where there are no such files.
        """
        uri = self._client.get_model_version_download_uri(version.name, version.version)
        if part != SERVED:
            uri = f"{uri.rpartition('/')[0]}/{part}"
        address = urlparse(uri)
        if address.scheme in ("", "file"):
            folder = Path(unquote(address.path))
            if not folder.is_dir():
                raise NotFound(
                    f"the files of {version.name} {version.version} are gone", where=str(folder)
                )
            return folder
        target = self._home / "models" / version.name / version.version
        if part != SERVED:
            target = target.with_name(f"{version.version}.{part}")
        if not target.exists():
            from mlflow.artifacts import download_artifacts
            from mlflow.exceptions import MlflowException

            staging = target.with_name(f".{target.name}")
            staging.mkdir(parents=True, exist_ok=True)
            try:
                downloaded = download_artifacts(
                    artifact_uri=uri, dst_path=str(staging), tracking_uri=self.url
                )
            except MlflowException as error:
                raise NotFound(
                    f"the files of {version.name} {version.version} cannot be downloaded", where=uri
                ) from error
            Path(downloaded).replace(target)
        return target

    def _find_by_alias(self, name: str, alias: str) -> Version | None:
        _check_name(name)
        from mlflow.exceptions import MlflowException

        try:
            entry = self._client.get_model_version_by_alias(name, alias)
            return self._describe_version(entry)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def _describe_version(self, entry: ModelVersion) -> Version:
        metrics = self._client.get_run(entry.run_id).data.metrics if entry.run_id else {}
        return Version(
            name=entry.name,
            version=str(entry.version),
            run_id=entry.run_id or "",
            aliases=tuple(sorted(entry.aliases)),
            created_at_seconds=entry.creation_timestamp / 1000,
            metrics=dict(metrics),
            tags=dict(entry.tags),
        )


def _check_name(name: str) -> None:
    if name not in NAMES:
        raise BadInput(f"no model is called {name!r}", hint=f"One of: {', '.join(NAMES)}")
