"""Model versions and their aliases in MLflow's registry. `champion` is the version that serves.

MLflow is imported on first use: it takes seconds, and most commands do not need it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote, urlparse

from features.contracts.errors import BadInput, Conflict, Damaged, NotFound
from models.digests import check_digests
from models.registry_client import TimedClient

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"
CHALLENGER = "challenger"
_PREVIOUS = "previous_champion"
PASSED, REFUSED = "passed", "refused"  # what the gate decided: the tag "gate" of a version
SERVED, EVALUATED = "model", "evaluated"  # folders of a version's files
DIGESTS = "digests"  # the tag with the digest of the list of a version's files
_ARTIFACTS = "mlartifacts"  # the folder of all artifacts in a state folder
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

    Files of versions on another machine are stored under `home`. With `answer_seconds`, a registry
    that is no local file and does not answer in time raises Unavailable; else calls wait for it.
    """

    def __init__(self, url: str, home: Path, answer_seconds: float | None = None) -> None:
        self.url = os.environ.get("MLFLOW_TRACKING_URI", url)
        self._home = home
        self._answer_seconds = answer_seconds

    @cached_property
    def _client(self) -> MlflowClient:
        if self._answer_seconds is None or self._file is not None:
            return self.open_client()
        timed = TimedClient(self.open_client, self._answer_seconds, _hide_credentials(self.url))
        return cast("MlflowClient", timed)

    def open_client(self) -> MlflowClient:
        """Return a new client of the registry; a file that is not there is made."""
        os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
        if self._file is not None:
            self._home.mkdir(parents=True, exist_ok=True)
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.url, registry_uri=self.url)

    @property
    def _file(self) -> Path | None:
        """The file of a registry on this machine."""
        if not self.url.startswith("sqlite:///"):
            return None
        return Path(unquote(self.url.removeprefix("sqlite:///").partition("?")[0]))

    def _is_new(self) -> bool:
        """Return whether nothing was ever registered: MLflow takes seconds to make its file."""
        return self._file is not None and not self._file.exists()

    def read_stamp(self) -> object:
        """Return a value that changes with every write to a registry in a local file.

        None for another registry, whose writes cannot be seen from here.
        """
        if self._file is None:
            return None
        files = []
        for suffix in ("", "-wal"):
            try:
                stat = self._file.with_name(self._file.name + suffix).stat()
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

    def find_challenger(self, name: str) -> Version | None:
        """Return the version that was registered last, or None before the first."""
        return self._find_by_alias(name, CHALLENGER)

    def find_version(self, name: str, version: str) -> Version:
        """Return one version. Raises NotFound when there is none."""
        _check_name(name)
        unknown = NotFound(
            f"no version {version} of {name}", hint=f"See: shopwright models list {name}"
        )
        if self._is_new():
            raise unknown
        from mlflow.exceptions import MlflowException

        try:
            return self._describe_version(self._client.get_model_version(name, version))
        except MlflowException as error:
            raise unknown from error

    def find_named(self, name: str, version: str) -> Version:
        """Return one version by its number or as `challenger`. Raises NotFound."""
        if version != CHALLENGER:
            return self.find_version(name, version)
        challenger = self.find_challenger(name)
        if challenger is None:
            raise NotFound(f"{name} has no challenger", hint=f"Try: shopwright train {name}")
        return challenger

    def list_versions(self, name: str) -> list[Version]:
        """Return all versions, the newest first."""
        _check_name(name)
        if self._is_new():
            return []
        entries = self._client.search_model_versions(f"name = '{name}'")
        versions = [self.find_version(name, str(entry.version)) for entry in entries]
        return sorted(versions, key=lambda version: -int(version.version))

    def promote(self, name: str, version: str) -> Version:
        """Make `version` the champion, and remember the one that it replaces.

        Raises NotFound and Damaged for one whose files are gone or are not what was written.
        """
        target, present = self.find_version(name, version), self.find_champion(name)
        if present is not None and present.version == target.version:
            return present
        self.fetch_files(target)
        if present is not None:
            self._client.set_registered_model_alias(name, _PREVIOUS, present.version)
        self._client.set_registered_model_alias(name, CHAMPION, version)
        return self.find_version(name, version)

    def rollback(self, name: str) -> Version:
        """Make the previous champion the champion again. Raises Conflict when there is none."""
        previous = self.find_previous(name)
        if previous is None:
            raise Conflict(
                f"{name} has no earlier champion to go back to",
                hint=f"See: shopwright models list {name}",
            )
        return self.promote(name, previous.version)

    def find_previous(self, name: str) -> Version | None:
        """Return the champion before the present one; None where there was none."""
        return self._find_by_alias(name, _PREVIOUS)

    def fetch_files(self, version: Version, part: str = SERVED) -> Path:
        """Return the local folder with the version's files; files elsewhere are downloaded once.

        `part` is SERVED, or EVALUATED for the model that was fitted at the cut. Raises NotFound
        where there are no such files, and Damaged where they are not what was written.
        """
        expected = version.tags.get(DIGESTS) if part == SERVED else None
        folder = self.find_files(version, part)
        if folder is not None:
            if not folder.is_dir():
                raise NotFound(
                    f"the files of {version.name} {version.version} are gone", where=str(folder)
                )
            check_digests(folder, expected)
            return folder
        target = self._home / "models" / version.name / version.version
        if part != SERVED:
            target = target.with_name(f"{version.version}.{part}")
        if target.exists():
            try:
                check_digests(target, expected)
                return target
            except Damaged:  # the copy here; the files elsewhere may be whole
                shutil.rmtree(target)
        self._download_files(version, part, target)
        check_digests(target, expected)
        return target

    def find_files(self, version: Version, part: str = SERVED) -> Path | None:
        """Return the local folder of the version's files, which may be gone; None where they are on
        another machine."""
        address = urlparse(self._find_address(version, part))
        if address.scheme not in ("", "file"):
            return None
        return _find_folder(Path(unquote(address.path)), self._home)

    def read_document(self, version: Version, name: str) -> str | None:
        """Return a text that the training of a version logged beside its files; None without it."""
        folder = self.find_files(version)
        if folder is not None:
            path = folder.parent / name
            return path.read_text("utf-8") if path.is_file() else None
        from mlflow.exceptions import MlflowException

        with tempfile.TemporaryDirectory(prefix="shopwright-") as temporary:
            try:
                path = Path(self._client.download_artifacts(version.run_id, name, temporary))
            except (MlflowException, OSError):
                return None
            return path.read_text("utf-8")

    def find_page(self, version: Version) -> str | None:
        """Return the address of a version's page in MLflow; None where no server shows one."""
        if not self.url.startswith(("http://", "https://")):
            return None
        return f"{self.url.rstrip('/')}/#/models/{version.name}/versions/{version.version}"

    def _find_address(self, version: Version, part: str) -> str:
        uri = self._client.get_model_version_download_uri(version.name, version.version)
        return uri if part == SERVED else f"{uri.rpartition('/')[0]}/{part}"

    def _download_files(self, version: Version, part: str, target: Path) -> None:
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        uri = self._find_address(version, part)
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

    def _find_by_alias(self, name: str, alias: str) -> Version | None:
        _check_name(name)
        if self._is_new():
            return None
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


def find_artifacts(home: Path, name: str) -> Path:
    """Return the folder of the artifacts of a model in a state folder."""
    return home.absolute() / _ARTIFACTS / name


def _find_folder(stored: Path, home: Path) -> Path:
    """Return the folder of an artifact whose path was stored when the state folder may have had
    another one.

    MLflow stores absolute paths. Under the artifacts of this state folder the same relative path
    counts first, since the place where it was copied from may still be there.
    """
    _, folder, below = str(stored).rpartition(f"/{_ARTIFACTS}/")
    if folder and (moved := find_artifacts(home, below)).is_dir():
        return moved
    return stored


def _hide_credentials(url: str) -> str:
    """Return scheme and host of a URL, without user, password and query."""
    parts = urlparse(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _check_name(name: str) -> None:
    if name not in NAMES:
        raise BadInput(f"no model is called {name!r}", hint=f"One of: {', '.join(NAMES)}")
