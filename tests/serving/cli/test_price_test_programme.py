"""`prices tests --plan`, `--save`, `--file` and `--list`."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from experiments.designs.price_test import PriceTest
from features.contracts.calendar import week_starts
from features.contracts.clock import parse_time
from features.contracts.errors import BadInput, Conflict, NotFound
from features.database import transaction
from features.prices.ledger import Ledger
from serving.cli import price_test_programme
from serving.cli.main import app
from serving.price_desk.repository import Suggestions
from tests.shops.clocks import SYSTEM_CLOCK, FixedClock
from tests.shops.event_tables import make_table
from tests.shops.fitted_responses import make_fitted_response
from tests.shops.price_desk import NOW, make_opening_price, make_suggestion
from tests.shops.price_panels import make_price_panel
from tests.shops.three_items import RULES, Forecasts, make_forecasts, make_inputs

ITEMS = ("milk", "tea", "salt")


@pytest.fixture
def shop(three_items, monkeypatch):
    """A shop of three items that sell 5,000 a week, of grade C, and what runs a verb on it."""
    facts, engine, settings = three_items
    clock = FixedClock(NOW)
    opened = SimpleNamespace(
        facts=facts,
        engine=engine,
        settings=settings,
        clock=clock,
        system_clock=SYSTEM_CLOCK,
        now=clock.now,
    )
    monkeypatch.setattr(price_test_programme, "Shop", lambda: opened)
    responses = make_fitted_response(
        ITEMS,
        np.array([-1.6, -1.5, -1.7]),
        error=np.full(3, 0.7),
        grade=np.full(3, 2),
    )
    given = make_inputs(three_items, make_forecasts(*ITEMS, units=5000.0), responses, RULES)
    for name in ("load_pricing_inputs", "load_proposal_inputs"):
        monkeypatch.setattr(price_test_programme, name, lambda *_, **__: given)
    monkeypatch.setattr(price_test_programme, "check_zone", lambda *_: None)

    def verb(*words):
        outcome = CliRunner().invoke(
            app, ("prices", "tests", *words), catch_exceptions=False, standalone_mode=False
        )
        return outcome.stdout

    return SimpleNamespace(run=verb, shop=opened)


def charge_and_sell(document, slope):
    """Return a panel of the weeks of a test, four before and one after it, without noise."""
    test = PriceTest.from_document(document)
    n_weeks = 4 + test.periods.n_weeks + 1
    prices = np.full((3, n_weeks), 100.0)
    for week, period in enumerate(test.periods.period_of_week):
        for (item_id, _), price in test.find_prices(int(period)).items():
            prices[ITEMS.index(item_id), 4 + week] = price
    panel = make_price_panel(prices, 5000 * (prices / 100) ** slope, listed=True, list_price=prices)
    return replace(panel, item_ids=np.array(ITEMS, object))


def test_a_test_that_is_over_is_analysed_and_what_it_measured_is_printed(shop, monkeypatch):
    test_id = json.loads(shop.run("--plan", "--weeks", "104", "--save", "--json"))["test_id"]
    shop.run("--file", test_id)
    (listed,) = json.loads(shop.run("--list", "--json"))["tests"]
    begins_at, ends_at = (parse_time(listed[name], where="") for name in ("begins_at", "ends_at"))
    with pytest.raises(Conflict, match="not over"):
        shop.run("--finish", test_id)
    shop.shop.clock = FixedClock(ends_at + timedelta(days=1))
    with pytest.raises(Conflict, match="not filed yet"):
        shop.run("--finish", test_id)
    # Nothing was approved: no price has to go back.
    shown = shop.run("--file", test_id)
    assert "Never filed in time, and left out: 1 of the test's periods" in shown
    assert "Nothing to file" in shown
    with pytest.raises(BadInput, match="nothing was sold in default"):
        shop.run("--finish", test_id)
    sale = {"event_id": "last", "event_type": "purchase", "item_id": "milk", "quantity": 1.0}
    sale |= {"occurred_at": ends_at - timedelta(days=1), "zone": "default"}
    shop.shop.facts.write({"events": make_table("events", [sale])})
    panel = charge_and_sell(listed["document"]["test"], -1.8)
    starts = week_starts(begins_at - timedelta(weeks=4), ends_at, "UTC")
    monkeypatch.setattr("experiments.price_panel.read_price_panel", lambda *_: (panel, starts))
    document = json.loads(shop.run("--finish", test_id, "--json"))
    assert document["state"] == "finished"
    measured = document["result"]["items"]
    assert len(measured) >= 2
    assert [item["slope"] for item in measured] == pytest.approx([-1.8] * len(measured), abs=0.01)
    assert all(item["error"] > 0 for item in measured)
    assert document["result"]["n_weeks_left_out"] == 0
    shown = shop.run("--finish", test_id)
    assert "All items together: -1.80" in shown
    assert "Comes a period later: not measurable with two periods" in shown
    assert "finished" in shop.run("--list")


def test_a_plan_is_printed_kept_listed_and_its_first_prices_are_filed(shop):
    document = json.loads(shop.run("--plan", "--weeks", "104", "--save", "--json"))
    assert document["n_items"] >= 2
    assert document["net"] == pytest.approx(document["value"] - document["cost"])
    test_id = document["test_id"]
    shown = shop.run("--plan", "--weeks", "104")
    assert f"{document['n_items']} items for {document['weeks']} weeks" in shown
    assert "Expected: " in shown
    (listed,) = json.loads(shop.run("--list", "--json"))["tests"]
    assert (listed["test_id"], listed["state"]) == (test_id, "planned")
    assert test_id in shop.run("--list")
    filed = json.loads(shop.run("--file", test_id, "--json"))
    assert (filed["state"], filed["period"]) == ("filed", 0)
    assert filed["refused"] == {}
    with pytest.raises(Conflict, match="not over"):
        shop.run("--finish", test_id)
    # Its items are held now: no second plan has them.
    again = json.loads(shop.run("--plan", "--weeks", "104", "--json"))
    assert again["n_items"] == 0
    assert f"in the price test {test_id}" in again["reasons"]


def test_a_shop_in_which_no_test_is_worth_its_cost_reads_so(shop):
    shown = shop.run("--plan", "--weeks", "12")
    assert "No price test is worth its cost in zone default" in shown
    assert "Not tested, " in shown


def test_a_roll_out_of_waiting_prices_is_planned_filed_and_listed_by_its_design(shop):
    assert "No price waits on the desk" in shop.run("--plan", "--design", "rollout")
    categories = {"milk": "Food > Dairy", "tea": "Drinks", "salt": "Food"}
    with transaction(shop.shop.engine) as connection:
        Suggestions(connection).add(
            [make_suggestion(item, 110, category=name) for item, name in categories.items()]
        )
    words = ("--plan", "--design", "rollout", "--category", "Food", "--periods", "3")
    shown = shop.run(*words, "--period-weeks", "4", "--burn-in", "2")
    assert "2 items for 12 weeks" in shown
    assert "3 periods of 4 weeks, the first 2 of each left out of the analysis" in shown
    assert "keep them" in shown
    assert "given up because the new prices come later" in shown
    document = json.loads(shop.run(*words, "--save", "--json"))
    assert (document["design"], document["value"]) == ("rollout", None)
    assert document["periods"] == {"n_periods": 3, "period_weeks": 3, "burn_in_weeks": 1}
    filed = shop.run("--file", document["test_id"])
    assert "The first period of a roll-out keeps all prices" in filed
    assert "stepped roll-out" in shop.run("--list")
    (listed,) = json.loads(shop.run("--list", "--json"))["tests"]
    assert (listed["design"], listed["zones"]) == ("rollout", ["default"])


def test_a_switchback_of_two_zones_is_planned_and_its_first_prices_are_filed(
    shop, three_items, monkeypatch
):
    with transaction(shop.shop.engine) as connection:
        Ledger(connection).append([make_opening_price(item, zone="south") for item in ITEMS])
    tables = [make_forecasts(*ITEMS, zone=zone, units=5000.0) for zone in ("default", "south")]
    forecasts = Forecasts(pa.concat_tables([table.forecasts for table in tables]))
    zones = ["default"] * 3 + ["south"] * 3
    responses = make_fitted_response(
        ITEMS * 2, np.full(6, -1.6), zone=zones, error=np.full(6, 0.7), grade=np.full(6, 2)
    )
    given = make_inputs(three_items, forecasts, responses, RULES)
    for name in ("load_pricing_inputs", "load_proposal_inputs"):
        monkeypatch.setattr(price_test_programme, name, lambda *_, **__: given)
    words = ("--plan", "--design", "switchback", "--zone", "default", "--zone", "south")
    shown = shop.run(*words, "--periods", "8")
    assert "Price test, zones default, south: 3 items for 24 weeks" in shown
    assert "each zone has either price in half of the periods" in shown
    document = json.loads(shop.run(*words, "--item", "milk", "--save", "--json"))
    assert (document["zones"], document["n_items"]) == (["default", "south"], 1)
    filed = json.loads(shop.run("--file", document["test_id"], "--json"))
    assert (filed["state"], filed["refused"]) == ("filed", {})
    assert "default, south" in shop.run("--list")


def test_one_thing_at_a_time_and_unknown_tests_are_refused(shop):
    with pytest.raises(BadInput, match="one of"):
        shop.run("--plan", "--list")
    with pytest.raises(BadInput, match="two zones or more"):
        shop.run("--plan", "--design", "switchback", "--zone", "default", "--zone", "default")
    with pytest.raises(NotFound, match="test_9"):
        shop.run("--file", "test_9")


def test_a_test_is_cancelled_and_its_items_can_be_planned_again(shop):
    test_id = json.loads(shop.run("--plan", "--weeks", "104", "--save", "--json"))["test_id"]
    shop.run("--file", test_id)
    assert f"{test_id} is cancelled; no price has to go back" in shop.run("--cancel", test_id)
    assert "cancelled" in shop.run("--list")
    assert json.loads(shop.run("--plan", "--weeks", "104", "--json"))["n_items"] >= 2
    assert json.loads(shop.run("--cancel", test_id, "--json"))["state"] == "cancelled"
