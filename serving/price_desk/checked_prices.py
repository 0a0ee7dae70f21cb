"""Prices that people propose, held against the rules of the optimiser, with their expected effect.

A rule that a price breaks is named with what it allows; whoever proposes the price may confirm it
by that name. The law, an item off sale and a lock cannot be confirmed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from features.contracts.errors import ShopwrightError
from features.contracts.money import minor_digits, to_major
from features.contracts.pricing import Effect, PricingItem
from features.prices.guards import MAX_JUMP, find_jump
from features.prices.ledger import Price
from models.pricing.optimise.bounds import build_ladder, find_allowed_prices, list_bounds
from models.pricing.optimise.endings import find_residues, to_step_minor
from models.pricing.optimise.objective import ItemColumns, compare_with_current, predict_effects
from models.pricing.rules import ENDING, LAW, PricingRules
from serving.database.price_locks import LOCKED
from serving.price_desk.broken_rules import CONFIRMED, FACTS, store_facts
from serving.price_desk.drafts import EXPIRES, describe_effect
from serving.price_desk.repository import NewSuggestion

if TYPE_CHECKING:
    from serving.pricing_inputs.item_facts import ItemTerms

# What a person may confirm beside the rules of configs/pricing.
JUMP, HOLD = "large change", "hold"
BY_HAND = "by hand"


@dataclass(frozen=True)
class ProposedPrice:
    """A price that somebody wants; `row` is its position in the request or file, from 1.

    price_minor   None where `percent` says by how much the present price changes
    problem       why it cannot be read; None where it can
    """

    row: int
    item_id: str
    zone: str
    price_minor: int | None = None
    percent: float | None = None
    reason: str | None = None
    problem: ShopwrightError | None = None


@dataclass(frozen=True)
class CheckedPrice:
    """A proposed price as the rules see it.

    nearest_minor   the nearest price that all rules allow; None where there is none
    broken      hard rules that the price breaks, and what each allows
    warnings    what else whoever decides should know: soft rules, a spoiled promotion
    error       why it cannot be filed; None where it can
    draft       the suggestion to file; None where there is no price to propose
    """

    proposed: ProposedPrice
    currency: str
    title: str | None = None
    category: str = ""
    current_minor: int | None = None
    price_minor: int | None = None
    nearest_minor: int | None = None
    broken: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    error: ShopwrightError | None = None
    draft: NewSuggestion | None = None

    def refuse(self, error: ShopwrightError) -> CheckedPrice:
        """Return the same price, refused."""
        return replace(self, error=error)


@dataclass(frozen=True)
class ItemUnderRules:
    """An item as the optimiser takes it, the rules that apply to it, and its price in the ledger
    when a proposed one would begin."""

    item: PricingItem
    rules: PricingRules
    terms: ItemTerms
    price: Price


@dataclass(frozen=True)
class ProposalTerms:
    """What the prices of one request have in common."""

    actor: str
    now: datetime
    effective_from: datetime
    about: Mapping[str, object]
    confirmed: frozenset[str] = frozenset()
    reason: str | None = None


def find_nearest_ending(price_minor: int, rules: PricingRules, currency: str) -> int:
    """Return the nearest price with an allowed ending; of two the lower.

    The rules have their endings.
    """
    digits, step = minor_digits(currency), to_step_minor(rules.price_step, currency)
    endings = rules.endings or ()
    reach, _ = find_residues(endings, digits, step)
    ladder = build_ladder(price_minor - reach, price_minor + reach, endings, digits, step)
    return min(ladder, key=lambda price: (abs(price - price_minor), price))


def change_by_percent(
    current_minor: int, percent: float, rules: PricingRules, currency: str
) -> int:
    """Return the price that `percent` makes of the present one, with an allowed ending.

    It lies on the side that `percent` says, where there is such a price near it; else it is the
    present one.
    """
    target = max(round(current_minor * (1 + percent / 100)), 1)
    price = find_nearest_ending(target, rules, currency)
    is_moved = price < current_minor if percent < 0 else price > current_minor
    return price if is_moved else current_minor


def find_broken(under: ItemUnderRules, price_minor: int) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the hard rules that forbid a price, each with what it allows, and soft ones in
    words."""
    item, rules = under.item, under.rules
    broken: dict[str, str] = {}
    warnings = []
    for bound in list_bounds(item, rules):
        nearest = bound.clamp(price_minor)
        if nearest == price_minor:
            continue
        text = _describe(bound.rule, bound.note, nearest, item.currency)
        if bound.rule in rules.soft and bound.rule != LAW:
            warnings.append(text)
        else:
            broken[bound.rule] = text
    nearest = find_nearest_ending(price_minor, rules, item.currency)
    if nearest != price_minor:
        text = _describe(ENDING, "no allowed ending", nearest, item.currency)
        if ENDING in rules.soft:
            warnings.append(text)
        else:
            broken[ENDING] = text
    share = find_jump(price_minor, (item.current_price_minor, item.list_price_minor))
    if abs(share) > MAX_JUMP:
        broken[JUMP] = f"{JUMP} (it moves the price by {share:+.0%})"
    if item.hold not in (None, LOCKED):  # a lock counts when the price begins
        broken[HOLD] = f"{HOLD} ({item.hold})"
    if item.spoiled_above_minor is not None and price_minor > item.spoiled_above_minor:
        warnings.append(item.spoiled)
    return broken, tuple(warnings)


