"""Switchbacks and stepped roll-outs on the desk, from the plan to the result."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from experiments.designs.price_test import PriceTest
from features.contracts.errors import BadInput, Conflict, Forbidden
from features.contracts.pricing import PriceTestDesign
from features.database import transaction
from features.prices.ledger import Ledger
from features.prices.stored_tests import PLANNED
from serving.access import Area, Caller
from serving.price_desk import decisions
from serving.price_desk.price_test_batches import find_refused_items
from serving.price_desk.price_test_documents import describe_test
from serving.price_desk.price_test_plans import PlanOrder
from serving.price_desk.price_tests_api import PriceTestOrderRequest
from tests.shops.price_desk import (
    NOW,
    make_decider,
    make_opening_price,
    read_offer_prices,
    read_statuses,
)
from tests.shops.price_test_shop import ANNA, ITEMS, UNITS, PriceTestShop
from tests.shops.tested_shop import sell_in_test

ZONES = ("default", "south")
SLOPE, LATER = -1.8, -0.9
SWITCHBACK = PlanOrder(design=PriceTestDesign.SWITCHBACK, zones=ZONES, n_periods=6, save=True)
ROLLOUT = PlanOrder(design=PriceTestDesign.ROLLOUT, save=True)


@pytest.fixture
def shop(three_items):
    return PriceTestShop(three_items)


def run_periods(shop, stored):
    """File and approve each period in time; return the test and what was filed of each."""
    test = PriceTest.from_document(stored.document["test"])
    filed = []
    now = NOW
    for period in range(test.periods.n_periods):
        stored, prices = shop.file_next(stored.test_id, now)
        filed.append(prices)
        now = stored.begins_at + timedelta(weeks=period * test.periods.period_weeks, days=1)
    return stored, test, filed


def test_a_switchback_of_two_zones_recovers_the_slope_that_a_naive_comparison_misses(shop):
    planned = shop.plan(SWITCHBACK)
    assert (planned.state, planned.design, planned.zones) == (PLANNED, "switchback", ZONES)
    expected = planned.document["plan"]
    assert (expected["value"], expected["net"], expected["weeks"]) == (None, None, 18)
    assert expected["cost"] > 0
    assert {unit["error_after"] for unit in expected["units"]} == {None}  # of no single item
    assert 0 < expected["error"] < 1
    stored, test, filed = run_periods(shop, planned)
    assert (test.assignment.sum(0) == 1).all()  # of two zones one has the higher prices
    for period, prices in enumerate(filed):
        before = test.find_prices(period - 1) if period else test.find_prices_before()
        changed = test.find_prices(period).items() - before.items()
        assert prices == dict(changed)
        at = stored.begins_at + timedelta(weeks=3 * period, days=2)
        for zone in ZONES:
            charged = [test.find_prices(period)[item, zone] for item in ITEMS]
            assert read_offer_prices(shop.engine, *ITEMS, at=at, zone=zone) == charged
    last_week = stored.ends_at - timedelta(days=3)
    stored, _ = shop.file_next(stored.test_id, last_week)
    for zone in ZONES:
        after = read_offer_prices(shop.engine, *ITEMS, at=stored.ends_at, zone=zone)
        assert after == [100, 100, 100]

    sell_in_test(shop.facts, stored, ITEMS, SLOPE, UNITS, LATER)
    over = shop.at(stored.ends_at + timedelta(days=1)).tests
    measured = over.measure(ANNA, stored.test_id)
    result = measured.result
    # The first week at a price shows half of its effect: all weeks together miss the rest.
    assert result["all_weeks"]["slope"] > SLOPE + 0.15
    assert result["common"]["slope"] == pytest.approx(SLOPE, abs=0.02)
    assert result["common"]["n_units"] == 6  # periods, by which the errors are clustered
    assert abs(result["carry_over"]["slope"]) < 0.05
    assert result["items"] == []  # the prices of a zone move together
    # Of the 20 equally likely draws two have a slope as large: the one drawn and its opposite.
    assert result["p_value"] == pytest.approx(2 / 20, abs=0.03)
    finished = over.finish(ANNA, measured.stored, result)
    shown = describe_test(shop.settings, over.read(finished.test_id))
    assert (shown.design, shown.zones, shown.result.keeps_prices) == (
        "switchback",
        list(ZONES),
        False,
    )
    assert shown.error == expected["error"]
    assert shown.result.common.margin == result["common"]["margin"]


def test_a_switchback_takes_somebody_who_proposes_prices_of_all_its_zones(shop):
    stored = shop.plan(SWITCHBACK)
    of_south = Caller(
        "sue",
        "Sue",
        frozenset({"pricing.propose"}),
        is_person=True,
        areas={"pricing.propose": (Area(zone="south"),)},
    )
    opened = shop.at(NOW)
    for act in (opened.tests.prepare_filing, opened.tests.cancel):
        with pytest.raises(Forbidden, match="all categories of default"):
            act(of_south, stored.test_id)
    with pytest.raises(Forbidden, match="all categories of default"):
        opened.planner.start(of_south, SWITCHBACK)
    assert [one.test_id for one in opened.tests.list("south")] == [stored.test_id]
    assert opened.tests.count_due("south") == opened.tests.count_due("default") == 1


def test_a_switchback_begins_at_planned_prices_only_and_shares_no_item(shop):
    first, second = shop.plan(SWITCHBACK), shop.plan(SWITCHBACK)
    shop.file_next(first.test_id, NOW)
    tests = shop.at(NOW).tests
    with pytest.raises(Conflict, match=f"in the price test {first.test_id}"):
        tests.file_next_period(ANNA, second.test_id)
    tests.cancel(ANNA, first.test_id)
    moved = replace(make_opening_price("tea", 105, zone="south"), valid_from=NOW)
    with transaction(shop.engine) as connection:
        Ledger(connection).append([moved])
    with pytest.raises(Conflict, match="1 prices changed since this was planned"):
        tests.file_next_period(ANNA, second.test_id)


def test_a_roll_out_brings_waiting_prices_category_by_category_and_keeps_them(shop):
    new = {"milk": 110, "tea": 94, "salt": 108}
    suggested = shop.propose(new)
    stored = shop.plan(ROLLOUT)
    assert [unit["name"] for unit in stored.document["plan"]["units"]] == [
        "Drinks",
        "Food",
        "Food > Dairy",
    ]
    stored, _, filed = run_periods(shop, stored)
    assert filed[0] == {}  # the first period keeps all prices
    assert [len(prices) for prices in filed[1:]] == [1, 1, 1]
    assert {key[0]: price for prices in filed for key, price in prices.items()} == new
    assert set(read_statuses(shop.engine, suggested)) == {"superseded"}
    over = shop.at(stored.ends_at + timedelta(days=1)).tests
    with pytest.raises(Conflict, match="all prices of the test are filed"):
        over.file_next_period(ANNA, stored.test_id)
    sell_in_test(shop.facts, stored, ITEMS, SLOPE, UNITS, LATER)
    measured = over.measure(ANNA, stored.test_id)
    assert measured.result["common"]["slope"] == pytest.approx(SLOPE, abs=0.02)
    finished = over.finish(ANNA, measured.stored, measured.result)
    shown = describe_test(shop.settings, over.read(finished.test_id))
    assert shown.result.keeps_prices
    assert [period.is_end for period in shown.periods] == [False] * 4
    later = stored.ends_at + timedelta(days=2)
    assert read_offer_prices(shop.engine, *ITEMS, at=later) == [110, 94, 108]


def test_a_cancelled_roll_out_goes_back(shop):
    shop.propose({"milk": 110, "tea": 94, "salt": 108})
    stored = shop.plan(ROLLOUT)
    stored, _, _ = run_periods(shop, stored)
    now = stored.ends_at - timedelta(days=2)
    _, filed = shop.at(now).tests.cancel(ANNA, stored.test_id)
    assert {p.proposed.item_id: p.price_minor for p in filed.proposal.valid} == {
        "milk": 100,
        "tea": 100,
        "salt": 100,
    }


def test_a_roll_out_without_waiting_prices_is_not_advised_and_one_category_is_too_few(shop):
    drafted = shop.plan(ROLLOUT)
    assert (drafted.state, drafted.document["test"]) == ("draft", None)
    shop.propose({"milk": 110})
    failed = shop.plan(ROLLOUT)
    assert "two categories or more" in failed.document["problem"]


def test_an_order_over_http_is_read_as_one_of_the_service():
    body = {"design": "switchback", "zones": ZONES, "n_periods": 6, "save": True}
    assert PriceTestOrderRequest.model_validate(body).read() == SWITCHBACK
    assert PriceTestOrderRequest.model_validate({"zone": "south"}).read().zones == ("south",)


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (PlanOrder(design=PriceTestDesign.SWITCHBACK), "two zones or more"),
        (replace(SWITCHBACK, n_periods=5), "even number"),
        (replace(SWITCHBACK, period_weeks=1), "leaves nothing"),
        (replace(ROLLOUT, n_periods=2), "n_periods is 3 to 52"),
        (replace(ROLLOUT, zones=ZONES), "one zone, not 2"),
        (PlanOrder(n_periods=4), "periods of a crossover"),
    ],
)
def test_orders_that_a_design_cannot_have_are_refused(order, words):
    with pytest.raises(BadInput, match=words):
        order.check()


def test_an_item_that_is_refused_in_one_zone_counts_in_none(shop):
    planned = shop.plan(SWITCHBACK)
    stored, filed = shop.at(NOW).tests.file_next_period(ANNA, planned.test_id)
    south = [
        (row, price)
        for row, price in enumerate(filed.proposal.prices, start=1)
        if (price.proposed.item_id, price.proposed.zone) == ("milk", "south")
    ]
    decider = replace(make_decider("ben"), now=NOW, reason="not now")
    with transaction(shop.engine) as connection:
        for row, suggestion_id in filed.ids.items():
            act = decisions.reject if row == south[0][0] else decisions.approve
            act(connection, decider, suggestion_id)
    now = stored.begins_at + timedelta(days=1)
    stored, _ = shop.file_next(stored.test_id, now)
    refused = stored.document["batches"][-1]["refused"]
    assert set(refused) == {"milk"}
    assert refused["milk"].startswith("south: ")
    # The analysis leaves it out in both.
    assert find_refused_items(stored, PriceTest.from_document(stored.document["test"])) == {"milk"}
