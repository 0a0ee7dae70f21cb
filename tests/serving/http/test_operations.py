"""What stands before every route: health, keys, limits, errors and metrics."""

import asyncio
import json
import os
import subprocess
import sys
import threading

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from serving.access import SCOPES
from serving.app import create_app
from serving.cli.main import app as command_line
from serving.cli.serve import _share_counters
from serving.http.limits import Limits
from serving.http.metrics import SHARED_COUNTERS, Metrics
from serving.keys.service import KeyService
from tests.shops.folders import EVENT, ITEMS, write_csv
from tests.shops.served_shop import (
    make_settings,
)


def test_a_ready_server_names_what_it_serves(shared):
    assert shared.client.get("/healthz").json() == {"status": "alive"}
    answer = shared.client.get("/readyz")
    assert answer.json() == {
        "status": "ready",
        "serves": ["recommendations", "forecasts"],
        "models": {"recommendations": "1", "demand": "1"},
    }


def test_a_server_without_anything_starts_and_names_what_is_missing(tmp_path):
    app = create_app(make_settings(tmp_path / "home"))
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


def test_a_shop_with_prices_alone_is_ready_and_says_what_it_has_no_model_for(tmp_path, monkeypatch):
    settings = make_settings(tmp_path / "home")
    monkeypatch.setenv("SHOPWRIGHT_HOME", str(settings.home))
    monkeypatch.setenv("SHOPWRIGHT_CURRENCY", settings.currency)
    write_csv(tmp_path / "items.csv", ITEMS)
    write_csv(tmp_path / "events.csv", [EVENT])
    imported = CliRunner().invoke(command_line, ["import", str(tmp_path)], catch_exceptions=False)
    assert imported.exit_code == 0
    with TestClient(create_app(settings)) as client:
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (200, "ready")
        assert ready.json()["models"] == {}
        assert ready.json()["serves"] == ["prices"]
        assert set(ready.json()["missing"]) == {"recommendations", "demand", "features"}
        assert "shopwright train demand" in ready.json()["missing"]["demand"]
    wanting = settings.model_copy(update={"serves": ("prices", "forecasts")})
    with TestClient(create_app(wanting)) as client:
        ready = client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["missing"].keys() == {"demand"}


def test_a_shop_with_models_waits_for_the_prices_that_must_be_there(tiny):
    for serves, missing in ((("recommendations", "prices"), {"prices"}), (("forecasts",), None)):
        app = create_app(tiny.model_copy(update={"serves": serves}))
        with TestClient(app) as client:
            ready = client.get("/readyz")
            assert ready.status_code == (503 if missing else 200)
            assert ready.json().get("missing", {}).keys() == (missing or set())


def test_a_draining_server_is_not_ready_but_answers(served):
    served.server.readiness.draining = True
    assert served.client.get("/readyz").status_code == 503
    assert served.client.get("/healthz").status_code == 200
    assert served.client.get("/v1/recommendations?placement=home").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nope", 404),
        ("DELETE", "/v1/events", 405),
        ("POST", "/v1/rank", 422),
        ("GET", "/v1/prices", 422),
    ],
)
def test_every_error_is_a_problem(shared, method, path, status):
    answer = shared.client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert {"type", "title", "detail"} <= set(answer.json())


def test_a_key_is_required(shared):
    answer = shared.client.get("/v1/models", headers={"Authorization": "Bearer nonsense"})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_an_unexpected_error_is_a_problem_too(served, monkeypatch):
    def broken():
        raise RuntimeError("boom")

    monkeypatch.setattr(served.server.served_models, "recommender", broken)
    client = TestClient(
        served.app, raise_server_exceptions=False, headers=dict(served.client.headers)
    )
    answer = client.get("/v1/recommendations?placement=home")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "boom" not in answer.text


@pytest.mark.parametrize(
    "error",
    [
        sa.exc.TimeoutError("QueuePool limit reached"),
        sa.exc.OperationalError("SELECT 1", {}, Exception("gone")),
    ],
)
def test_a_database_that_does_not_answer_is_not_our_fault(served, monkeypatch, error):
    def silent(*_arguments, **_named):
        raise error

    monkeypatch.setattr(served.server.served_models, "recommender", silent)
    client = TestClient(
        served.app, raise_server_exceptions=False, headers=dict(served.client.headers)
    )
    answer = client.get("/v1/recommendations?placement=home")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"


