"""The prices that each item may have at all, and why some items may have only the current one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from features.contracts.pricing import Objective, PricingItem
from models.pricing.optimise.bounds import AllowedPrices, find_allowed_prices
from models.pricing.rules import AssortmentPart, PricingRules, select_rules

OPTIMISE = "optimise"
NO_PRICE = "no price satisfies all rules"


@dataclass(frozen=True)
class ItemChoices:
    """An item with the rules that apply to it, and the prices it may have.

    prices       ascending; the current price is among them where the rules allow it
    allowed      what the rules of the item leave; None where only the current price was considered
    kept_reason  why the current price is the only one
    strategy     "optimise", or the plain strategy that set its only price
    """

    item: PricingItem
    rules: PricingRules
    prices: Sequence[int]
    allowed: AllowedPrices | None = None
    kept_reason: str | None = None
    strategy: str = OPTIMISE

    @property
    def must_change(self) -> bool:
        """Whether the rules do not allow the current price."""
        if self.kept_reason is not None or self.allowed is None:
            return False
        return not self.allowed.allows_current


def find_choices(
    items: Sequence[PricingItem], rules: PricingRules, presets: Mapping[str, PricingRules]
) -> list[ItemChoices]:
    """Return the choices of every item under the preset of its lifecycle stage, else `rules`; the
    scopes of `rules` apply over both."""
    by_part: dict[AssortmentPart, PricingRules] = {}
    choices = []
    for item in items:
        part = AssortmentPart.of(item)
        if part not in by_part:
            by_part[part] = select_rules(rules, presets.get(part.stage)).apply_scopes(part)
        choices.append(find_item_choices(item, by_part[part]))
    return choices


def find_item_choices(item: PricingItem, rules: PricingRules) -> ItemChoices:
    """Return the item's prices under its rules."""
    if reason := item.hold or _explain_missing_demand(item, rules):
        return _keep_price(item, rules, reason)
    known = item.evidence_grade <= rules.min_grade and not math.isnan(item.elasticity)
    if not known:
        return _apply_plain_strategy(item, rules)
    allowed = find_allowed_prices(item, rules)
    if not allowed.prices:
        return _keep_price(item, rules, NO_PRICE)
    prices = allowed.prices
    if allowed.allows_current and item.current_price_minor not in prices:
        prices = sorted([*prices, item.current_price_minor])
    return ItemChoices(item, rules, prices, allowed)


def restrict_to_current(choices: ItemChoices, reason: str) -> ItemChoices:
    """Return the same item with its current price as the only choice."""
    return _keep_price(choices.item, choices.rules, reason)


def _keep_price(item: PricingItem, rules: PricingRules, reason: str) -> ItemChoices:
    return ItemChoices(item, rules, (item.current_price_minor,), kept_reason=reason)


def _explain_missing_demand(item: PricingItem, rules: PricingRules) -> str | None:
    if item.units_mean <= 0:
        return "no demand is forecast"
    if rules.objective is Objective.SELL_THROUGH and item.stock_units is None:
        return "no stock is known to sell off"
    return None


def _apply_plain_strategy(item: PricingItem, rules: PricingRules) -> ItemChoices:
    """Return the choice of an item with too little evidence.

    It keeps its price, or gets that of a plain strategy, as near as its rules allow.
    """
    if rules.without_evidence == "keep":
        if math.isnan(item.elasticity):
            return _keep_price(item, rules, "no price response is known")
        grade = f"evidence grade {item.evidence_grade}: too little is known, test the price first"
        return _keep_price(item, rules, grade)
    if rules.without_evidence == "competitor_index" and item.competitor_minor is None:
        return _keep_price(item, rules, "no competitor's price is known")
    target = compute_plain_price(item, rules)
    allowed = find_allowed_prices(item, rules)
    if not allowed.prices:
        return _keep_price(item, rules, NO_PRICE)
    nearest = min(allowed.prices, key=lambda price: (abs(price - target), price))
    if nearest == item.current_price_minor:
        return _keep_price(item, rules, "the current price is the best allowed")
    return ItemChoices(item, rules, (nearest,), allowed, strategy=rules.without_evidence)


def compute_plain_price(item: PricingItem, rules: PricingRules) -> int:
    """Return the whole price that the plain strategy of the rules asks for, other rules aside."""
    if rules.without_evidence == "cost_plus":
        return max(1, round(item.unit_cost_minor * (1 + rules.markup) * item.tax_divisor))
    return max(1, round((item.competitor_minor or 0) * rules.competitor_index))
