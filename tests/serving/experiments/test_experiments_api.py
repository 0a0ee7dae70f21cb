"""Experiments over HTTP: started, stopped, assigned, and their results."""

import json
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from fastapi.testclient import TestClient

from features.contracts.errors import Unavailable
from features.database import transaction
from features.facts.exposures import read_links
from serving.app import create_app
from serving.cli import experiments as cli_experiments
from serving.recommendations import met_variants
from tests.shops.served_shop import REFUSER, make_settings


def test_an_experiment_is_stopped_and_started_for_every_process(served):
    def variants():
        body = {"placement": "home", "user_id": "u00"}
        return served.client.post("/v1/recommendations", json=body).json()["experiments"]

    assert len(variants()) == 1
    stopped = served.client.post("/v1/experiments/home_ranker/stop")
    assert stopped.json()["status"] == "stopped"
    assert variants() == []
    assert served.client.get("/v1/assignments?unit_id=u00").json()["items"] == []
    with TestClient(create_app(served.settings)) as other:
        assert other.app.state.server.experiments.get("home_ranker").running is False
    assert served.client.post("/v1/experiments/home_ranker/start").json()["status"] == "running"
    assert len(variants()) == 1
    actions = [
        record["action"]
        for record in served.client.get("/v1/audit?subject_id=home_ranker").json()["items"]
    ]
    assert actions == ["stop", "start"]
    assert served.client.post("/v1/experiments/nope/start").status_code == 404


def test_results_count_exposed_units_and_what_they_bought(served):
    for unit in ("u00", "u01", "u02", "u03"):
        served.client.post("/v1/recommendations", json={"placement": "home", "user_id": unit})
    now = served.server.clock.now().isoformat()
    bought = {
        "event_type": "purchase",
        "occurred_at": now,
        "item_id": "wine",
        "line_amount": "12.50",
        "user_id": "u00",
    }
    assert served.client.post("/v1/events", json={"events": [bought]}).json()["accepted"] == 1
    served.server.exposures.close()
    answer = served.client.get("/v1/experiments/home_ranker/results")
    assert answer.status_code == 200
    variants = answer.json()["variants"]
    assert sum(variant["n"] for variant in variants) == 4
    assert answer.json()["currency"] == "EUR"
    revenue = [
        variant["n"] * float(variant["metrics"]["revenue_per_unit"]["mean"])
        for variant in variants
        if variant["n"]
    ]
    buyers = [
        variant["n"] * variant["metrics"]["purchase_conversion"]["mean"]
        for variant in variants
        if variant["n"]
    ]
    assert (sum(revenue), sum(buyers)) == (pytest.approx(12.5, abs=0.001), pytest.approx(1))
    assert answer.json()["verdict"].startswith("no decision")
    assigned = {
        item["variant"]
        for unit in ("u00", "u01", "u02", "u03")
        for item in served.client.get(f"/v1/assignments?unit_id={unit}").json()["items"]
    }
    assert assigned == {variant["name"] for variant in variants if variant["n"]}


def ask_variant(client, **ids):
    body = {"placement": "home", "count": 1, **ids}
    (assigned,) = client.post("/v1/recommendations", json=body).json()["experiments"]
    return assigned["variant"]


