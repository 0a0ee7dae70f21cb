"""Pricing rules as versions: read, save, compare, restore and export them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa
import yaml

from configs.settings import Settings
from features.contracts.clock import Clock
from features.contracts.errors import BadInput, Conflict, NotFound, UnknownName
from features.database import lock, reading
from models.pricing.rules import AssortmentPart, PricingRules
from serving.database.audit_log import AuditEntry, AuditLog
from serving.pricing_rules.present_rules import PresentRules, build_rules, read_file_values
from serving.pricing_rules.repository import RuleVersion, RuleVersions

# Stands for the file in the place of the number of a version.
FILE = 0


@dataclass(frozen=True)
class RuleDifference:
    """A value that two versions do not share, by its path; None where one of them lacks it."""

    path: str
    before: object
    after: object


@dataclass(frozen=True)
class RuleSet:
    """The rules of one name as they are valid now; version None where they come from a file."""

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
class PricingRulesService:
    """The pricing rules of one shop. What writes works on the connection of one transaction."""

    settings: Settings
    engine: sa.Engine
    system_clock: Clock

    def list_rules(self) -> list[RuleSet]:
        """Return the rules of every name as they are valid now."""
        present = self.read_present()
        return [
            RuleSet(name, present.read_values(name), present.versions.get(name))
            for name in present.list_names()
        ]

    def read_present(self) -> PresentRules:
        """Return the rules of now."""
        with reading(self.engine) as connection:
            return PresentRules.read(self.settings, connection)

    def read_effective(self, name: str, part: AssortmentPart) -> PricingRules:
        """Return the rules of items in a part of the assortment, with preset and scopes applied.

        Raises UnknownName.
        """
        present = self.read_present()
        rules = present.find(name, part.stage)
        if rules is None:
            raise UnknownName(name, present.list_names(), kind="strategy")
        return rules.apply_scopes(part)

    def read_set(self, name: str, number: int | None = None) -> RuleSet:
        """Return the rules of a name: those valid now, those of a version, or for FILE those of the
        file. Raises UnknownName and NotFound."""
        with reading(self.engine) as connection:
            return self._read_set(connection, name, number)

    def list_versions(self, name: str) -> list[RuleChange]:
        """Return every version of a name and what it changed, oldest first. Raises UnknownName."""
        with reading(self.engine) as connection:
            self._read_set(connection, name, None)
            versions = RuleVersions(connection).list_versions(name)
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
        lock(connection, "pricing_rules")
        present = PresentRules.read(self.settings, connection)
        version = present.versions.get(name)
        number = FILE if version is None else version.number
        if new.based_on != number:
            raise Conflict(
                f"the rules {name!r} are at version {number}, not {new.based_on}",
                hint="Look at what changed, then save again",
            )
        self._check_presets(build_rules(name, new.values), present, name)
        before = present.read_values(name) if name in present.list_names() else {}
        return self._store(connection, new, before, author)

    def restore(
        self, connection: sa.Connection, name: str, number: int, comment: str, *, author: str
    ) -> RuleVersion:
        """Store the values of an earlier version, for FILE those of the file, as a new version.

        Raises UnknownName and NotFound, and BadInput where they are the values of today.
        """
        lock(connection, "pricing_rules")
        earlier = self._read_set(connection, name, number)
        current = self._read_set(connection, name, None)
        self._check_presets(
            build_rules(name, earlier.values), PresentRules.read(self.settings, connection), name
        )
        new = NewVersion(name, earlier.values, comment, current.number)
        return self._store(connection, new, current.values, author, restored_from=number)

    def export_yaml(self, name: str, number: int | None = None) -> str:
        """Return rules as the text of a file of configs/pricing. Raises as `read_set`."""
        rule_set = self.read_set(name, number)
        version = rule_set.version
        origin = "as shipped or as the shop's own file says"
        if version is not None:
            origin = f"version {version.number} of {version.created_at.date()} by {version.author}"
        text = yaml.safe_dump(dict(rule_set.values), allow_unicode=True, sort_keys=False)
        return f"# Pricing rules {name}: {origin}.\n{text}"

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
        RuleVersions(connection).add(version)
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
        entry = AuditEntry(author, action, "pricing_rules", new.name, details)
        AuditLog(connection).append([entry], at)
        return version

    def _read_set(self, connection: sa.Connection, name: str, number: int | None) -> RuleSet:
        present = PresentRules.read(self.settings, connection)
        if number is None:
            return RuleSet(name, present.read_values(name), present.versions.get(name))
        if number == FILE:
            return RuleSet(name, read_file_values(self.settings, name), None)
        for version in RuleVersions(connection).list_versions(name):
            if version.number == number:
                return RuleSet(name, version.values, version)
        raise NotFound(f"the rules {name!r} have no version {number}")

    def _read_file(self, name: str) -> Mapping[str, object]:
        """Return the values of the file; none for a name that only the database knows."""
        try:
            return read_file_values(self.settings, name)
        except UnknownName:
            return {}

    def _check_presets(self, rules: PricingRules, present: PresentRules, name: str) -> None:
        """Raise UnknownName for a preset that does not exist."""
        known = {*present.list_names(), name}
        for preset in rules.stages.values():
            if preset not in known:
                raise UnknownName(preset, known, kind="preset", where="stages")


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
