"""The rule of reductions of each item, from the settings of its zone, the catalogue and the sales.

Only what an item is and at which prices it was sold is read: nothing about a person.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.clock import Clock
from features.contracts.manifest import stamp_manifest
from features.contracts.pricing import PriceLaw
from features.contracts.tables import DEFAULT_ZONE
from features.database import reading
from features.prices.promotions import find_public_coupons
from features.prices.reduction_rule import PublicCoupon, ReductionRule, SoldPrice

if TYPE_CHECKING:
    from features.facts.facts import Facts

PERISHABLE = "perishable"  # an extra column of the table items
COUPON_KIND = "coupon"  # of the table promotions
SOLD_DAYS = 400  # sales before are not looked at for the price of the last transaction
_TRUE = ("true", "1", "1.0", "yes", "y")


@dataclass(frozen=True)
class ItemRules:
    """Finds the rules of items as of now; a `FindRules`.

    `facts` are the tables of an import that are not published yet; None for the published ones.
    """

    settings: Settings
    clock: Clock
    engine: sa.Engine
    facts: Facts | None = None

    def __call__(self, zone: str, item_ids: Iterable[str]) -> Mapping[str, ReductionRule]:
        """Return the rule of each item of a zone."""
        now = self.clock.now()
        return find_item_rules(self.settings, self.engine, zone, item_ids, now, self.facts)


def find_item_rules(
    settings: Settings,
    engine: sa.Engine,
    zone: str,
    item_ids: Iterable[str],
    now: datetime,
    facts: Facts | None = None,
) -> dict[str, ReductionRule]:
    """Return the rule of each item; the tables are read only where the zone's law needs them."""
    law, wanted = settings.zone(zone), list(dict.fromkeys(item_ids))
    plain = ReductionRule.from_zone(law)
    rules = dict.fromkeys(wanted, plain)
    if not wanted:
        return rules
    if law.perishable_days is not None or law.new_arrival_days is not None:
        perishable = ReductionRule.from_zone(law, perishable=True)
        for item_id, (is_perishable, since) in _read_catalogue(
            _open(settings, facts), wanted
        ).items():
            rule = perishable if is_perishable else plain
            rules[item_id] = replace(rule, on_market_since=since)
    for item_id, coupons in _find_coupons(settings, engine, wanted, zone, facts).items():
        rules[item_id] = replace(rules[item_id], coupons=coupons)
    if law.price_law is PriceLaw.CN7:
        for item_id, sold in _read_sold_prices(_open(settings, facts), wanted, zone, now).items():
            rules[item_id] = replace(rules[item_id], sold=sold, sold_until=now)
    return rules


def _open(settings: Settings, facts: Facts | None) -> Facts:
    if facts is not None:
        return facts
    from features.facts.facts import Facts as PublishedFacts

    return PublishedFacts(settings)


def _read_catalogue(facts: Facts, item_ids: list[str]) -> dict[str, tuple[bool, datetime | None]]:
    """Return whether an item is perishable and since when it is sold, of the known items."""
    items = facts.read("items")
    chosen = items.filter(items.item_id.isin(item_ids))
    rows = chosen.select("item_id", "available_from", "attributes").to_pyarrow().to_pylist()
    return {
        row["item_id"]: (_is_perishable(row["attributes"]), row["available_from"]) for row in rows
    }


def _read_sold_prices(
    facts: Facts, item_ids: list[str], zone: str, now: datetime
) -> dict[str, tuple[SoldPrice, ...]]:
    """Return the prices at which items were sold lately, by item id."""
    from features.pipelines.orders import list_sold_prices

    events, since = facts.read("events"), now - timedelta(days=SOLD_DAYS)
    table = list_sold_prices(events, item_ids, zone, since=since, until=now)
    sold: dict[str, list[SoldPrice]] = {}
    for row in table.to_pyarrow().to_pylist():
        price = SoldPrice(row["price_minor"], row["first_at"], row["last_at"])
        sold.setdefault(row["item_id"], []).append(price)
    return {item_id: tuple(prices) for item_id, prices in sold.items()}


def _find_coupons(
    settings: Settings, engine: sa.Engine, item_ids: list[str], zone: str, facts: Facts | None
) -> dict[str, tuple[PublicCoupon, ...]]:
    """Return the coupons for everybody of those items of a zone that have any."""
    with reading(engine) as connection:
        of_desk = find_public_coupons(connection, zone, item_ids)
    folder = settings.home / "tables"
    coupons = (
        _read_published_coupons(_TablesState(folder, stamp_manifest(folder), settings))
        if facts is None
        else _read_all_coupons(facts)
    )
    found = {
        item_id: (*coupons.get((item_id, DEFAULT_ZONE), ()), *coupons.get((item_id, zone), ()))
        if zone != DEFAULT_ZONE
        else coupons.get((item_id, zone), ())
        for item_id in item_ids
    }
    found = {item_id: (*imported, *of_desk.get(item_id, ())) for item_id, imported in found.items()}
    return {item_id: item_coupons for item_id, item_coupons in found.items() if item_coupons}


@dataclass(frozen=True)
class _TablesState:
    """The tables of a state folder as of one import."""

    folder: Path
    stamp: tuple[int, int]
    settings: Settings = field(compare=False)


@lru_cache(maxsize=4)  # the tables are read once after each import
def _read_published_coupons(
    state: _TablesState,
) -> dict[tuple[str, str], tuple[PublicCoupon, ...]]:
    return _read_all_coupons(_open(state.settings, None))


def _read_all_coupons(facts: Facts) -> dict[tuple[str, str], tuple[PublicCoupon, ...]]:
    """Return the coupons of the table promotions that reach everybody, by item and zone."""
    table = facts.read("promotions")
    reach = table.reach.fill_null(1)
    public = table.filter(table.kind == COUPON_KIND, table.depth > 0, reach >= 1)
    rows = public.select("item_id", "zone", "starts_at", "ends_at", "depth")
    coupons: dict[tuple[str, str], tuple[PublicCoupon, ...]] = {}
    for row in rows.order_by(["item_id", "zone", "starts_at"]).to_pyarrow().to_pylist():
        key = row["item_id"], row["zone"] or DEFAULT_ZONE
        coupon = PublicCoupon(row["starts_at"], row["ends_at"], row["depth"])
        coupons[key] = (*coupons.get(key, ()), coupon)
    return coupons


def _is_perishable(attributes: str | None) -> bool:
    value = json.loads(attributes or "{}").get(PERISHABLE)
    return str(value).strip().lower() in _TRUE
