"""Merchandising rules as versions: read, save, compare, restore and export the sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from models.ranking.slate.merchandising_rules import RuleSet
from serving.merchandising.present_sets import PresentSets, build_set
from serving.versioned_rules import VersionedRules


@dataclass(frozen=True)
class MerchandisingService(VersionedRules[PresentSets]):
    """The sets of merchandising rules of one shop.

    check_set   raises UnknownName for a set that does not fit the placements or the catalogue
    """

    check_set: Callable[[str, RuleSet], None]

    present = PresentSets
    subject = "merchandising_rules"
    title = "Merchandising rules"
    scope = "slates.manage"

    def check(self, name: str, values: Mapping[str, object], present: PresentSets) -> None:  # noqa: ARG002
        """Raise BadInput or UnknownName for a set that no slate can be made with."""
        self.check_set(name, build_set(name, values))
