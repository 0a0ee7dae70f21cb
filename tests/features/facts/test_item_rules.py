"""The rule of each item's reductions, from settings, catalogue and sales."""

import shutil
from datetime import timedelta

import pytest

from configs.settings import Settings
from features.database import engine as open_engine
from features.facts.facts import Facts
from features.facts.item_rules import find_item_rules
from features.prices.reduction_rule import ReductionRule
from tests.shops.event_tables import make_table
from tests.shops.tea_and_milk import MONDAY

ZONES = {
    "de": {"perishable_days": 0, "new_arrival_days": 7, "progressive_reductions": True},
    "cn": {"price_law": "CN7", "currency": "CNY"},
    "fr": {},
}


@pytest.fixture
def shop(tmp_path, migrated_sqlite):
    shutil.copy(migrated_sqlite, tmp_path / "shopwright.db")
    settings = Settings(home=tmp_path, zones=ZONES)
    items = [
        {"item_id": "fish", "attributes": '{"perishable": "true"}'},
        {"item_id": "tea", "attributes": '{"perishable": "no"}', "available_from": MONDAY},
    ]
    sales = [
        sell("tea", 100, days=1),
        sell("tea", 180, days=1, quantity=2.0),  # 90 each
        sell("tea", 95, days=500),  # too long ago
        sell("tea", 60, days=1, zone="fr"),
        sell("tea", 0, days=1),  # given away: no transaction
        sell("tea", 50, days=-1),  # to come
    ]
    events = [{**sale, "event_id": str(n)} for n, sale in enumerate(sales)]
    Facts(settings).write(
        {"items": make_table("items", items), "events": make_table("events", events)}
    )
    opened = open_engine(settings)
    yield lambda zone, item_ids: find_item_rules(settings, opened, zone, item_ids, MONDAY)
    opened.dispose()


def sell(item_id, amount, *, days, quantity=1.0, zone="cn"):
    return {
        "event_type": "purchase",
        "occurred_at": MONDAY - timedelta(days=days),
        "item_id": item_id,
        "zone": zone,
        "quantity": quantity,
        "line_amount_minor": amount,
    }


def test_an_item_takes_the_options_of_its_zone(shop):
    rules = shop("de", ["fish", "tea", "salt"])
    assert rules["fish"] == ReductionRule(0, new_arrival_days=0, progressive=True)
    assert (rules["tea"].days, rules["tea"].on_market_since) == (30, MONDAY)
    assert rules["salt"] == ReductionRule(30, new_arrival_days=7, progressive=True)
    assert set(shop("fr", ["fish", "tea"]).values()) == {ReductionRule(30)}


def test_prices_paid_are_known_where_the_law_counts_them(shop):
    rules = shop("cn", ["tea", "fish"])
    sold = [(price.price_minor, price.first_at) for price in rules["tea"].sold]
    day = MONDAY - timedelta(days=1)
    assert sold == [(90.0, day), (100.0, day)]
    assert (rules["tea"].sold_until, rules["fish"].sold) == (MONDAY, ())


def test_an_unknown_setting_of_a_zone_is_refused(tmp_path):
    with pytest.raises(ValueError, match="progressive"):
        Settings(home=tmp_path, zones={"de": {"progressive": True}})