def find_nearest_allowed(under: ItemUnderRules, price_minor: int) -> int | None:
    """Return the nearest price that all rules of the item allow."""
    prices = find_allowed_prices(under.item, under.rules).prices
    return min(prices, key=lambda price: (abs(price - price_minor), price), default=None)


def predict_effects_of(
    items: Sequence[PricingItem], prices_minor: Sequence[int]
) -> list[tuple[Effect | None, Effect | None]]:
    """Return the effect of each item's price, and the same against keeping; None where nothing is
    known of its demand or of its response."""
    if not items:
        return []
    columns = ItemColumns.from_items(items)
    rows, prices = np.arange(len(items)), np.array(prices_minor, np.float64)
    effects = zip(
        predict_effects(columns, rows, prices),
        compare_with_current(columns, rows, prices),
        strict=True,
    )
    return [
        effect if item.units_mean > 0 and not math.isnan(item.elasticity) else (None, None)
        for item, effect in zip(items, effects, strict=True)
    ]


def draft_proposal(
    under: ItemUnderRules,
    price_minor: int,
    effects: tuple[Effect | None, Effect | None],
    terms: ProposalTerms,
    reason: str | None,
) -> NewSuggestion:
    """Return a proposed price as a row of the queue, with the rules that it breaks."""
    item, price = under.item, under.price
    broken, warnings = find_broken(under, price_minor)
    step = {
        "rule": BY_HAND,
        "before_minor": price.offer_price_minor,
        "after_minor": price_minor,
        "hard": False,
        "note": reason or terms.reason or "proposed by hand",
    }
    given_up = [
        {
            "rule": rule,
            "before_minor": price_minor,
            "after_minor": price_minor,
            "hard": True,
            "note": f"broken, and confirmed: {text}",
        }
        for rule, text in broken.items()
    ]
    expected, against = effects
    return NewSuggestion(
        item_id=item.item_id,
        zone=item.zone,
        status="submitted",
        kind="regular",
        currency=item.currency,
        list_price_minor=price.list_price_minor,
        current_price_minor=price.offer_price_minor,
        suggested_price_minor=price_minor,
        run_id="",
        base_price_id=price.price_id,
        effective_from=terms.effective_from,
        created_at=terms.now,
        proposed_by=terms.actor,
        category=under.terms.category,
        title=under.terms.title,
        expected=describe_effect(expected, against),
        waterfall=[step, *given_up],
        details={
            **terms.about,
            "elasticity": None if math.isnan(item.elasticity) else item.elasticity,
            "elasticity_error": None
            if math.isnan(item.elasticity_error)
            else item.elasticity_error,
            "unit_cost_minor": item.unit_cost_minor,
            "cost_source": item.cost_source,
            "competitor_price_minor": item.competitor_minor,
            "strategy": BY_HAND,
            "stage": item.stage,
            "flags": list(warnings),
            CONFIRMED: list(broken),
            FACTS: store_facts(item),
        },
        gain_minor=None if against is None else against.profit.p50,
        evidence_grade=str(item.evidence_grade),
        binding_rule=BY_HAND,
        expires_at=max(terms.now, terms.effective_from) + EXPIRES,
    )


def _describe(rule: str, note: str, nearest_minor: int, currency: str) -> str:
    return f"{rule} ({note}; the nearest price is {to_major(nearest_minor, currency)})"
