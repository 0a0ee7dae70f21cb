"""The sets of merchandising rules of today: the newest version of each name, else its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from configs.loading import build
from features.database import reading
from models.ranking.slate.merchandising_rules import RuleSet
from serving.database.desk_tables import merchandising_rule_versions
from serving.database.rule_versions import RuleVersion, RuleVersions
from serving.versioned_rules import PresentValues


@dataclass(frozen=True)
class PresentSets(PresentValues):
    """The sets by name, as they were when they were read."""

    folder = "rules"
    table = merchandising_rule_versions
    kind = "set of rules"


@dataclass(frozen=True)
class SavedSets:
    """Reads the versions of sets for what serves slates."""

    engine: sa.Engine

    def read_numbers(self) -> dict[str, int]:
        """Return the number of the newest version of every set that has one."""
        with reading(self.engine) as connection:
            return RuleVersions(connection, merchandising_rule_versions).read_numbers()

    def read_versions(self, name: str) -> list[RuleVersion]:
        """Return every version of a set, newest first."""
        with reading(self.engine) as connection:
            versions = RuleVersions(connection, merchandising_rule_versions).list_versions(name)
        return versions[::-1]


def build_set(name: str, values: Mapping[str, object]) -> RuleSet:
    """Return values as a set. Raises BadInput where a value is wrong, UnknownName for a key."""
    return build(values, RuleSet, where=f"rules {name!r}")
