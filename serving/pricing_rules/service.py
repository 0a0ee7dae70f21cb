"""Pricing rules as versions: read, save, compare, restore and export them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from features.contracts.errors import UnknownName
from models.pricing.rules import AssortmentPart, PricingRules
from serving.pricing_rules.present_rules import PresentRules, build_rules
from serving.versioned_rules import VersionedRules


@dataclass(frozen=True)
class PricingRulesService(VersionedRules[PresentRules]):
    """The pricing rules of one shop."""

    present = PresentRules
    subject = "pricing_rules"
    title = "Pricing rules"
    scope = "pricing.manage"

    def check(self, name: str, values: Mapping[str, object], present: PresentRules) -> None:
        """Raise BadInput or UnknownName for values that cannot be used, or a preset that does not
        exist."""
        rules = build_rules(name, values)
        known = {*present.list_names(), name}
        for preset in rules.stages.values():
            if preset not in known:
                raise UnknownName(preset, known, kind="preset", where="stages")

    def read_effective(self, name: str, part: AssortmentPart) -> PricingRules:
        """Return the rules of items in a part of the assortment, with preset and scopes applied.

        Raises UnknownName.
        """
        present = self.read_present()
        rules = present.find(name, part.stage)
        if rules is None:
            raise UnknownName(name, present.list_names(), kind="strategy")
        return rules.apply_scopes(part)
