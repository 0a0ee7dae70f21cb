"""Health, limits, errors, metrics, forecasts, models and experiments over HTTP."""

import asyncio
import os
import subprocess
import sys
from datetime import timedelta
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
import uvicorn
from fastapi.testclient import TestClient

from features.contracts.errors import Conflict
from features.store.database import transaction
from features.store.ledger import Ledger
from serving.api.limits import Limits
from serving.api.metrics import SHARED_COUNTERS, Metrics
from serving.app import create_app
from serving.cli import train
from serving.cli.serve import _count_together, run_server
from serving.services.forecast import forecast
from serving.services.keys import SCOPES, KeyService
from tests.serving.tiny_shop import NOW, price, settings_of


def test_a_ready_server_names_what_it_serves(shared):
    assert shared.client.get("/healthz").json() == {"status": "alive"}
    answer = shared.client.get("/readyz")
    assert answer.json() == {"status": "ready", "models": {"recommendations": "1", "demand": "1"}}


def test_a_server_without_anything_starts_and_says_what_is_missing(tmp_path):
    app = create_app(settings_of(tmp_path / "home"))
    with TestClient(app) as client:
        ready = client.get("/readyz")
        assert ready.status_code == 503
        assert set(ready.json()["missing"]) == {"recommendations", "demand", "features"}
        assert "shopwright train demand" in ready.json()["detail"]
        server = app.state.server
        key = KeyService(server.engine, server.system_clock).create("k", SCOPES).key
        client.headers["Authorization"] = f"Bearer {key}"
        for answer in (
            client.post("/v1/recommendations", json={"placement": "home"}),
            client.get("/v1/forecasts/milk"),
        ):
            assert answer.status_code == 503
            assert answer.headers["Retry-After"]
            assert "try: shopwright train" in answer.json()["detail"]
        assert client.post("/v1/events", json={"events": []}).status_code == 202


def test_a_draining_server_is_not_ready_but_answers(served):
    served.server.draining = True
    assert served.client.get("/readyz").status_code == 503
    assert served.client.get("/healthz").status_code == 200
    assert served.client.get("/v1/recommendations?placement=home").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nope", 404), ("DELETE", "/v1/events", 405), ("POST", "/v1/rank", 422), ("GET", "/v1/prices", 422)],
)
def test_every_error_is_a_problem(shared, method, path, status):
    answer = shared.client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert {"type", "title", "detail"} <= set(answer.json())


def test_keys_are_asked_for(shared):
    answer = shared.client.get("/v1/models", headers={"Authorization": "Bearer nonsense"})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_an_unexpected_error_is_a_problem_too(served, monkeypatch):
    def broken():
        raise RuntimeError("boom")

    monkeypatch.setattr(served.server.champions, "recommender", broken)
    client = TestClient(served.app, raise_server_exceptions=False, headers=dict(served.client.headers))
    answer = client.get("/v1/recommendations?placement=home")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "boom" not in answer.text


@pytest.mark.parametrize(
    "error",
    [sa.exc.TimeoutError("QueuePool limit reached"), sa.exc.OperationalError("SELECT 1", {}, Exception("gone"))],
)
def test_a_database_that_does_not_answer_is_not_our_fault(served, monkeypatch, error):
    def silent(*_arguments, **_named):
        raise error

    monkeypatch.setattr(served.server.champions, "recommender", silent)
    client = TestClient(served.app, raise_server_exceptions=False, headers=dict(served.client.headers))
    answer = client.get("/v1/recommendations?placement=home")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"


def test_load_beyond_the_limit_is_shed_at_once():
    async def scenario():
        release = asyncio.Event()

        async def slow(_scope, _receive, send):
            await release.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        limits = Limits(slow, max_inflight=1, metrics=Metrics())

        async def request(path="/v1/x"):
            sent = []

            async def receive():
                return {"type": "http.request", "body": b"", "more_body": False}

            async def send(message):
                sent.append(message)

            await limits({"type": "http", "method": "GET", "path": path, "headers": []}, receive, send)
            return sent[0]

        first = asyncio.create_task(request())
        await asyncio.sleep(0)
        refused = await request()
        release.set()
        return refused, await first, await request("/healthz")

    refused, first, health = asyncio.run(scenario())
    assert refused["status"] == 503
    assert (b"retry-after", b"1") in refused["headers"]
    assert first["status"] == health["status"] == 200


