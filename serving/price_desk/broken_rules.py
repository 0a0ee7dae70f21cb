"""Suggestions held against the rules, costs, minimum advertised prices and competitors of today,
which may be other than at their run.

A run stores what its rules were applied to: the item as the optimiser took it. The same code then
says which rules of today the suggested price breaks, at every door that lets it go on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import sqlalchemy as sa

from features.contracts.money import to_major
from features.contracts.pricing import EvidenceGrade, PresentItem, PricingItem
from models.pricing.optimise.bounds import list_bounds
from models.pricing.rules import AssortmentPart, CompetitorRule, PricingRules
from serving.database.audit_log import Decider
from serving.price_desk.repository import Suggestion, Suggestions

# What the rules of one item read; forecasts and responses are no part of them.
_FACTS = (
    "item_id",
    "zone",
    "brand",
    "currency",
    "list_price_minor",
    "current_price_minor",
    "unit_cost_minor",
    "cost_source",
    "tax_divisor",
    "n_regular_changes",
    "lowest_tried_minor",
    "highest_tried_minor",
    "opening_list_price_minor",
    "map_minor",
    "competitor_minor",
    "law_floor_minor",
    "days_since_change",
)
# Keys of the details of a suggestion: these facts, and the rules that whoever edited its price
# confirmed to break.
FACTS, CONFIRMED = "facts", "confirmed_rules"
_NO_DEMAND = {"units_p10": 0.0, "units_p50": 0.0, "units_p90": 0.0, "units_mean": 0.0}
_NO_RESPONSE = {"elasticity": math.nan, "elasticity_error": math.nan}


def store_facts(item: PricingItem) -> dict[str, object]:
    """Return what the rules of an item read, as JSON values."""
    return {name: getattr(item, name) for name in _FACTS}


def find_broken_rules(
    connection: sa.Connection,
    decider: Decider,
    suggestions: Sequence[Suggestion],
    *,
    with_confirmed: bool = False,
) -> dict[str, dict[str, str]]:
    """Return the hard rules of today that suggested prices break, and what each allows, by
    suggestion id.

    Left out are suggestions that no run made, of whose items nothing is known, and, unless
    `with_confirmed`, rules that whoever edited the price confirmed to break.
    """
    if decider.find_pricing_rules is None or not suggestions:
        return {}
    find_rules = cache(decider.find_pricing_rules)
    details = Suggestions(connection).read_details([suggestion.id for suggestion in suggestions])
    held: list[_HeldSuggestion] = []
    for suggestion in suggestions:
        about = details[suggestion.id]
        facts, stage = about.get(FACTS), about.get("stage") or ""
        rules = find_rules(str(about.get("rules")), about.get("stage"))
        if facts is not None and rules is not None:
            brand = str(facts.get("brand") or "")
            part = AssortmentPart(suggestion.category, brand, suggestion.zone, stage)
            held.append(_HeldSuggestion(suggestion, rules.apply_scopes(part), facts))
    broken: dict[str, dict[str, str]] = {}
    for one in _update_facts(decider, held):
        all_broken = _list_broken_rules(one.facts, one.rules, one.suggestion.suggested_price_minor)
        confirmed = () if with_confirmed else details[one.suggestion.id].get(CONFIRMED, ())
        if kept := {name: text for name, text in all_broken.items() if name not in confirmed}:
            broken[one.suggestion.id] = kept
    return broken


class _HeldSuggestion(NamedTuple):
    """A suggestion, the rules of today for its item, and what these read of the item."""

    suggestion: Suggestion
    rules: PricingRules
    facts: Mapping[str, object]


def _update_facts(decider: Decider, held: Sequence[_HeldSuggestion]) -> list[_HeldSuggestion]:
    """Return the suggestions with the costs that are known now, with the minimum advertised prices
    of now, and with the prices of competitors of now where a rule counts them."""
    if decider.find_present_items is None:
        return list(held)
    groups: dict[tuple[str, CompetitorRule | None], list[_HeldSuggestion]] = {}
    for one in held:
        groups.setdefault((one.suggestion.zone, one.rules.competitor), []).append(one)
    updated = []
    for (zone, competitor), members in groups.items():
        item_ids = [one.suggestion.item_id for one in members]
        items = decider.find_present_items(zone, item_ids, competitor)
        for one in members:
            item = items.get(one.suggestion.item_id, PresentItem(None, None))
            changed: dict[str, object] = {"map_minor": item.map_minor}
            if item.unit_cost_minor is not None:
                changed |= {"unit_cost_minor": item.unit_cost_minor, "cost_source": "known"}
            if competitor is not None:
                changed["competitor_minor"] = item.competitor_minor
            updated.append(one._replace(facts={**one.facts, **changed}))
    return updated


def _list_broken_rules(
    facts: Mapping[str, object], rules: PricingRules, price_minor: int
) -> dict[str, str]:
    """Return the hard rules that forbid a price, each with what it allows."""
    known = {name: facts[name] for name in _FACTS if name in facts}
    demand = {**_NO_DEMAND, **_NO_RESPONSE, "evidence_grade": EvidenceGrade.D}
    item = PricingItem(**demand, **known)  # type: ignore[arg-type]
    broken = {}
    for bound in list_bounds(item, rules):
        nearest = bound.clamp(price_minor)
        if bound.rule not in rules.soft and nearest != price_minor:
            allowed = to_major(nearest, item.currency)
            broken[bound.rule] = f"{bound.rule} ({bound.note}; the nearest price is {allowed})"
    return broken
