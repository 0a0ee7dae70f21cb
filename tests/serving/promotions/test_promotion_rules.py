"""Promotions held against the pricing rules: margin and minimum advertised price, by their names.

Items cost 0.60 and sell at 1.00; a margin of 5 % needs 0.60 / 0.95 = 0.64.
"""

from datetime import timedelta

import pytest

from features.database import transaction
from features.facts.facts import Facts
from serving.pricing_rules.service import PricingRulesService
from serving.versioned_rules import NewVersion
from tests.shops.clocks import SYSTEM_CLOCK
from tests.shops.event_tables import make_table
from tests.shops.price_desk import NOW
from tests.shops.promotion_desk import ITEMS, write_catalogue

DEEP = {
    "name": "butter week",
    "item_ids": ["butter"],
    "mechanic": "percent_off",
    "percent": 0.4,
    "starts_at": "2018-01-08T00:00Z",
    "ends_at": "2018-01-15T00:00Z",
}
MEANT = {"confirm": ["margin floor"]}


def file(desk, status=200, **values):
    answer = desk.anna.post("/v1/promotions", json={**DEEP, **values})
    assert answer.status_code == status, answer.text
    return answer.json()


def approve(desk, promotion, status=200):
    answer = desk.ben.post(f"/v1/promotions/{promotion['id']}/approve", json={})
    assert answer.status_code == status, answer.text
    return answer.json()


def write_items(desk, **columns):
    items = [
        {"item_id": item, "title": item, "category": category, "unit_cost_minor": 60, **columns}
        for item, category in ITEMS.items()
    ]
    Facts(desk.settings).write({"items": make_table("items", items)})


def test_a_promotion_below_the_margin_names_the_rule_until_it_is_meant(desk):
    refused = file(desk, status=409)
    assert "butter: 0.60 breaks the rule margin floor" in refused["detail"]
    assert "the lowest is 0.64" in refused["detail"]
    assert '"margin floor"' in refused["hint"]
    checked = desk.anna.post("/v1/promotions/check", json=DEEP).json()
    assert [problem["rule"] for problem in checked["problems"]] == ["margin floor"]
    filed = file(desk, **MEANT)
    assert filed["confirmed_rules"] == ["margin floor"]
    assert any(warning.startswith("meant: butter: 0.60") for warning in filed["warnings"])
    approve(desk, filed)
    file(desk, item_ids=["milk"], percent=0.36)
    assert file(desk, status=422, confirm=["law"])


def test_a_cost_that_rose_is_held_against_a_promotion_at_its_approval_and_its_beginning(desk):
    first, second = file(desk, percent=0.3), file(desk, percent=0.3, item_ids=["milk"])
    approve(desk, second)
    items = [
        {"item_id": item, "zone": "default", "valid_from": NOW, "unit_cost_minor": 70}
        for item in ("butter", "milk")
    ]
    Facts(desk.settings).write({"costs": make_table("costs", items)})
    refused = approve(desk, first, status=409)
    assert "butter: 0.70 breaks the rule margin floor" in refused["detail"]
    desk.move(days=8)
    returned = desk.reader.get(f"/v1/promotions/{second['id']}").json()
    assert returned["status"] == "submitted"
    assert "milk: 0.70 breaks the rule margin floor" in returned["reason"]


def test_a_cost_that_begins_with_the_promotion_counts(desk):
    rises = {"butter": 6, "milk": 8}  # days from now; the promotion begins after 7
    costs = [
        {
            "item_id": item,
            "zone": "default",
            "valid_from": NOW + timedelta(days=days),
            "unit_cost_minor": 70,
        }
        for item, days in rises.items()
    ]
    Facts(desk.settings).write({"costs": make_table("costs", costs)})
    assert "margin floor" in file(desk, status=409, percent=0.3)["detail"]
    file(desk, percent=0.3, item_ids=["milk"])


@pytest.mark.parametrize(
    ("terms", "paid"),
    [
        ({"mechanic": "buy_get", "buy": 1, "free": 1, "take_up": 0.5}, "0.50"),
        ({"mechanic": "spend_save", "threshold": "10.00", "amount": "4.00"}, "0.60"),
        ({"mechanic": "coupon", "percent": 0.4, "take_up": 0.2, "coupon_reach": 0.5}, "0.60"),
        (
            {
                "mechanic": "bundle",
                "amount": "1.10",
                "take_up": 0.5,
                "item_ids": ["butter", "milk"],
            },
            "0.55",
        ),
    ],
)
def test_the_margin_is_that_of_what_is_paid_where_everybody_uses_the_offer(desk, terms, paid):
    refused = file(desk, status=409, **{"percent": None, "mean_basket": "8.00", **terms})
    assert f"butter: {paid} breaks the rule margin floor" in refused["detail"]


def test_the_minimum_advertised_price_holds_for_prices_that_are_announced(desk):
    write_items(desk, attributes='{"map_price": "0.90"}')
    refused = file(desk, status=409, percent=0.2)
    assert "butter: 0.80 breaks the rule minimum advertised price" in refused["detail"]
    file(desk, percent=0.2, confirm=["minimum advertised price"])
    # The price of the item itself is not announced lower.
    file(
        desk,
        item_ids=["milk"],
        percent=None,
        mechanic="spend_save",
        threshold="10.00",
        amount="2.00",
        mean_basket="8.00",
    )


def test_of_an_unknown_cost_no_margin_is_asked_and_whoever_approves_is_told(desk):
    write_catalogue(desk.settings, unit_cost_minor=None)
    filed = file(desk)
    assert any("the cost of 1 items is not known" in warning for warning in filed["warnings"])


def test_a_soft_rule_warns_and_a_scope_counts(desk):
    service = PricingRulesService(desk.settings, desk.engine, SYSTEM_CLOCK)
    values = dict(service.read_set("default").values)
    values |= {
        "soft": {"margin floor": 1},
        "scopes": [{"category": "Food > Dairy", "min_margin": 0.2}],
    }
    with transaction(desk.engine) as connection:
        service.save(connection, NewVersion("default", values, "softer", 0), author="dora")
    # 0.60 / 0.8 = 0.75
    filed = file(desk, percent=0.3)
    assert any(
        warning.startswith("a soft rule: butter: 0.70") and "the lowest is 0.75" in warning
        for warning in filed["warnings"]
    )


def test_a_promotion_that_waits_for_the_same_items_is_named(desk):
    file(desk, percent=0.2)
    second = file(desk, percent=0.1, name="butter too")
    assert second["warnings"][-1].startswith("'butter week' waits for a decision")
    third = file(desk, percent=0.1, name="milk", item_ids=["milk"])
    assert not any("waits" in warning for warning in third["warnings"])