def test_visitors_who_sign_in_keep_their_variant_and_are_one_unit(served):
    numbers = range(200)
    met = [ask_variant(served.client, visitor_id=f"v{n}") for n in numbers]
    signed_in = [ask_variant(served.client, user_id=f"new{n}", visitor_id=f"v{n}") for n in numbers]
    by_user_alone = [
        next(
            item["variant"]
            for item in served.client.get(f"/v1/assignments?unit_id=new{n}").json()["items"]
        )
        for n in numbers
    ]
    assert met != by_user_alone  # the user's own hash says otherwise
    assert signed_in == met
    assert [ask_variant(served.client, user_id=f"new{n}") for n in numbers] == met
    served.server.exposures.close()
    results = served.client.get("/v1/experiments/home_ranker/results").json()
    assert sum(variant["n"] for variant in results["variants"]) == 200
    assert results["n_mixed"] == 0

    # Another process, with a new browser: the user's variant stays, and the browser that met the
    # other one before joins a mixed unit.
    with TestClient(create_app(served.settings), headers=served.client.headers) as client:
        assert [
            ask_variant(client, user_id=f"new{n}", visitor_id=f"w{n}") for n in range(10)
        ] == met[:10]
        assert [ask_variant(client, user_id=f"new{n}") for n in range(10, 20)] == met[10:20]
        browser = next(
            f"x{n}" for n in numbers if ask_variant(client, visitor_id=f"x{n}") != met[0]
        )
        assert ask_variant(client, user_id="new0", visitor_id=browser) == met[0]
        client.app.state.server.exposures.close()
        assert client.get("/v1/experiments/home_ranker/results").json()["n_mixed"] == 1


def buy(client, *, item_id="wine", **ids):
    event = {
        "event_type": "purchase",
        "occurred_at": client.app.state.server.clock.now().isoformat(),
        "item_id": item_id,
        "line_amount": "10.00",
        **ids,
    }
    assert client.post("/v1/events", json={"events": [event]}).json()["accepted"] == 1


def test_a_visitor_who_signs_in_at_the_checkout_stays_the_unit_that_met_the_variant(served):
    client, numbers = served.client, range(60)
    met = [ask_variant(client, visitor_id=f"v{n}") for n in numbers]
    for n in numbers:
        buy(client, user_id=f"new{n}", visitor_id=f"v{n}")
        buy(client, user_id=f"new{n}", visitor_id=f"v{n}", item_id="beer")
    buy(client, user_id="u22", visitor_id="never met anything")
    # Later, by the user alone or on another device, the variant is still that of the first visit.
    assert [ask_variant(client, user_id=f"new{n}") for n in numbers] == met
    later = [ask_variant(client, user_id=f"new{n}", visitor_id=f"phone{n}") for n in numbers]
    assert later == met
    served.server.exposures.close()
    results = client.get("/v1/experiments/home_ranker/results").json()
    assert results["n_mixed"] == 0
    assert {variant["name"]: variant["n"] for variant in results["variants"]} == Counter(met)
    for variant in results["variants"]:
        assert variant["metrics"]["purchase_conversion"]["mean"] == 1
        assert float(variant["metrics"]["revenue_per_unit"]["mean"]) == pytest.approx(20)


def test_who_does_not_allow_personalization_is_not_joined_to_a_visitor(served):
    ask_variant(served.client, visitor_id="v0")
    buy(served.client, user_id=REFUSER, visitor_id="v0")
    served.server.exposures.close()
    with transaction(served.server.engine) as connection:
        links = read_links(connection, "home_ranker", until=served.server.clock.now())
    assert links.num_rows == 0


def test_a_visitor_signs_in_although_the_database_does_not_answer(served, monkeypatch):
    @contextmanager
    def fail(_engine):
        raise Unavailable("the database does not answer")
        yield

    monkeypatch.setattr(met_variants, "reading", fail)
    variant = ask_variant(served.client, visitor_id="v0")
    assert ask_variant(served.client, user_id="u00", visitor_id="v0") == variant
    (plain,) = served.client.get("/v1/assignments?unit_id=u01").json()["items"]
    assert ask_variant(served.client, user_id="u01", visitor_id="new") == plain["variant"]


