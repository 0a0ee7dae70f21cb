"""Scenarios: computed beside the queue and beside the rules of today, then filed as shown."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.testclient import TestClient

from features.contracts.errors import BadInput, Conflict, Forbidden, Unavailable, UnknownName
from features.database import reading, transaction
from features.prices.ledger import Ledger
from features.prices.reduction_rule import PLAIN_RULES
from serving.access import Area, Caller
from serving.database.desk_tables import price_scenarios
from serving.database.tables import audit_log
from serving.http.dependencies import provide
from serving.http.errors import add_error_handlers
from serving.http.idempotency import IdempotencyService
from serving.keys.service import KeyService
from serving.price_desk import decisions, scenario_outcome, scenarios_api
from serving.price_desk.actions import ScenarioActions
from serving.price_desk.filters import SuggestionFilter
from serving.price_desk.repository import Suggestions
from serving.price_desk.run_outcomes import PricingRuns
from serving.price_desk.scenario_outcome import unpack_run
from serving.price_desk.scenario_repository import ScenarioOrder
from serving.price_desk.scenario_worker import ScenarioWorker, name_process
from serving.price_desk.scenarios import MAX_RUNNING, TIME_LIMIT, NewPrices, ScenarioService
from serving.price_desk.service import PriceDeskService
from tests.shops.clocks import FixedClock, MovingClock
from tests.shops.desk_workers import AtOnce, Never
from tests.shops.price_desk import (
    NOW,
    SYSTEM_NOW,
    make_opening_price,
    make_suggestion,
    read_statuses,
)
from tests.shops.three_items import make_forecasts, make_inputs, make_responses

ANNA = Caller("anna", "Anna", frozenset({"pricing.propose", "pricing.read"}))
# The best price of milk is .96 (it costs .72); where it may move by 2 %, it is .98.
FREE = {"endings": [], "max_change": 0.2, "tried_margin": 0.5, "max_over_list": 0.5}
NARROW = {**FREE, "max_change": 0.02}


@pytest.fixture
def scenarios(three_items):
    _, engine, settings = three_items

    def read_inputs(_zone, named):
        forecasts, responses = make_forecasts("milk"), make_responses("milk")
        inputs = make_inputs(three_items, forecasts, responses, named.rules, presets=named.presets)
        return replace(inputs, rules_name=named.name)

    desk = PriceDeskService(settings, engine, FixedClock(NOW), FixedClock(SYSTEM_NOW), PLAIN_RULES)
    return ScenarioService(desk, read_inputs, AtOnce())


def read_queue(engine):
    with reading(engine) as connection:
        return Suggestions(connection).matching(SuggestionFilter(status=("submitted", "suggested")))


def file_prices(engine, *suggestions):
    with transaction(engine) as connection:
        return Suggestions(connection).add(suggestions)


def test_a_scenario_stands_beside_the_queue_and_today_and_files_nothing(three_items, scenarios):
    _, engine, _ = three_items
    file_prices(engine, make_suggestion("milk", 104))
    order = ScenarioOrder(values=FREE, changes={"max_change": 0.02}, title="careful")
    scenario = scenarios.start(ANNA, order)
    assert (scenario.status, scenario.problem) == ("done", None)
    outcome = scenario.outcome
    (move,) = outcome.moves
    assert (move.current_minor, move.waiting_minor, move.new_minor) == (100, 104, 98)
    assert (outcome.n_items, outcome.n_different) == (1, 1)
    assert (outcome.scenario.n_changes, outcome.scenario.n_rises) == (1, 0)
    assert (outcome.waiting.n_changes, outcome.waiting.n_rises) == (1, 1)
    profit = outcome.scenario.effects["profit"]
    assert 0 < profit.p50 <= profit.p90
    assert len(read_queue(engine)) == 1


def test_objective_and_horizon_change_what_a_scenario_computes(scenarios):
    def compute(**values):
        return scenarios.start(ANNA, ScenarioOrder(values=FREE, **values)).outcome

    revenue, profit = compute(objective="revenue"), compute(objective="profit")
    # At an elasticity of -4 revenue wants a lower price than profit.
    assert revenue.moves[0].new_minor < profit.moves[0].new_minor == 96
    weeks = compute(horizon_weeks=2)
    assert (weeks.horizon_weeks, profit.horizon_weeks) == (2, 4)
    of_two, of_four = (one.scenario.effects["units"].p50 for one in (weeks, profit))
    assert of_two == pytest.approx(of_four / 2, rel=0.05)


def test_broken_limits_and_rules_of_a_category_show(scenarios):
    dairy = {**FREE, "scopes": [{"category": "Food > Dairy", "min_margin": 0.3}]}
    outcome = scenarios.start(ANNA, ScenarioOrder(values=dairy)).outcome
    # At a margin of 30 % the net price is at least .72 / .7: the price of today is below that.
    assert outcome.scenario.forbidden == {"margin floor": 1}
    assert outcome.today.forbidden == {}


def test_what_was_shown_is_filed_in_place_of_what_was_undecided(three_items, scenarios):
    _, engine, _ = three_items
    (old,) = file_prices(engine, make_suggestion("milk", 104))
    scenario = scenarios.start(ANNA, ScenarioOrder(values=NARROW))
    assert scenarios.find_prices(scenario.id, ["milk", "tea"]) == {"milk": 98}
    filed = ScenarioActions(scenarios).file(ANNA, scenario.id, "less risk")
    assert (filed.status, filed.filed_by) == ("filed", "anna")
    assert read_statuses(engine, [old]) == ["superseded"]
    (milk,) = read_queue(engine)
    assert (milk.suggested_price_minor, milk.proposed_by, milk.run_id) == (98, "anna", filed.run_id)
    assert milk.expected["profit"]["against_keeping"]["p50"] > 0
    with reading(engine) as connection:
        run = PricingRuns(connection).get(filed.run_id)
        query = sa.select(audit_log.c.actor, audit_log.c.details).where(
            audit_log.c.action == "suggest"
        )
        actor, details = connection.execute(query).one()
    assert (run.totals["n_suggested"], run.totals["n_superseded"]) == (1, 1)
    assert actor == "anna"
    assert scenario.id in details
    assert "less risk" in details
    with pytest.raises(Conflict, match=f"filed, as {filed.run_id}"):
        ScenarioActions(scenarios).file(ANNA, scenario.id)
    # Four eyes: whoever files a scenario does not approve it.
    anna = Caller("anna", "Anna", frozenset({"pricing.approve"}))
    decider = scenarios.desk.decider(anna, "pricing.approve", None)
    with transaction(engine) as connection, pytest.raises(Forbidden, match="proposed"):
        decisions.approve(connection, decider, milk.id)


def test_a_scenario_whose_prices_moved_or_that_is_old_is_not_filed(three_items, scenarios):
    _, engine, _ = three_items
    first = scenarios.start(ANNA, ScenarioOrder(values=NARROW))
    in_two_days = replace(scenarios.desk, clock=FixedClock(NOW + timedelta(days=2)))
    with pytest.raises(Conflict, match="too old"):
        ScenarioActions(replace(scenarios, desk=in_two_days)).file(ANNA, first.id)
    with transaction(engine) as connection:
        other = replace(make_opening_price("milk", 101), valid_from=NOW - timedelta(days=1))
        Ledger(connection).append([other])
    with pytest.raises(Conflict, match="1 prices changed"):
        ScenarioActions(scenarios).file(ANNA, first.id)
    assert read_queue(engine) == []


def test_whoever_covers_a_part_of_a_zone_files_no_scenario(scenarios):
    scenario = scenarios.start(ANNA, ScenarioOrder(values=NARROW))
    dairy = replace(ANNA, areas={"pricing.propose": (Area("Food > Dairy"),)})
    with pytest.raises(Forbidden, match="replaces all that waits"):
        ScenarioActions(scenarios).file(dairy, scenario.id)
    whole = replace(ANNA, areas={"pricing.propose": (Area(zone="default"),)})
    assert ScenarioActions(scenarios).file(whole, scenario.id).status == "filed"


@pytest.mark.parametrize(
    ("order", "error"),
    [
        (ScenarioOrder(rules="none"), UnknownName),
        (ScenarioOrder(zone="nowhere"), UnknownName),
        (ScenarioOrder(objective="luck"), UnknownName),
        (ScenarioOrder(horizon_weeks=0), BadInput),
        (ScenarioOrder(changes={"max_chnge": 0.1}), UnknownName),
        (ScenarioOrder(changes={"max_change": -1}), BadInput),
    ],
)
def test_what_cannot_be_computed_is_refused_at_once(scenarios, order, error):
    with pytest.raises(error):
        scenarios.start(ANNA, order)
    assert scenarios.list_scenarios(None, limit=9) == []


def test_few_are_computed_at_once_and_what_hangs_has_failed(scenarios):
    stuck = replace(scenarios, worker=Never())
    started = [stuck.start(ANNA, ScenarioOrder()) for _ in range(MAX_RUNNING)]
    assert {one.status for one in started} == {"running"}
    with pytest.raises(Unavailable, match="are being computed"):
        stuck.start(ANNA, ScenarioOrder())
    later = FixedClock(SYSTEM_NOW + TIME_LIMIT + timedelta(seconds=1))
    scenarios = replace(scenarios, desk=replace(scenarios.desk, system_clock=later))
    assert scenarios.read(started[0].id).problem.startswith("it was not done")
    assert scenarios.start(ANNA, ScenarioOrder(values=FREE)).status == "done"
    failing = replace(scenarios, read_inputs=lambda *_: 1 / 0)
    assert "not foreseen" in failing.start(ANNA, ScenarioOrder()).problem


def test_what_was_shown_as_failed_is_never_done(scenarios):
    clock = MovingClock(SYSTEM_NOW)
    slow = replace(scenarios, desk=replace(scenarios.desk, system_clock=clock))

    def take_too_long(zone, named):
        clock.at += TIME_LIMIT + timedelta(seconds=1)
        return scenarios.read_inputs(zone, named)

    scenario = replace(slow, read_inputs=take_too_long).start(ANNA, ScenarioOrder(values=FREE))
    assert (scenario.status, scenario.outcome) == ("failed", None)
    assert scenario.problem.startswith("it was not done")
    # It is stored so: a clock that was ahead makes it no other.
    clock.at = SYSTEM_NOW
    assert slow.read(scenario.id) == scenario


def test_a_server_stops_promptly_and_what_it_computed_has_failed(scenarios):
    begun, go_on = threading.Event(), threading.Event()

    def wait(zone, named):
        begun.set()
        go_on.wait(60)
        return scenarios.read_inputs(zone, named)

    busy = replace(scenarios, read_inputs=wait, worker=ScenarioWorker())
    started = [busy.start(ANNA, ScenarioOrder(values=FREE)) for _ in range(2)]
    assert begun.wait(60)
    busy.close(patience=0.0)  # while the first one is being computed
    try:
        shown = [scenarios.read(one.id) for one in started]
        assert [one.status for one in shown] == ["failed", "failed"]
        assert all("was stopped" in one.problem for one in shown)
    finally:
        go_on.set()
    busy.close(patience=60.0)
    assert [scenarios.read(one.id) for one in started] == shown


def test_a_start_marks_what_a_killed_server_left_behind(three_items, scenarios):
    _, engine, _ = three_items
    stuck = replace(scenarios, worker=Never())
    own, killed, elsewhere = (stuck.start(ANNA, ScenarioOrder()) for _ in range(3))
    host, _, _ = name_process().rsplit(":", 2)
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    for one, process in ((killed, f"{host}:{child.pid}:x"), (elsewhere, "another:1:x")):
        with transaction(engine) as connection:
            table = price_scenarios.c
            query = sa.select(table.request).where(table.id == one.id)
            request = connection.execute(query).scalar_one() | {"process": process}
            change = price_scenarios.update().where(table.id == one.id)
            connection.execute(change.values(request=request))
    scenarios.fail_interrupted()
    statuses = [scenarios.read(one.id).status for one in (own, killed, elsewhere)]
    assert statuses == ["running", "failed", "running"]
    assert "ended" in scenarios.read(killed.id).problem


def test_prices_are_unpacked_once_and_known_to_be_gone(three_items, scenarios, monkeypatch):
    _, engine, _ = three_items
    first = scenarios.start(ANNA, ScenarioOrder(values=NARROW))
    unpacked = []

    def count(payload):
        unpacked.append(payload)
        return unpack_run(payload)

    monkeypatch.setattr(scenario_outcome, "unpack_run", count)
    for _ in range(3):
        assert scenarios.find_prices(first.id, ["milk", "tea"]) == {"milk": 98}
    assert len(unpacked) == 1
    with transaction(engine) as connection:
        connection.execute(price_scenarios.update().values(payload=None))
    in_another_process = replace(scenarios, new_prices=NewPrices())
    assert in_another_process.find_prices(first.id, ["milk"]) is None


def test_the_routes_start_show_and_file_a_scenario(engine, scenarios):
    app = FastAPI()
    app.include_router(scenarios_api.router)
    add_error_handlers(app)
    clock = FixedClock(SYSTEM_NOW)
    keys = KeyService(engine, clock)
    provide(app, keys, scenarios, IdempotencyService(engine, clock))
    key = keys.create("anna", ["pricing.propose"]).key
    client = TestClient(app, headers={"Authorization": f"Bearer {key}"})
    body = {"title": "careful", "values": NARROW, "objective": "profit"}
    headers = {"Idempotency-Key": "once"}
    started = client.post("/v1/price-scenarios", json=body, headers=headers).json()
    assert client.post("/v1/price-scenarios", json=body, headers=headers).json() == started
    shown = client.get(f"/v1/price-scenarios/{started['id']}").json()
    assert (shown["status"], shown["request"]["title"]) == ("done", "careful")
    (move,) = shown["outcome"]["moves"]
    assert (move["current"], move["waiting"], move["new"]) == ("1.00", None, "0.98")
    assert float(shown["outcome"]["scenario"]["effects"]["profit"]["p50"]) > 0
    assert client.get("/v1/price-scenarios", params={"zone": "default"}).json()["items"] == [shown]
    filed = client.post(f"/v1/price-scenarios/{shown['id']}/file", json={"reason": "agreed"})
    assert filed.json()["run_id"].startswith("run_")
    assert client.get("/v1/price-scenarios/none").status_code == 404
    refused = client.post("/v1/price-scenarios", json={"changes": {"max_chnge": 0.1}})
    assert (refused.status_code, "max_change" in refused.text) == (422, True)
