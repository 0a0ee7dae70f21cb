"""Rules as versions: a file of YAML until somebody saves a version, then the newest version.

Each kind of rules (pricing, merchandising) derives `PresentValues` and `VersionedRules`.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import ClassVar, Generic, Self, TypeVar

import sqlalchemy as sa
import yaml

from configs.loading import list_configs, read_values
from configs.settings import Settings
from features.contracts.clock import Clock
from features.contracts.errors import BadInput, Conflict, NotFound, UnknownName
from features.database import lock, reading, transaction
from serving.access import Caller
from serving.database.audit_log import AuditEntry, AuditLog
from serving.database.rule_versions import RuleVersion, RuleVersions

# Stands for the file in the place of the number of a version.
FILE = 0


@dataclass(frozen=True)
class PresentValues:
    """The rules by name, as they were when they were read: the newest version, else the file.

    versions   the newest version of each name that has one
    folder     of the files, in configs
    table      of the versions
    kind       of a name, for messages
    """

    settings: Settings
    versions: Mapping[str, RuleVersion]

    folder: ClassVar[str]
    table: ClassVar[sa.Table]
    kind: ClassVar[str]

    @classmethod
    def read(cls, settings: Settings, connection: sa.Connection) -> Self:
        """Return the rules of now."""
        return cls(settings, RuleVersions(connection, cls.table).list_newest())

    @classmethod
    def read_file(cls, settings: Settings, name: str) -> Mapping[str, object]:
        """Return the values of the file of a name, shipped or the shop's own. Raises
        UnknownName."""
        names = list_configs(cls.folder, overlay=settings.config_dir)
        if name not in names:
            raise UnknownName(name, names, kind=cls.kind)
        values = read_values(f"{cls.folder}/{name}", overlay=settings.config_dir)
        plain = _to_plain(values)
        assert isinstance(plain, dict)  # noqa: S101 (a mapping stays one)
        return plain

    def list_names(self) -> list[str]:
        """Return the names of all rules, sorted."""
        files = list_configs(self.folder, overlay=self.settings.config_dir)
        return sorted({*self.versions, *files})

    def read_values(self, name: str) -> Mapping[str, object]:
        """Return the values of the rules of a name. Raises UnknownName."""
        if name in self.versions:
            return self.versions[name].values
        return self.read_file(self.settings, name)

    def describe_version(self, name: str) -> str:
        """Return a name with the number of its version; the name alone for rules of a file."""
        version = self.versions.get(name)
        return name if version is None else f"{name} {version.number}"


Present = TypeVar("Present", bound=PresentValues)


@dataclass(frozen=True)
class RuleDifference:
    """A value that two versions do not share, by its path; None where one of them lacks it."""

    path: str
    before: object
    after: object


@dataclass(frozen=True)
class NamedRules:
    """The rules of one name, as they are valid now or were; version None where they come from a
    file."""

    name: str
    values: Mapping[str, object]
    version: RuleVersion | None

    @property
    def number(self) -> int:
        """The number of the version; FILE for that of a file."""
        return FILE if self.version is None else self.version.number


@dataclass(frozen=True)
class RuleChange:
    """A version and what it changed."""

    version: RuleVersion
    differences: tuple[RuleDifference, ...]


@dataclass(frozen=True)
class NewVersion:
    """What to save under a name. `based_on` is the number of the version that was edited."""

    name: str
    values: Mapping[str, object]
    comment: str
    based_on: int


@dataclass(frozen=True)
class VersionedRules(ABC, Generic[Present]):
    """The rules of one kind. What writes works on the connection of one transaction.

    present   the type of the rules of now
    subject   their name in the audit log
    title     their name for people
    scope     of who may save them
    """

    settings: Settings
    engine: sa.Engine
    system_clock: Clock

    present: ClassVar[type[PresentValues]]
    subject: ClassVar[str]
    title: ClassVar[str]
    scope: ClassVar[str]

    @abstractmethod
    def check(self, name: str, values: Mapping[str, object], present: Present) -> None:
        """Raise BadInput or UnknownName for values that cannot be used under a name."""

    def list_rules(self) -> list[NamedRules]:
        """Return the rules of every name as they are valid now."""
        present = self.read_present()
        return [
            NamedRules(name, present.read_values(name), present.versions.get(name))
            for name in present.list_names()
        ]

    def read_present(self) -> Present:
        """Return the rules of now."""
        with reading(self.engine) as connection:
            return self._read_present(connection)

    def read_set(self, name: str, number: int | None = None) -> NamedRules:
        """Return the rules of a name: those valid now, those of a version, or for FILE those of the
        file. Raises UnknownName and NotFound."""
        with reading(self.engine) as connection:
            return self._read_set(connection, name, number)

    def list_versions(self, name: str) -> list[RuleChange]:
        """Return every version of a name and what it changed, oldest first. Raises UnknownName."""
        with reading(self.engine) as connection:
            self._read_set(connection, name, None)
            versions = self._versions(connection).list_versions(name)
        before = self._read_file(name)
        changes = []
        for version in versions:
            changes.append(RuleChange(version, list_differences(before, version.values)))
            before = version.values
        return changes

    def save(self, connection: sa.Connection, new: NewVersion, *, author: str) -> RuleVersion:
        """Store a version, which is valid at once.

        Raises BadInput for rules that cannot be used or that change nothing, and Conflict where
        somebody saved another version meanwhile.
        """
        name = new.name
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
            raise BadInput(
                f"{name!r} is no name for rules", where="name", hint="Small letters, digits and _"
            )
        lock(connection, self.subject)
        present = self._read_present(connection)
        version = present.versions.get(name)
        number = FILE if version is None else version.number
        if new.based_on != number:
            raise Conflict(
                f"the rules {name!r} are at version {number}, not {new.based_on}",
                hint="Look at what changed, then save again",
            )
        self.check(name, new.values, present)
        before = present.read_values(name) if name in present.list_names() else {}
        return self._store(connection, new, before, author)

    def restore(
        self, connection: sa.Connection, name: str, number: int, comment: str, *, author: str
    ) -> RuleVersion:
        """Store the values of an earlier version, for FILE those of the file, as a new version.

        Raises UnknownName and NotFound, and BadInput where they are the values of today.
        """
        lock(connection, self.subject)
        earlier = self._read_set(connection, name, number)
        current = self._read_set(connection, name, None)
        self.check(name, earlier.values, self._read_present(connection))
        new = NewVersion(name, earlier.values, comment, current.number)
        return self._store(connection, new, current.values, author, restored_from=number)

    def export_yaml(self, name: str, number: int | None = None) -> str:
        """Return rules as the text of a file of configs. Raises as `read_set`."""
        rules = self.read_set(name, number)
        version = rules.version
        origin = "as shipped or as the shop's own file says"
        if version is not None:
            origin = f"version {version.number} of {version.created_at.date()} by {version.author}"
        text = yaml.safe_dump(dict(rules.values), allow_unicode=True, sort_keys=False)
        return f"# {self.title} {name}: {origin}.\n{text}"

    def _read_present(self, connection: sa.Connection) -> Present:
        # Each service names the type that it is made for.
        return self.present.read(self.settings, connection)  # type: ignore[return-value]

    def _versions(self, connection: sa.Connection) -> RuleVersions:
        return RuleVersions(connection, self.present.table)

    def _store(
        self,
        connection: sa.Connection,
        new: NewVersion,
        before: Mapping[str, object],
        author: str,
        restored_from: int | None = None,
    ) -> RuleVersion:
        differences = list_differences(before, new.values)
        if not differences:
            raise BadInput("these are the rules of today already", where="values")
        at: datetime = self.system_clock.now()
        version = RuleVersion(
            name=new.name,
            number=new.based_on + 1,
            values=new.values,
            author=author,
            comment=new.comment,
            created_at=at,
            restored_from=restored_from,
        )
        self._versions(connection).add(version)
        details = {
            "version": version.number,
            "comment": new.comment,
            "restored_from": restored_from,
            "differences": [
                {"path": each.path, "before": each.before, "after": each.after}
                for each in differences
            ],
        }
        action = "save_rules" if restored_from is None else "restore_rules"
        entry = AuditEntry(author, action, self.subject, new.name, details)
        AuditLog(connection).append([entry], at)
        return version

    def _read_set(self, connection: sa.Connection, name: str, number: int | None) -> NamedRules:
        present = self._read_present(connection)
        if number is None:
            return NamedRules(name, present.read_values(name), present.versions.get(name))
        if number == FILE:
            return NamedRules(name, self.present.read_file(self.settings, name), None)
        for version in self._versions(connection).list_versions(name):
            if version.number == number:
                return NamedRules(name, version.values, version)
        raise NotFound(f"the rules {name!r} have no version {number}")

    def _read_file(self, name: str) -> Mapping[str, object]:
        """Return the values of the file; none for a name that only the database knows."""
        try:
            return self.present.read_file(self.settings, name)
        except UnknownName:
            return {}


@dataclass(frozen=True)
class RuleActions:
    """What somebody who signed in does to rules, each change in a transaction of its own.

    The routes make the same changes inside the transaction of an Idempotency-Key. Raises Forbidden
    without the scope, or where a role gives it for a part of the assortment only.
    """

    rules: VersionedRules

    def save(self, caller: Caller, new: NewVersion) -> RuleVersion:
        """Store a version, which is valid at once. Raises as VersionedRules.save."""
        caller.require_everywhere(self.rules.scope)
        with transaction(self.rules.engine) as connection:
            return self.rules.save(connection, new, author=caller.id)

    def restore(self, caller: Caller, name: str, number: int, comment: str) -> RuleVersion:
        """Store an earlier version anew. Raises as VersionedRules.restore."""
        caller.require_everywhere(self.rules.scope)
        with transaction(self.rules.engine) as connection:
            return self.rules.restore(connection, name, number, comment, author=caller.id)


def list_differences(
    before: Mapping[str, object], after: Mapping[str, object]
) -> tuple[RuleDifference, ...]:
    """Return the values that differ, by path in the order of the text; lists count as one value."""
    differences: list[RuleDifference] = []
    for key in sorted({*before, *after}):
        old, new = before.get(key), after.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            differences += [
                replace(inner, path=f"{key}.{inner.path}") for inner in list_differences(old, new)
            ]
        elif old != new:
            differences.append(RuleDifference(key, old, new))
    return tuple(differences)


def _to_plain(value: object) -> object:
    """Return values of YAML as JSON has them: a date becomes a text."""
    if isinstance(value, Mapping):
        return {str(key): _to_plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_to_plain(inner) for inner in value]
    return value.isoformat() if isinstance(value, date) else value
