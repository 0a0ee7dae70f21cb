"""The lowest prices of items in a zone by the pricing rules, for promotions."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime

from configs.settings import Settings
from features.facts.facts import Facts
from models.pricing.price_floors import ItemFloors, find_item_floors
from models.pricing.rules import AssortmentPart, PricingRules
from serving.pricing_inputs.item_facts import parse_map_price, read_known_costs
from serving.pricing_inputs.items import find_stage


def read_price_floors(
    settings: Settings,
    zone: str,
    item_ids: Sequence[str],
    at: datetime,
    find_rules: Callable[[str | None], PricingRules | None],
) -> dict[str, ItemFloors]:
    """Return the floors of items by the costs of a business time, by item id.

    `find_rules` returns the rules of a lifecycle stage, with all scopes.
    """
    rules = find_rules(None)
    if rules is None:
        return {}
    facts, tax = Facts(settings), settings.zone(zone)
    is_own_currency = tax.currency == settings.currency
    items = facts.read("items")
    rows = items.filter(items.item_id.isin(list(item_ids))).to_pyarrow().to_pylist()
    by_id = {row["item_id"]: row for row in rows}
    costs = read_known_costs(facts, settings, item_ids, zone, at)
    floors = {}
    for item_id in item_ids:
        row = by_id.get(item_id, {})
        attributes = json.loads(row.get("attributes") or "{}")
        stage = find_stage(attributes, row.get("available_from"), at, rules)
        part = AssortmentPart(row.get("category") or "", row.get("brand") or "", zone, stage or "")
        of_stage = (find_rules(stage) or rules).apply_scopes(part)
        map_minor, _ = parse_map_price(attributes, tax.currency) if is_own_currency else (None, "")
        floors[item_id] = find_item_floors(of_stage, costs.get(item_id), map_minor, tax.tax_divisor)
    return floors
