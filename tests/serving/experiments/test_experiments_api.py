"""Experiments over HTTP: started, stopped, assigned, and their results."""

import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from fastapi.testclient import TestClient

from features.contracts.errors import Conflict
from features.database import transaction
from serving.app import create_app
from serving.cli import experiments as cli_experiments
from tests.shops.served_shop import make_settings


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


def test_two_experiments_never_run_on_one_placement(tmp_path, tiny):
    app = create_app(tiny)
    with TestClient(app) as client:
        experiments = client.app.state.server.experiments
        shipped = experiments.current["home_ranker"]
        experiments._defined = {
            "home_ranker": shipped,
            "other": replace(shipped, key="other", status="stopped"),
        }
        with (
            pytest.raises(Conflict, match="home_ranker"),
            transaction(client.app.state.server.engine) as connection,
        ):
            experiments.switch(connection, "other", "running", actor="k")


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