def test_results_end_with_the_stop_over_http_and_on_the_command_line(served, monkeypatch, capsys):
    units = [f"u{number:02}" for number in range(8)]
    for unit in units:
        served.client.post("/v1/recommendations", json={"placement": "home", "user_id": unit})
    served.server.exposures.close()
    before = served.server.clock.now()
    assert served.client.post("/v1/experiments/home_ranker/stop").status_code == 200
    (experiment,) = served.client.get("/v1/experiments").json()["items"]
    stopped_at = datetime.fromisoformat(experiment["stopped_at"])
    assert before <= stopped_at <= served.server.clock.now()
    assert experiment["attribution_days"] == 7
    assert experiment["non_inferiority"] == {"metric": "purchase_conversion", "margin": 0.02}
    results = served.client.get("/v1/experiments/home_ranker/results").json()
    assert datetime.fromisoformat(results["stopped_at"]) == stopped_at
    (margin,) = results["non_inferiority"]["variants"]
    assert (margin["variant"], margin["shown"]) == ("buy_again", None)  # nobody bought yet
    assert results["verdict"].startswith("no decision")

    # Eight days later the window is over, and a purchase of then does not count.
    later = make_settings(served.settings.home, clock_start=stopped_at + timedelta(days=8))
    with TestClient(create_app(later), headers=served.client.headers) as client:
        purchase = {
            "event_type": "purchase",
            "occurred_at": (stopped_at + timedelta(days=7, hours=1)).isoformat(),
            "item_id": "wine",
            "line_amount": "12.50",
            "user_id": "u00",
        }
        client.post("/v1/events", json={"events": [purchase]})
        final = client.get("/v1/experiments/home_ranker/results").json()
    assert datetime.fromisoformat(final["counted_until"]) == stopped_at + timedelta(days=7)
    assert [variant["metrics"]["purchase_conversion"]["mean"] for variant in final["variants"]] in (
        [0.0, 0.0],
        [0.0, None],
        [None, 0.0],
    )

    def open_later(shop):
        shop.settings = later

    monkeypatch.setattr(cli_experiments.Shop, "__init__", open_later)
    cli_experiments.report("home_ranker", json=True)
    printed = json.loads(capsys.readouterr().out)
    assert printed | {"as_of": None} == final | {"as_of": None}
    cli_experiments.report("home_ranker")
    text = capsys.readouterr().out
    assert "no test of the margin is possible yet" in text
    assert "Verdict: no decision" in text
    cli_experiments.start("home_ranker")
    assert capsys.readouterr().out == "home_ranker is running\n"
    cli_experiments.list_experiments(json=True)
    (listed,) = json.loads(capsys.readouterr().out)["items"]
    assert (listed["key"], listed["status"]) == ("home_ranker", "running")


def test_no_experiment_runs_in_a_new_shop_until_it_is_started(tmp_path):
    with TestClient(create_app(make_settings(tmp_path / "home"))) as client:
        experiments = client.app.state.server.experiments.current
    assert experiments and not any(experiment.running for experiment in experiments.values())


def test_an_arm_that_training_measured_as_clearly_worse_is_asked_for_twice(served):
    client, service = served.client, served.server.experiments
    metrics = {"policy_champion": 0.157, "policy_buy_again": 0.027, "policy_buy_again_p": 0.001}
    version = served.server.registry.find_champion("recommendations")
    service.models = replace(
        service.models, find_champion=lambda: replace(version, metrics=metrics)
    )
    start = "/v1/experiments/home_ranker/start"
    client.post("/v1/experiments/home_ranker/stop")
    refused = client.post(start)
    assert refused.status_code == 409
    assert "'buy_again' is clearly worse" in refused.json()["detail"]
    assert "0.027 against 0.157" in refused.json()["detail"]
    assert not service.get("home_ranker").running
    assert client.post(start, params={"accept_worse": True}).json()["status"] == "running"


@pytest.mark.parametrize(
    ("value", "p_value"),
    [(0.15, 0.001), (0.1, 0.2), (0.17, 0.001)],
    ids=["a little worse", "worse by chance", "better"],
)
def test_other_arms_start_at_once(served, value, p_value):
    metrics = {"policy_champion": 0.157, "policy_buy_again": value, "policy_buy_again_p": p_value}
    version = served.server.registry.find_champion("recommendations")
    service = served.server.experiments
    service.models = replace(
        service.models, find_champion=lambda: replace(version, metrics=metrics)
    )
    served.server.experiments.refuse_worse_arms("home_ranker")
