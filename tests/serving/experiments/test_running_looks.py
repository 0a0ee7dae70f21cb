"""Running experiments that are watched: stopped by a guardrail, moved by results, interleaved."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from features.database import transaction
from features.facts.slates import read_slates
from serving.experiments.repository import ExperimentStates
from serving.experiments.running_looks import ExperimentWatch
from serving.experiments.service import ExperimentService
from tests.shops.executors import AtOnce
from tests.shops.experiments import act, ask, define
from tests.shops.served_shop import NOW

N_UNITS = 300


def buy(served: SimpleNamespace, ids: dict[str, str]) -> dict[str, Any]:
    at = served.server.clock.now().isoformat()
    return ids | {
        "event_type": "purchase",
        "occurred_at": at,
        "item_id": "wine",
        "line_amount": "12.50",
    }


def send(served: SimpleNamespace, events: list[dict[str, Any]]) -> None:
    for start in range(0, len(events), 200):
        body = {"events": events[start : start + 200]}
        assert served.client.post("/v1/events", json=body).json()["accepted"] == len(body["events"])


def write_log(served: SimpleNamespace) -> None:
    """Wait until the exposures and slates are in the database."""
    writer = served.server.exposures
    writer.close()
    writer._stopping.clear()


def meet(served: SimpleNamespace, key: str, id_name: str) -> dict[str, str]:
    """Show the placement to N_UNITS units; return the variant by unit."""
    met = {}
    for number in range(N_UNITS):
        unit = f"{key}-{number}"
        experiments = ask(served, **{id_name: unit})["experiments"]
        met[unit] = experiments[0]["variant"]
    write_log(served)
    return met


def test_a_variant_that_harms_a_guardrail_is_stopped_with_the_reason(served):
    rails = [{"metric": "purchase_conversion", "margin": 0.1}]
    define(served, guardrails=rails, planned_units=3_000)
    act(served, "cart_again", "start")
    met = meet(served, "cart_again", "visitor_id")
    buyers = [
        unit
        for number, (unit, variant) in enumerate(met.items())
        if number % 5 and variant == "champion"
    ]
    send(served, [buy(served, {"visitor_id": unit}) for unit in buyers])
    served.server.experiment_watch.look()
    stopped = served.client.get("/v1/experiments/cart_again").json()
    assert stopped["status"] == "stopped"
    assert "again changes purchase_conversion by -100.0%" in stopped["stop_reason"]
    assert ask(served, visitor_id="another")["experiments"] == []
    (*_, last) = served.client.get("/v1/audit?subject_id=cart_again").json()["items"]
    assert (last["action"], last["actor"]) == ("stop", "watch")
    served.server.experiment_watch.look()  # it is stopped once


def test_a_harmless_variant_goes_on(served):
    define(served, guardrails=[{"metric": "purchase_conversion", "margin": 0.1}])
    act(served, "cart_again", "start")
    met = meet(served, "cart_again", "visitor_id")
    buyers = [unit for number, unit in enumerate(met) if number % 3 == 0]
    send(served, [buy(served, {"visitor_id": unit}) for unit in buyers])
    served.server.experiment_watch.look()
    assert served.client.get("/v1/experiments/cart_again").json()["status"] == "running"


def test_the_shares_of_a_bandit_follow_its_results_and_keep_their_floor(served):
    define(served, allocation="thompson", unit="session", floor=0.1)
    act(served, "cart_again", "start")
    met = meet(served, "cart_again", "session_id")
    buyers = [unit for unit, variant in met.items() if variant == "again"]
    send(served, [buy(served, {"session_id": unit}) for unit in buyers])
    served.server.experiment_watch.look()
    variants = served.client.get("/v1/experiments/cart_again").json()["variants"]
    shares = {variant["name"]: variant["weight"] for variant in variants}
    assert shares == {"champion": pytest.approx(0.1), "again": pytest.approx(0.9)}
    later = Counter(
        ask(served, session_id=f"later-{number}")["experiments"][0]["variant"]
        for number in range(100)
    )
    assert later["again"] > 75
    results = served.client.get("/v1/experiments/cart_again/results").json()
    difference = results["variants"][1]["metrics"]["purchase_conversion"]["difference"]
    assert difference["value"] > 0.9


def test_two_interleaved_rankers_share_each_slate_and_clicks_decide(served):
    arms = [
        {"name": "usual", "weight": 0.5},
        {"name": "rising", "weight": 0.5, "placement": {"scorer": "trending"}},
    ]
    define(served, key="mix", variants=arms, allocation="interleave")
    act(served, "mix", "start")
    answers = [ask(served, visitor_id=f"m{number}", count=4) for number in range(40)]
    write_log(served)
    slates = served.server.experiments.report("mix")
    assert slates.preference is None  # nobody clicked
    with served.server.engine.connect() as connection:
        logged = read_slates(connection, "cart").to_pylist()
    teams = {row["recommendation_id"]: row["team"] for row in logged}
    counts = Counter(team for names in teams.values() for team in names)
    assert set(counts) == {"usual", "rising"}
    now = served.server.clock.now()
    clicks = []
    for answer in answers:
        for item, team in zip(answer["items"], teams[answer["recommendation_id"]], strict=True):
            if team == "rising":
                clicks.append(click(answer, item, now))
    send(served, clicks)
    results = served.client.get("/v1/experiments/mix/results").json()
    assert results["preference"]["lead"] == 1
    act(served, "mix", "stop")
    verdict = served.client.get("/v1/experiments/mix/results").json()["verdict"]
    assert verdict == "rising is preferred: clicks lead by 100.0%"


def click(answer: dict[str, Any], item: dict[str, Any], now: datetime) -> dict[str, Any]:
    return {
        "event_type": "select_item",
        "occurred_at": (now - timedelta(seconds=1)).isoformat(),
        "item_id": item["item_id"],
        "visitor_id": f"clicker of {answer['recommendation_id']}",
        "recommendation_id": answer["recommendation_id"],
        "rank": item["rank"],
    }


def test_the_plan_says_how_many_units_and_days_a_draft_needs(served):
    define(served, minimum_effect=0.2, primary_metric="revenue_per_unit")
    plan = served.client.get("/v1/experiments/cart_again/plan").json()
    assert plan["metric"] == "revenue_per_unit"
    assert plan["units_per_day"] > 0
    half = served.client.patch(
        "/v1/experiments/cart_again",
        json={"coverage": 0.5, "minimum_effect": 0.001, "based_on": 1},
    ).json()
    assert half["coverage"] == 0.5
    slower = served.client.get("/v1/experiments/cart_again/plan").json()
    assert slower["units"] > plan["units"]  # a smaller effect takes more of them
    assert slower["units_per_day"] == pytest.approx(plan["units_per_day"] / 2)


def test_a_process_leaves_to_another_one_what_that_has_just_looked_at(served, monkeypatch):
    define(served, guardrails=[{"metric": "purchase_conversion", "margin": 0.1}])
    act(served, "cart_again", "start")
    experiments, now = served.server.experiments, served.server.system_clock.now()
    watch = ExperimentWatch(experiments, served.server.settings, AtOnce())
    with transaction(experiments.engine) as connection:
        ExperimentStates(connection).claim_look("cart_again", now, timedelta(0))
    looks: list[str] = []
    monkeypatch.setattr(ExperimentService, "report", lambda _, key, **__: looks.append(key))
    watch.tick(now + timedelta(seconds=1))
    assert looks == []


def test_a_look_is_claimed_once_in_a_pause_also_by_clocks_that_were_ahead(engine):
    claimed = []
    for seconds in (0, 0, 9, 10, 10, 3_600, 11, 12):
        with transaction(engine) as connection:
            now = NOW + timedelta(seconds=seconds)
            states = ExperimentStates(connection)
            claimed.append(states.claim_look("cart_again", now, timedelta(seconds=10)))
    assert claimed == [True, False, False, True, False, True, True, False]
