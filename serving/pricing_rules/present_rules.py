"""The pricing rules of today: the newest version of each name, else the file of that name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import sqlalchemy as sa

from configs.loading import build, list_configs, read_values
from configs.settings import Settings
from features.contracts.errors import UnknownName
from models.pricing.rules import PricingRules, select_rules
from serving.pricing_rules.repository import RuleVersion, RuleVersions

_FOLDER = "pricing"


@dataclass(frozen=True)
class PresentRules:
    """The rules by name, as they were when they were read.

    versions   the newest version of each name that has one
    """

    settings: Settings
    versions: Mapping[str, RuleVersion]

    @classmethod
    def read(cls, settings: Settings, connection: sa.Connection) -> PresentRules:
        """Return the rules of now."""
        return cls(settings, RuleVersions(connection).list_newest())

    def list_names(self) -> list[str]:
        """Return the names of all rules, sorted."""
        return sorted({*self.versions, *list_configs(_FOLDER, overlay=self.settings.config_dir)})

    def read_values(self, name: str) -> Mapping[str, object]:
        """Return the values of the rules of a name. Raises UnknownName."""
        if name in self.versions:
            return self.versions[name].values
        return read_file_values(self.settings, name)

    def load(self, name: str) -> PricingRules:
        """Return the rules of a name, with the scopes but not the presets applied."""
        return build_rules(name, self.read_values(name))

    def load_presets(self, rules: PricingRules) -> dict[str, PricingRules]:
        """Return the rules of every lifecycle stage for which `rules` name a preset."""
        return {stage: self.load(preset) for stage, preset in rules.stages.items()}

    def find(self, name: str, stage: str | None) -> PricingRules | None:
        """Return the rules of a name for items of a lifecycle stage, with all scopes; None where
        the name has gone."""
        if name not in self.list_names():
            return None
        rules = self.load(name)
        preset = rules.stages.get(stage or "")
        return select_rules(rules, None if preset is None else self.load(preset))

    def describe_version(self, name: str) -> str:
        """Return a name with the number of its version; the name alone for rules of a file."""
        version = self.versions.get(name)
        return name if version is None else f"{name} {version.number}"


def read_file_values(settings: Settings, name: str) -> Mapping[str, object]:
    """Return the values of the file of a name, shipped or the shop's own. Raises UnknownName."""
    names = list_configs(_FOLDER, overlay=settings.config_dir)
    if name not in names:
        raise UnknownName(name, names, kind="strategy")
    values = read_values(f"{_FOLDER}/{name}", overlay=settings.config_dir)
    plain = _to_plain(values)
    assert isinstance(plain, dict)  # noqa: S101 (a mapping stays one)
    return plain


def build_rules(name: str, values: Mapping[str, object]) -> PricingRules:
    """Return values as rules. Raises BadInput where a value is wrong, UnknownName for a key."""
    return build(values, PricingRules, where=f"rules {name!r}")


def _to_plain(value: object) -> object:
    """Return values of YAML as JSON has them: a date becomes a text."""
    if isinstance(value, Mapping):
        return {str(key): _to_plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_to_plain(inner) for inner in value]
    return value.isoformat() if isinstance(value, date) else value
