"""Price tests over HTTP: planned, kept, filed, approved by somebody else, finished, cancelled."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from features.contracts.clock import parse_time
from features.contracts.errors import BadInput, Forbidden
from features.database import reading, transaction
from features.prices import stored_tests
from features.prices.ledger import Ledger
from features.prices.reduction_rule import PLAIN_RULES
from features.prices.stored_tests import PriceTests
from serving.access import Area, Caller
from serving.http.dependencies import provide
from serving.http.errors import add_error_handlers
from serving.http.idempotency import IdempotencyService
from serving.keys.service import KeyService
from serving.price_desk import decisions, price_tests_api
from serving.price_desk.filters import SuggestionFilter
from serving.price_desk.price_experiments import PriceTestService
from serving.price_desk.price_test_measures import measure_test
from serving.price_desk.price_test_planner import MAX_RUNNING, PriceTestPlanner
from serving.price_desk.price_test_plans import PlanOrder
from serving.price_desk.price_test_reading import TIME_LIMIT, WAIT_LIMIT
from serving.price_desk.proposals import ProposalService
from serving.price_desk.repository import Suggestions
from serving.price_desk.service import PriceDeskService
from tests.shops.clocks import FixedClock
from tests.shops.desk_workers import AtOnce, Never
from tests.shops.fitted_responses import make_fitted_response
from tests.shops.price_desk import (
    NOW,
    SYSTEM_NOW,
    make_decider,
    make_opening_price,
    read_offer_prices,
)
from tests.shops.tested_shop import sell_in_test
from tests.shops.three_items import make_forecasts, make_inputs
from tests.shops.wide_rules import save_wide_rules

ITEMS = ("milk", "tea", "salt")
SLOPE = -1.8
UNITS = 5000.0
PATH = "/v1/price-tests"


@pytest.fixture
def shop(three_items):
    """A shop of three items of grade C that sell 5,000 a week; `at` opens it at a time."""
    facts, engine, settings = three_items
    responses = make_fitted_response(
        ITEMS, np.array([-1.6, -1.5, -1.7]), error=np.full(3, 0.7), grade=np.full(3, 2)
    )
    rules = save_wide_rules(settings, engine)
    keys = KeyService(engine, FixedClock(SYSTEM_NOW))
    proposer = keys.create("anna", ["pricing.propose"]).key
    reader = keys.create("ada", ["pricing.read"]).key

    def at(now, worker=None, system_now=SYSTEM_NOW, version="3"):
        given = make_inputs(
            three_items,
            make_forecasts(*ITEMS, units=UNITS),
            responses,
            rules,
            now=now,
            versions={"pricing": version},
        )
        desk = PriceDeskService(
            settings, engine, FixedClock(now), FixedClock(system_now), PLAIN_RULES
        )
        tests = PriceTestService(ProposalService(desk, lambda *_: given))
        planner = PriceTestPlanner(tests, lambda *_: given, worker or AtOnce())
        app = FastAPI()
        app.include_router(price_tests_api.router)
        add_error_handlers(app)
        provide(app, keys, tests, planner, IdempotencyService(engine, FixedClock(system_now)))
        client = TestClient(app, headers={"Authorization": f"Bearer {proposer}"})
        as_reader = TestClient(app, headers={"Authorization": f"Bearer {reader}"})
        return SimpleNamespace(client=client, reader=as_reader, tests=tests, planner=planner)

    return SimpleNamespace(at=at, facts=facts, engine=engine, settings=settings)


def post(client, path="", **options):
    answer = client.post(f"{PATH}{path}", **options)
    assert answer.status_code == 200, answer.text
    return answer.json()


def plan(client, **order):
    return post(client, json={"weeks": 104, **order})


def approve(shop, proposal_id, now):
    """Let somebody else approve what was filed as a proposal."""
    with transaction(shop.engine) as connection:
        filed = Suggestions(connection).matching(SuggestionFilter(run_id=proposal_id))
        for suggestion in filed:
            decisions.approve(connection, replace(make_decider("ben"), now=now), suggestion.id)


def sell(shop, test_id):
    with reading(shop.engine) as connection:
        stored = PriceTests(connection).get(test_id)
    sell_in_test(shop.facts, stored, ITEMS, SLOPE, UNITS)


def test_a_test_goes_from_the_plan_to_its_result(shop):
    shop_now = shop.at(NOW)
    drafted = plan(shop_now.client)
    assert (drafted["state"], drafted["next_step"]) == ("draft", None)
    assert (drafted["design"], drafted["zones"]) == ("crossover", ["default"])
    assert drafted["n_items"] == sum(len(unit["items"]) for unit in drafted["units"]) >= 2
    assert float(drafted["net"]) == pytest.approx(
        float(drafted["value"]) - float(drafted["cost"]), abs=0.02
    )
    path = f"/{drafted['id']}"
    assert shop_now.client.get(PATH).json()["items"] == []
    kept = post(shop_now.client, f"{path}/keep")
    assert kept["units"] == drafted["units"]
    assert (kept["state"], kept["next_step"]["action"]) == ("planned", "file")
    assert kept["next_step"]["is_due"] is True
    (listed,) = shop_now.client.get(PATH, params={"state": "planned"}).json()["items"]
    assert (listed["id"], listed["next_step"]) == (kept["id"], kept["next_step"])

    filed = post(shop_now.client, f"{path}/file")
    assert (filed["state"], filed["n_filed"], filed["refused"]) == ("filed", kept["n_items"], {})
    first, second, end = filed["periods"]
    assert first["statuses"] == {"submitted": filed["n_filed"]}
    assert (second["is_filed"], end["is_end"]) == (False, True)
    assert filed["next_step"] == {
        "action": "file",
        "period": 2,
        "at": second["starts_at"],
        "is_due": False,
    }
    approve(shop, filed["proposal_id"], NOW)
    for days in (1, 1 + 7 * filed["weeks"] // 2):
        now = parse_time(filed["begins_at"]) + timedelta(days=days)
        opened = shop.at(now)
        assert opened.client.get(f"{PATH}{path}").json()["state"] == "running"
        approve(shop, post(opened.client, f"{path}/file")["proposal_id"], now)
    shown = opened.client.get(f"{PATH}{path}").json()
    assert [period["approved_by"] for period in shown["periods"]] == [["ben"]] * 3
    refused = opened.client.post(f"{PATH}{path}/finish")
    assert (refused.status_code, "is not over" in refused.json()["detail"]) == (409, True)
    assert f"POST {PATH}{path}/cancel" in refused.json()["hint"]
    assert f"prices tests --cancel {drafted['id']}" in refused.json()["hint"]

    sell(shop, drafted["id"])
    over = shop.at(parse_time(shown["ends_at"]) + timedelta(days=1))
    waiting = over.client.get(PATH, params={"zone": "default"}).json()["items"]
    assert [test["next_step"]["action"] for test in waiting] == ["finish"]
    assert waiting[0]["next_step"]["is_due"] is True
    tested = [item["item_id"] for unit in shown["units"] for item in unit["items"]]
    after = parse_time(shown["ends_at"])
    assert read_offer_prices(shop.engine, *tested, at=after) == [100] * len(tested)
    result = post(over.client, f"{path}/finish")["result"]
    assert {item["item_id"] for item in result["items"]} == set(tested)
    assert [item["slope"] for item in result["items"]] == pytest.approx(
        [SLOPE] * len(tested), abs=0.02
    )
    assert {item["error_before"] for item in result["items"]} == {0.7}
    assert {item["grade_before"] for item in result["items"]} == {"C"}
    assert (result["model_before"], result["n_weeks_left_out"]) == ("3", 0)
    finished = over.client.get(f"{PATH}{path}").json()
    assert (finished["state"], finished["result"]) == ("finished", result)
    assert finished["next_step"] is None
    # A model that was trained with the result is not what was known before it.
    trained = shop.at(parse_time(shown["ends_at"]) + timedelta(days=9), version="4")
    assert post(trained.client, f"{path}/finish")["result"]["model_before"] == "3"


def test_a_plan_that_advises_no_test_says_why_and_cannot_be_kept(shop):
    client = shop.at(NOW).client
    drafted = plan(client, weeks=12, save=True)
    assert (drafted["state"], drafted["units"]) == ("draft", [])
    assert sum(drafted["not_tested"].values()) > 0
    refused = client.post(f"{PATH}/{drafted['id']}/keep")
    assert (refused.status_code, "advises no test" in refused.json()["detail"]) == (409, True)
    for action in ("file", "finish", "cancel"):
        refused = client.post(f"{PATH}/{drafted['id']}/{action}")
        assert (refused.status_code, "nobody has kept" in refused.json()["detail"]) == (409, True)


def test_a_plan_of_other_prices_than_those_of_now_is_not_kept_nor_begun(shop):
    client = shop.at(NOW).client
    kept, drafted = plan(client, save=True), plan(client)
    moved = replace(make_opening_price("milk", 105), valid_from=NOW)
    with transaction(shop.engine) as connection:
        Ledger(connection).append([moved])
    for path in (f"{drafted['id']}/keep", f"{kept['id']}/file"):
        refused = client.post(f"{PATH}/{path}")
        assert refused.status_code == 409
        assert "1 prices changed since this was planned (item 'milk' first)" in refused.text


def test_a_saved_plan_is_kept_at_once_and_a_repeated_request_plans_once(shop):
    client = shop.at(NOW).client
    headers = {"Idempotency-Key": "once"}
    first = post(client, json={"weeks": 104, "save": True}, headers=headers)
    assert post(client, json={"weeks": 104, "save": True}, headers=headers) == first
    (listed,) = client.get(PATH).json()["items"]
    assert (listed["id"], listed["state"]) == (first["id"], "planned")
    filed = post(client, f"/{first['id']}/file", headers={"Idempotency-Key": "file"})
    again = post(client, f"/{first['id']}/file", headers={"Idempotency-Key": "file"})
    assert again == filed
    assert len(client.get(f"{PATH}/{first['id']}").json()["periods"]) == 3
    assert client.get(f"{PATH}/{first['id']}").json()["periods"][1]["is_filed"] is False


def test_a_cancelled_test_frees_its_items(shop):
    opened = shop.at(NOW)
    test = plan(opened.client, save=True)
    filed = post(opened.client, f"/{test['id']}/file")
    begun = shop.at(parse_time(filed["begins_at"]) + timedelta(days=1))
    approve(shop, filed["proposal_id"], NOW)
    assert plan(begun.client)["n_items"] == 0
    cancelled = post(begun.client, f"/{test['id']}/cancel")
    assert (cancelled["state"], cancelled["n_filed"]) == ("cancelled", filed["n_filed"])
    assert cancelled["next_step"] is None
    assert plan(begun.client)["n_items"] >= 2


def test_a_test_takes_somebody_who_proposes_prices_of_the_whole_zone(shop):
    opened = shop.at(NOW)
    kept = plan(opened.client, save=True)
    south = {"pricing.propose": (Area(zone="south"),)}
    of_south = Caller("sue", "Sue", frozenset({"pricing.propose"}), is_person=True, areas=south)
    dairy = {"pricing.propose": (Area(category="Dairy"),)}
    of_dairy = replace(of_south, areas=dairy)
    for caller in (of_south, of_dairy):
        for act in (opened.tests.prepare_filing, opened.tests.cancel):
            with pytest.raises(Forbidden, match="all categories of default"):
                act(caller, kept["id"])
        with pytest.raises(Forbidden, match="all categories of default"):
            opened.planner.start(caller, PlanOrder(zones=("default",)))
    assert opened.client.get(f"{PATH}/{kept['id']}").json()["state"] == "planned"
    of_default = replace(of_south, areas={"pricing.propose": (Area(zone="default"),)})
    opened.tests.prepare_filing(of_default, kept["id"])


def test_a_test_is_not_analysed_before_the_sales_of_its_last_week_are_there(shop):
    test = plan(shop.at(NOW).client, save=True)
    filed = post(shop.at(NOW).client, f"/{test['id']}/file")
    begins_at = parse_time(filed["begins_at"])
    with reading(shop.engine) as connection:
        stored = PriceTests(connection).get(test["id"])
    sell_in_test(shop.facts, stored, ITEMS, SLOPE, UNITS)
    missing = replace(stored, ends_at=stored.ends_at + timedelta(weeks=2))
    with pytest.raises(BadInput, match="nothing since"):
        measure_test(shop.settings, missing)
    assert begins_at < stored.ends_at
    assert measure_test(shop.settings, stored)["items"]


def test_only_who_proposes_prices_plans_and_files_tests(shop):
    opened = shop.at(NOW)
    test = plan(opened.client, save=True)
    assert opened.reader.get(f"{PATH}/{test['id']}").status_code == 200
    for path in ("", *(f"/{test['id']}/{name}" for name in ("keep", "file", "finish", "cancel"))):
        assert opened.reader.post(f"{PATH}{path}", json={}).status_code == 403


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ({"zone": "nowhere"}, "nowhere"),
        ({"max_items": 1}, "max_items"),
        ({"weeks": 1e9}, "weeks"),
        ({"weks": 52}, "weks"),
        ({"design": "swichback"}, "switchback"),
        ({"design": "switchback", "zones": ["default"]}, "two zones or more"),
        ({"n_periods": 4}, "periods of a crossover"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(shop, order, words):
    refused = shop.at(NOW).client.post(PATH, json=order)
    assert (refused.status_code, words in refused.text) == (422, True)


def test_unknown_tests_states_and_zones_are_refused(shop):
    client = shop.at(NOW).client
    unknown = client.get(f"{PATH}/test_9")
    assert (unknown.status_code, "GET /v1/price-tests" in unknown.json()["hint"]) == (404, True)
    wrong = client.get(PATH, params={"state": "runing"})
    assert (wrong.status_code, "running" in wrong.text) == (422, True)
    assert client.get(PATH, params={"zone": "nowhere"}).status_code == 422


def test_lists_come_in_pages(shop):
    client = shop.at(NOW).client
    ids = {plan(client, save=True)["id"] for _ in range(3)}
    first = client.get(PATH, params={"limit": 2}).json()
    rest = client.get(PATH, params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert len(first["items"]) == 2
    assert rest["next_cursor"] is None
    assert {test["id"] for test in (*first["items"], *rest["items"])} == ids


def test_few_plans_are_computed_at_once_and_a_late_one_has_failed(shop):
    opened = shop.at(NOW, Never())
    started = [plan(opened.client) for _ in range(MAX_RUNNING)]
    assert {one["state"] for one in started} == {"planning"}
    refused = opened.client.post(PATH, json={})
    assert (refused.status_code, "Retry-After" in refused.headers) == (429, True)
    waiting = shop.at(NOW, Never(), SYSTEM_NOW + TIME_LIMIT + timedelta(seconds=1))
    assert waiting.client.get(f"{PATH}/{started[0]['id']}").json()["state"] == "planning"
    later = shop.at(NOW, Never(), SYSTEM_NOW + WAIT_LIMIT + timedelta(seconds=1))
    shown = later.client.get(f"{PATH}/{started[0]['id']}").json()
    assert (shown["state"], "in time" in shown["problem"]) == ("failed", True)
    assert plan(later.client)["state"] == "planning"


def test_a_plan_that_fails_says_why_and_a_stopped_server_leaves_none_behind(shop):
    class Broken(AtOnce):
        def refuse_stopped(self):
            raise RuntimeError("the disk is full")

    broken = plan(shop.at(NOW, Broken()).client)
    assert (broken["state"], "not foreseen" in broken["problem"]) == ("failed", True)
    opened = shop.at(NOW, Never())
    left = plan(opened.client)
    opened.planner.close(patience=0.0)
    shown = opened.client.get(f"{PATH}/{left['id']}").json()
    assert (shown["state"], "stopped" in shown["problem"]) == ("failed", True)
    refused = opened.client.post(f"{PATH}/{left['id']}/keep")
    assert (refused.status_code, "failed" in refused.json()["detail"]) == (409, True)


def test_a_zone_without_forecasts_says_what_is_missing(shop):
    opened = shop.at(NOW)
    planner = opened.planner
    given = planner.read_inputs("default", None)
    without = replace(given, demand_model=make_forecasts())
    opened = replace(planner, read_inputs=lambda *_: without)
    caller = Caller("anna", "Anna", frozenset({"pricing.propose"}))
    failed = opened.start(caller, PlanOrder())
    assert failed.state == "failed"
    assert "no item of zone default has a price and a forecast" in failed.document["problem"]


def test_one_test_is_analysed_at_a_time(shop):
    opened = shop.at(NOW)
    test = plan(opened.client, save=True)
    with opened.tests.measuring:
        refused = opened.client.post(f"{PATH}/{test['id']}/finish")
    assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
    assert opened.client.post(f"{PATH}/{test['id']}/finish").status_code == 409


def test_no_more_than_some_plans_that_nobody_keeps_are_stored(shop, monkeypatch):
    monkeypatch.setattr(stored_tests, "_PLANS_KEPT", 2)
    client = shop.at(NOW).client
    kept = plan(client, save=True)
    for _ in range(4):
        plan(client, weeks=4)
    drafts = client.get(PATH, params={"state": "draft"}).json()["items"]
    assert len(drafts) == 3  # the newest two, and the one that came after they were counted
    assert [test["id"] for test in client.get(PATH).json()["items"]] == [kept["id"]]
