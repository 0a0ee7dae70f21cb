"""The pricing rules of today: the newest version of each name, else the file of that name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from configs.loading import build
from models.pricing.rules import PricingRules, select_rules
from serving.database.desk_tables import pricing_rule_versions
from serving.versioned_rules import PresentValues


@dataclass(frozen=True)
class PresentRules(PresentValues):
    """The pricing rules by name, as they were when they were read."""

    folder = "pricing"
    table = pricing_rule_versions
    kind = "strategy"

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


def build_rules(name: str, values: Mapping[str, object]) -> PricingRules:
    """Return values as rules. Raises BadInput where a value is wrong, UnknownName for a key."""
    return build(values, PricingRules, where=f"rules {name!r}")
