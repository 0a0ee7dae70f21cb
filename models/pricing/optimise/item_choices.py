"""Which prices each item may have at all, and why some may have only the present one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from features.contracts.pricing import Objective, PricingItem
from models.pricing.optimise.bounds import Allowed, allowed
from models.pricing.rules import PricingRules

NO_PRICE = "no price satisfies all rules"


@dataclass(frozen=True)
class Candidate:
    """An item with the rules that hold for it, and the prices it may have.

    prices     ascending; the present price is among them where the rules allow it
    choice     what the rules of the item leave; None where nothing but the present price was looked
               at
    kept       why the present price is the only one
    strategy   "optimise", or the plain strategy that set its only price
    """

    item: PricingItem
    rules: PricingRules
    prices: Sequence[int]
    choice: Allowed | None = None
    kept: str | None = None
    strategy: str = "optimise"

    @property
    def must_change(self) -> bool:
        """Whether the rules do not allow the present price."""
        return self.kept is None and self.choice is not None and not self.choice.keeps


def candidate(item: PricingItem, rules: PricingRules) -> Candidate:
    """The item's prices under its rules."""
    if reason := item.hold or _without_demand(item, rules):
        return _keeping(item, rules, reason)
    known = item.evidence_grade <= rules.min_grade and not math.isnan(item.elasticity)
    if not known:
        return _plain(item, rules)
    choice = allowed(item, rules)
    if not choice.prices:
        return _keeping(item, rules, NO_PRICE)
    prices = choice.prices
    if choice.keeps and item.current_price_minor not in prices:
        prices = sorted([*prices, item.current_price_minor])
    return Candidate(item, rules, prices, choice)


def candidates(
    items: Sequence[PricingItem], rules: PricingRules, presets: Mapping[str, PricingRules]
) -> list[Candidate]:
    """Every item under the preset of its lifecycle stage, under `rules` where none is given."""
    return [candidate(item, presets.get(item.stage or "", rules)) for item in items]


def keeping(given: Candidate, reason: str) -> Candidate:
    """The same item with nothing but its present price."""
    return _keeping(given.item, given.rules, reason)


def _keeping(item: PricingItem, rules: PricingRules, reason: str) -> Candidate:
    return Candidate(item, rules, (item.current_price_minor,), None, reason)


def _without_demand(item: PricingItem, rules: PricingRules) -> str | None:
    if item.units_mean <= 0:
        return "no demand is forecast"
    if rules.objective is Objective.SELL_THROUGH and item.stock_units is None:
        return "no stock is known to sell off"
    return None


def _plain(item: PricingItem, rules: PricingRules) -> Candidate:
    """An item of too little evidence: kept, or at the price of a plain strategy, as near as its
    rules allow."""
    if rules.without_evidence == "keep":
        if math.isnan(item.elasticity):
            return _keeping(item, rules, "no price response is known")
        grade = f"evidence grade {item.evidence_grade}: too little is known, test the price first"
        return _keeping(item, rules, grade)
    if rules.without_evidence == "competitor_index" and item.competitor_minor is None:
        return _keeping(item, rules, "no competitor's price is known")
    target = plain_price(item, rules)
    choice = allowed(item, rules)
    if not choice.prices:
        return _keeping(item, rules, NO_PRICE)
    nearest = min(choice.prices, key=lambda price: (abs(price - target), price))
    if nearest == item.current_price_minor:
        return _keeping(item, rules, "the current price is the best allowed")
    return Candidate(item, rules, (nearest,), choice, None, rules.without_evidence)


def plain_price(item: PricingItem, rules: PricingRules) -> int:
    """What the plain strategy of the rules asks for before all other rules, a whole price."""
    if rules.without_evidence == "cost_plus":
        return max(1, round(item.unit_cost_minor * (1 + rules.markup) * item.tax_divisor))
    return max(1, round((item.competitor_minor or 0) * rules.competitor_index))