@pytest.mark.parametrize(("n_events", "is_large"), [(1, False), (900, True)])
def test_a_large_body_is_read_away_from_the_event_loop(shared, monkeypatch, n_events, is_large):
    readers = []
    loads = json.loads

    def note_thread(text):
        if '"events":' in str(text[:20]):
            readers.append(threading.current_thread().name)
        return loads(text)

    monkeypatch.setattr("serving.http.bodies.json.loads", note_thread)
    bad = {"event_type": "nothing", "item_id": "x" * 1_000}
    answer = shared.client.post("/v1/events", json={"events": [bad] * n_events})
    assert len(answer.json()["rejected"]) == n_events
    assert [name.startswith("asyncio_") for name in readers] == [is_large]


def test_a_request_without_a_key_is_refused_before_its_body_is_read(shared):
    answer = shared.client.post("/v1/events", content=b"[" * 1_000, headers={"Authorization": ""})
    assert answer.status_code == 401
    too_large = {"Content-Length": "5000000", "Authorization": ""}
    assert shared.client.post("/v1/events", content=b"", headers=too_large).status_code == 401
    shared_key = {"Content-Length": "5000000"}
    assert shared.client.post("/v1/events", content=b"", headers=shared_key).status_code == 413


def test_requests_beyond_the_limit_are_refused_at_once():
    async def scenario():
        release = asyncio.Event()

        async def slow(_scope, _receive, send):
            await release.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        limits = Limits(slow, max_inflight=1, request_seconds=5, metrics=Metrics())

        async def request(path="/docs"):
            sent = []

            async def receive():
                return {"type": "http.request", "body": b"", "more_body": False}

            async def send(message):
                sent.append(message)

            await limits(
                {"type": "http", "method": "GET", "path": path, "headers": []}, receive, send
            )
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
    assert (
        'shopwright_requests_total{method="GET",route="/v1/recommendations",status="200"}' in text
    )
    assert 'shopwright_model_info{name="recommendations",version="1"} 1.0' in text


WORKER = """
import sys
from pathlib import Path
from serving.http.metrics import Metrics
metrics = Metrics(Path(sys.argv[1]))
metrics.events.labels("accepted").inc(2)
for version in ("1", "2"):
    metrics.observe(
        exposures_waiting=3,
        exposures_dropped=1,
        served_versions={"demand": version},
        faults={"features": version == "1"},
    )
text = metrics.text().decode()
metrics.close()
print(text)
"""


def test_each_of_several_workers_reports_the_counts_of_all(tmp_path, monkeypatch):
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "counter_1.db").write_bytes(b"of an earlier start")
    monkeypatch.setenv(SHARED_COUNTERS, "")  # restored afterwards
    _share_counters(tmp_path)
    assert os.environ[SHARED_COUNTERS] == str(tmp_path / "metrics")
    assert list((tmp_path / "metrics").iterdir()) == []
    texts = [
        subprocess.run(
            [sys.executable, "-c", WORKER, str(tmp_path)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for _ in range(2)
    ]
    assert 'shopwright_events_total{outcome="accepted"} 4.0' in texts[1]
    assert "shopwright_exposures_dropped 2.0" in texts[1]
    assert (
        "shopwright_exposures_waiting 3.0" in texts[1]
    )  # the first worker is gone, and what waited in it
    assert 'shopwright_model_info{name="demand",version="1"} 0.0' in texts[1]
    assert 'shopwright_model_info{name="demand",version="2"} 1.0' in texts[1]
    assert 'shopwright_fault{part="features"} 0.0' in texts[1]


def test_serving_imports_nothing_of_training(tmp_path):
    code = (
        "import sys\n"
        "from serving.app import create_app_from_environment\n"
        "create_app_from_environment()\n"
        "heavy = ('training', 'matplotlib', 'mlflow', 'feast', 'duckdb', 'ibis', 'torch')\n"
        "heavy += ('statsforecast', 'lightgbm', 'sklearn', 'pandas', 'implicit', 'scipy.stats')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.strip() == "[]"
