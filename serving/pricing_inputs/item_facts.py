"""What the catalogue, the costs, the stock and the competitors say of the items of a zone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import ibis

from configs.settings import Settings
from features.contracts.errors import BadInput
from features.contracts.money import to_minor
from features.contracts.tables import DEFAULT_ZONE
from features.facts.facts import Facts
from features.pipelines.stock_counts import counts_of_zone
from features.prices.ledger import Price
from models.pricing.rules import CompetitorRule

_MAP_PRICE = "map_price"
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
    brand: str
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
    terms = {}
    for item_id, price in prices.items():
        row = items.get(item_id, {})
        known = costs.get(item_id, row.get("unit_cost_minor") if own_currency else None)
        list_price = (opening or {}).get(item_id) or price.list_price_minor
        assumed = list_price * tax.net_share * (1 - settings.assumed_margin)
        terms[item_id] = ItemTerms(
            item_id=item_id,
            title=row.get("title"),
            category=row.get("category") or "",
            brand=row.get("brand") or "",
            family_id=row.get("family_id"),
            unit_cost_minor=assumed if known is None else float(known),
            cost_assumed=known is None,
            size=row.get("size"),
            available_from=row.get("available_from"),
            stock_on_hand=row.get("stock_on_hand"),
            attributes=json.loads(row.get("attributes") or "{}"),
        )
    return terms


def read_known_costs(
    facts: Facts, settings: Settings, item_ids: Sequence[str], zone: str, now: datetime
) -> dict[str, float]:
    """Return the unit costs of `read_item_terms` that are known, by item id."""
    own_currency = settings.zone(zone).currency == settings.currency
    cost_zones = list(dict.fromkeys([DEFAULT_ZONE, zone])) if own_currency else [zone]
    costs: dict[str, float] = {}
    if own_currency:
        items = facts.read("items")
        if len(item_ids) <= _MAX_SELECTED:
            items = items.filter(items.item_id.isin(list(item_ids)))
        priced = items.filter(items.unit_cost_minor.notnull()).select("item_id", "unit_cost_minor")
        rows = priced.to_pyarrow().to_pylist()
        costs |= {row["item_id"]: float(row["unit_cost_minor"]) for row in rows}
    wanted = set(item_ids)
    latest = _latest_costs(facts, cost_zones, now)
    costs |= {item_id: float(cost) for item_id, cost in latest.items()}
    return {item_id: cost for item_id, cost in costs.items() if item_id in wanted}


def read_stock_on_hand(facts: Facts, zone: str, now: datetime) -> dict[str, float]:
    """Return the latest count of each item in the zone up to `now`, unless the catalogue's number
    is newer."""
    table = facts.read("stock")
    known = table.filter(table["at"] <= ibis.literal(now, "timestamp('UTC')"))
    rows = counts_of_zone(known, facts.read("items"), zone).to_pyarrow().to_pylist()
    return {row["item_id"]: row["on_hand"] for row in rows}


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


def read_map_prices(facts: Facts, item_ids: Sequence[str], currency: str) -> dict[str, int]:
    """Return the minimum advertised prices of the catalogue, which is in the shop's own currency,
    minor units by item id; one that is no amount of money is left out."""
    items = facts.read("items")
    items = items.filter(items.attributes.contains(f'"{_MAP_PRICE}"'))
    if len(item_ids) <= _MAX_SELECTED:
        items = items.filter(items.item_id.isin(list(item_ids)))
    chosen = set(item_ids)
    prices = {}
    for row in items.select("item_id", "attributes").to_pyarrow().to_pylist():
        price, _ = parse_map_price(json.loads(row["attributes"]), currency)
        if price is not None and row["item_id"] in chosen:
            prices[row["item_id"]] = price
    return prices


def parse_map_price(
    attributes: Mapping[str, object], currency: str
) -> tuple[int | None, str | None]:
    """Return the minimum advertised price, and what is wrong with the one of the catalogue."""
    given = attributes.get(_MAP_PRICE)
    if given is None:
        return None, None
    try:
        return to_minor(str(given), currency), None
    except BadInput:
        return None, "its map_price is no amount of money"


def add_family_items(facts: Facts, item_ids: Sequence[str]) -> list[str]:
    """Return the items and all others of their families."""
    items = facts.read("items")
    selected = items.filter(items.item_id.isin(list(item_ids)), items.family_id.notnull())
    families = selected.select("family_id").distinct()
    relatives = items.semi_join(families, "family_id").select("item_id").order_by("item_id")
    rows = relatives.to_pyarrow().to_pylist()
    return list(dict.fromkeys([*item_ids, *(row["item_id"] for row in rows)]))


def add_category_items(facts: Facts, item_ids: Sequence[str], depth: int) -> list[str]:
    """Return the items and all others of their categories, by the first `depth` levels."""
    rows = facts.read("items").select("item_id", "category").to_pyarrow().to_pylist()
    groups = {
        row["item_id"]: (row["category"] or "").split(" > ")[:depth]
        for row in sorted(rows, key=lambda row: row["item_id"])
    }
    chosen = {tuple(groups[item_id]) for item_id in item_ids if item_id in groups}
    others = [item_id for item_id, group in groups.items() if tuple(group) in chosen]
    return list(dict.fromkeys([*item_ids, *others]))


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
