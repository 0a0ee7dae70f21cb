"""The sets of merchandising rules of today: the newest version of each name, else its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from configs.loading import build
from models.ranking.slate.merchandising_rules import RuleSet
from serving.database.desk_tables import merchandising_rule_versions
from serving.versioned_rules import PresentValues


@dataclass(frozen=True)
class PresentSets(PresentValues):
    """The sets by name, as they were when they were read."""

    folder = "rules"
    table = merchandising_rule_versions
    kind = "set of rules"


def build_set(name: str, values: Mapping[str, object]) -> RuleSet:
    """Return values as a set. Raises BadInput where a value is wrong, UnknownName for a key."""
    return build(values, RuleSet, where=f"rules {name!r}")
