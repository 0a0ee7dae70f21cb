"""What the catalogue, the costs, the stock and the competitors say of the items of a zone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import ibis

from configs.settings import Settings
from features.contracts.tables import DEFAULT_ZONE
from features.facts.facts import Facts
from features.prices.ledger import Price
from models.pricing.rules import CompetitorRule

# Up to so many items are selected by id; of more, the whole catalogue is read.
_MAX_SELECTED = 1_000


@dataclass(frozen=True)
class ItemTerms:
    """What the catalogue and the costs say of an item; cost in minor units, net of tax.

    cost_assumed  no cost is known, so it was taken from the assumed margin of the settings
    attributes    the extra columns of the catalogue; rules know lifecycle_stage, map_price,
                  price_image, sell_by
    """

    item_id: str
    title: str | None
    category: str
    family_id: str | None
    unit_cost_minor: float
    cost_assumed: bool
    size: str | None = None
    available_from: datetime | None = None
    stock_on_hand: float | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


def read_item_terms(
    facts: Facts,
    settings: Settings,
    prices: Mapping[str, Price],
    zone: str,
    now: datetime,
    opening: Mapping[str, int | None] | None = None,
) -> dict[str, ItemTerms]:
    """Return title, category, family and unit cost of every priced item, by item id.

    The cost is the latest of `costs` for the zone (else the default zone), else that of `items`,
    else what the assumed margin leaves of the net list price. That list price is the shop's own
    (`opening`, minor units): a cost that rose with each approved price would call for the next
    rise. Costs of the default zone and of `items` are in the shop's own currency: a zone with
    another currency does not take them.
    """
    catalogue = facts.read("items")
    if len(prices) <= _MAX_SELECTED:
        catalogue = catalogue.filter(catalogue.item_id.isin(list(prices)))
    rows = catalogue.to_pyarrow().to_pylist()
    items = {row["item_id"]: row for row in rows if row["item_id"] in prices}
    tax = settings.zone(zone)
    own_currency = tax.currency == settings.currency
    cost_zones = list(dict.fromkeys([DEFAULT_ZONE, zone])) if own_currency else [zone]
    costs = _latest_costs(facts, cost_zones, now)
    net = 1 / (1 + tax.tax_rate) if tax.prices_include_tax else 1.0
    terms = {}
    for item_id, price in prices.items():
        row = items.get(item_id, {})
        known = costs.get(item_id, row.get("unit_cost_minor") if own_currency else None)
        list_price = (opening or {}).get(item_id) or price.list_price_minor
        assumed = list_price * net * (1 - settings.assumed_margin)
        terms[item_id] = ItemTerms(
            item_id=item_id,
            title=row.get("title"),
            category=row.get("category") or "",
            family_id=row.get("family_id"),
            unit_cost_minor=assumed if known is None else float(known),
            cost_assumed=known is None,
            size=row.get("size"),
            available_from=row.get("available_from"),
            stock_on_hand=row.get("stock_on_hand"),
            attributes=json.loads(row.get("attributes") or "{}"),
        )
    return terms


def read_stock_on_hand(facts: Facts, zone: str, now: datetime) -> dict[str, float]:
    """Return the latest count of each item in the zone up to `now`."""
    table = facts.read("stock")
    counted = table.filter(table["at"] <= ibis.literal(now, "timestamp('UTC')"), table.zone == zone)
    latest = counted.group_by("item_id").aggregate(on_hand=counted.on_hand.argmax(counted["at"]))
    return {row["item_id"]: row["on_hand"] for row in latest.to_pyarrow().to_pylist()}


def read_competitor_prices(facts: Facts, rule: CompetitorRule, now: datetime) -> dict[str, float]:
    """Return the competitors' price of each item, minor units, aggregated as the rule says.

    Of each competitor its latest price counts, unless that one is too old.
    """
    table = facts.read("competitor_prices")
    oldest = ibis.literal(now - timedelta(days=rule.max_age_days), "timestamp('UTC')")
    seen = table.filter(
        table.observed_at <= ibis.literal(now, "timestamp('UTC')"), table.observed_at >= oldest
    )
    latest = seen.group_by(["item_id", "competitor"]).aggregate(
        price=seen.price_minor.argmax(seen.observed_at)
    )
    price = latest.price.cast("float64")
    aggregates = {"lowest": price.min(), "median": price.median(), "mean": price.mean()}
    by_item = latest.group_by("item_id").aggregate(price=aggregates[rule.reference])
    return {row["item_id"]: row["price"] for row in by_item.to_pyarrow().to_pylist()}


def add_family_items(facts: Facts, item_ids: Sequence[str]) -> list[str]:
    """Return the items and all others of their families."""
    items = facts.read("items")
    selected = items.filter(items.item_id.isin(list(item_ids)), items.family_id.notnull())
    families = selected.select("family_id").distinct()
    relatives = items.semi_join(families, "family_id").select("item_id").order_by("item_id")
    rows = relatives.to_pyarrow().to_pylist()
    return list(dict.fromkeys([*item_ids, *(row["item_id"] for row in rows)]))


def _latest_costs(facts: Facts, zones: Sequence[str], now: datetime) -> dict[str, int]:
    """Return the latest cost of each item in the last of `zones` that has one."""
    table = facts.read("costs")
    known = table.filter(
        table.valid_from <= ibis.literal(now, "timestamp('UTC')"), table.zone.isin(zones)
    )
    rows = known.to_pyarrow().to_pylist()
    costs: dict[str, int] = {}
    # Ascending, so that the last one written is that of the last zone, and the latest there.
    for row in sorted(rows, key=lambda row: (zones.index(row["zone"]), row["valid_from"])):
        costs[row["item_id"]] = row["unit_cost_minor"]
    return costs
