"""Cost, stock and minimum advertised price of items, and the prices of competitors, as they are
known now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from configs.settings import Settings
from features.contracts.pricing import PresentItem
from features.facts.facts import Facts
from models.pricing.rules import CompetitorRule
from serving.pricing_inputs.item_facts import (
    read_competitor_prices,
    read_known_costs,
    read_map_prices,
    read_stock_on_hand,
)


def read_present_items(
    settings: Settings,
    now: datetime,
    zone: str,
    item_ids: Sequence[str],
    competitor: CompetitorRule | None = None,
) -> Mapping[str, PresentItem]:
    """Return the items of a zone of which anything is known at a business time, by id.

    The prices of competitors are read where a rule counts them. These and the minimum advertised
    prices are in the shop's own currency.
    """
    facts = Facts(settings)
    costs = read_known_costs(facts, settings, item_ids, zone, now)
    stock = read_stock_on_hand(facts, zone, now)
    competitors: Mapping[str, float] = {}
    map_prices: Mapping[str, int] = {}
    currency = settings.zone(zone).currency
    if currency == settings.currency:
        map_prices = read_map_prices(facts, item_ids, currency)
        if competitor is not None:
            competitors = read_competitor_prices(facts, competitor, now)
    known = (costs, stock, competitors, map_prices)
    return {
        item_id: PresentItem(
            costs.get(item_id),
            stock.get(item_id),
            competitors.get(item_id),
            map_prices.get(item_id),
        )
        for item_id in item_ids
        if any(item_id in values for values in known)
    }