def test_metrics_need_a_scope_from_afar_and_none_on_loopback(shared):
    assert shared.client.get("/metrics", headers={"Authorization": ""}).status_code == 401
    near = TestClient(shared.app, client=("127.0.0.1", 1))
    shared.client.get("/v1/recommendations?placement=trending")
    text = near.get("/metrics").text
    assert 'shopwright_requests_total{method="GET",route="/v1/recommendations",status="200"}' in text
    assert 'shopwright_model_info{name="recommendations",version="1"} 1.0' in text


WORKER = """
import sys
from pathlib import Path
from types import SimpleNamespace as Some
from serving.api.metrics import Metrics
metrics = Metrics(Path(sys.argv[1]))
metrics.events.labels("accepted").inc(2)
version = Some(version="1")
metrics.observe(Some(exposures=Some(waiting=3, dropped=1), champions=Some(versions={"demand": version})))
version.version = "2"
metrics.observe(Some(exposures=Some(waiting=3, dropped=1), champions=Some(versions={"demand": version})))
text = metrics.text().decode()
metrics.close()
print(text)
"""


def test_any_of_several_workers_tells_the_counts_of_all(tmp_path, monkeypatch):
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "counter_1.db").write_bytes(b"of an earlier start")
    monkeypatch.setenv(SHARED_COUNTERS, "")  # given back afterwards
    _count_together(tmp_path)
    assert os.environ[SHARED_COUNTERS] == str(tmp_path / "metrics")
    assert list((tmp_path / "metrics").iterdir()) == []
    texts = [
        subprocess.run([sys.executable, "-c", WORKER, str(tmp_path)], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert 'shopwright_events_total{outcome="accepted"} 4.0' in texts[1]
    assert "shopwright_exposures_dropped 2.0" in texts[1]
    assert "shopwright_exposures_waiting 3.0" in texts[1]  # the first worker is gone, and what waited in it
    assert 'shopwright_model_info{name="demand",version="1"} 0.0' in texts[1]
    assert 'shopwright_model_info{name="demand",version="2"} 1.0' in texts[1]


def test_the_demo_says_nothing_on_stdout_beside_its_document(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(uvicorn, "run", lambda *_arguments, **_named: None)
    shop = SimpleNamespace(settings=settings_of(tmp_path))
    run_server(shop, host="127.0.0.1", port=1, workers=1, announce=False)
    assert capsys.readouterr().out == ""
    run_server(shop, host="127.0.0.1", port=1, workers=1)
    assert "listens on http://127.0.0.1:1" in capsys.readouterr().out


def test_retraining_starts_with_features_as_of_the_whole_hour(monkeypatch):
    instants = []
    shop = SimpleNamespace(facts=None, settings=None, now=lambda: NOW + timedelta(minutes=50))
    monkeypatch.setattr(train, "Shop", lambda: shop)
    monkeypatch.setattr(train, "NAMES", ())
    monkeypatch.setattr("features.store.materialize.materialize", lambda _f, _s, as_of, **_: instants.append(as_of))
    train.retrain()
    assert instants == [NOW]


def test_a_forecast_begins_with_this_week(shared):
    answer = shared.client.get("/v1/forecasts/milk?horizon=2").json()
    assert answer["model"] == {"name": "demand", "version": "1"}
    assert answer["price_adjustment"] is None
    # Week 0 of the artifact ended when the clock started.
    assert answer["weeks"] == [
        {"week_start": "2018-01-01T05:00:00Z", "mean": 11.0, "p10": 5.5, "p50": 9.9, "p90": 22.0},
        {"week_start": "2018-01-08T05:00:00Z", "mean": 12.0, "p10": 6.0, "p50": 10.8, "p90": 24.0},
    ]
    assert shared.client.get("/v1/forecasts/nope").status_code == 404
    assert shared.client.get("/v1/forecasts/milk?horizon=99").status_code == 422


def test_a_forecast_follows_a_price_that_changed_since(served):
    with transaction(served.server.engine) as connection:
        Ledger(connection).append([price("milk", 100, days=-30), price("milk", 80, days=-1)])
    table = served.server.champions.forecasts().table
    when = {"made_at": NOW - timedelta(days=7), "now": NOW}
    found = forecast(served.server.engine, table, "milk", "default", 1, elasticity=-2.0, **when)
    # (80 / 100) ** -2 = 1.5625
    assert found.adjustment.factor == pytest.approx(1.5625)
    assert found.weeks[0].mean == pytest.approx(11 * 1.5625)
    kept = forecast(served.server.engine, table, "milk", "default", 1, elasticity=None, **when)
    assert kept.adjustment is None


def test_models_are_listed_and_promotions_are_audited(served):
    items = served.client.get("/v1/models").json()["items"]
    assert [(each["name"], each["version"], each["served"]) for each in items] == [
        ("recommendations", "2", False),
        ("recommendations", "1", True),
        ("demand", "1", True),
    ]
    assert served.client.post("/v1/models/recommendations/promote", json={"version": "9"}).status_code == 404
    assert served.client.post("/v1/models/nope/promote", json={"version": "1"}).status_code == 422
    assert served.client.post("/v1/models/demand/rollback").status_code == 409
    headers = {"Idempotency-Key": "k"}
    for _ in range(2):
        done = served.client.post("/v1/models/recommendations/promote", json={"version": "2"}, headers=headers)
        assert done.status_code == 200
    deeds = served.client.get("/v1/audit?action=promote").json()["items"]
    assert [(deed["subject_id"], deed["details"]) for deed in deeds] == [
        ("recommendations", {"version": "2", "before": "1"})
    ]


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
    actions = [deed["action"] for deed in served.client.get("/v1/audit?subject_id=home_ranker").json()["items"]]
    assert actions == ["stop", "start"]
    assert served.client.post("/v1/experiments/nope/start").status_code == 404


def test_two_experiments_never_run_on_one_placement(tmp_path, tiny):
    from dataclasses import replace

    desk = create_app(tiny)
    with TestClient(desk) as client:
        experiments = client.app.state.server.experiments
        shipped = experiments.current["home_ranker"]
        experiments._defined = {"home_ranker": shipped, "other": replace(shipped, key="other", status="stopped")}
        with pytest.raises(Conflict, match="home_ranker"), transaction(client.app.state.server.engine) as connection:
            experiments.switch(connection, "other", "running", actor="k", at=NOW)


def test_results_count_exposed_units_and_what_they_bought(served):
    for unit in ("u00", "u01", "u02", "u03"):
        served.client.post("/v1/recommendations", json={"placement": "home", "user_id": unit})
    served.server.exposures.close()
    answer = served.client.get("/v1/experiments/home_ranker/results")
    assert answer.status_code == 200
    variants = answer.json()["variants"]
    assert sum(each["n"] for each in variants) == 4
    assert answer.json()["verdict"].startswith("no decision")
    assigned = {
        item["variant"]
        for unit in ("u00", "u01", "u02", "u03")
        for item in served.client.get(f"/v1/assignments?unit_id={unit}").json()["items"]
    }
    assert assigned == {each["name"] for each in variants if each["n"]}


def test_serving_imports_nothing_of_training(tmp_path):
    code = (
        "import sys\n"
        "from serving.app import create_app_from_environment\n"
        "create_app_from_environment()\n"
        "heavy = ('training', 'matplotlib', 'mlflow', 'feast', 'duckdb', 'ibis', 'torch', 'statsforecast')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "[]"
