"""Health, limits, errors, metrics, forecasts, models and experiments over HTTP."""

import asyncio
import os
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pyarrow as pa
import pytest
import sqlalchemy as sa
import uvicorn
from fastapi.testclient import TestClient
from scipy import stats
from typer.testing import CliRunner

from features.contracts.errors import Conflict
from features.database import reading, transaction
from features.prices.ledger import Ledger
from models.demand.lookup import ForecastTable
from serving.app import create_app
from serving.audit.repository import AuditFilter, AuditRecords
from serving.cli import train
from serving.cli.main import app as command_line
from serving.cli.serve import _share_counters, run_server
from serving.cli.shop import Shop
from serving.cli.train import train_one
from serving.forecasts.service import ForecastService, Freq
from serving.http.limits import Limits
from serving.http.metrics import SHARED_COUNTERS, Metrics
from serving.keys.service import SCOPES, KeyService
from serving.price_desk.repository import Suggestions
from tests.shops.clocks import FixedClock
from tests.shops.price_desk import FixedModels, suggestion
from tests.shops.served_shop import (
    NOW,
    add_price_response,
    daily_forecasts,
    price,
    running,
    settings_of,
    weekly_forecasts,
)


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


def test_keys_are_asked_for(shared):
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
        exposures_waiting=3, exposures_dropped=1, served_versions={"demand": version}
    )
text = metrics.text().decode()
metrics.close()
print(text)
"""


def test_any_of_several_workers_tells_the_counts_of_all(tmp_path, monkeypatch):
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "counter_1.db").write_bytes(b"of an earlier start")
    monkeypatch.setenv(SHARED_COUNTERS, "")  # given back afterwards
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
    monkeypatch.setattr(
        "features.online.materialize.materialize", lambda _f, _s, as_of, **_: instants.append(as_of)
    )
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
    both = 11 + 12
    p10, p50, p90 = (
        stats.nbinom.ppf(level, 1 / 0.15, 1 / (1 + 0.15 * both)) for level in (0.1, 0.5, 0.9)
    )
    assert answer["total"] == {"mean": both, "p10": p10, "p50": p50, "p90": p90}
    one = shared.client.get("/v1/forecasts/milk?horizon=1").json()
    assert one["weeks"] == [{"week_start": "2018-01-01T05:00:00Z", **one["total"]}]
    assert shared.client.get("/v1/forecasts/nope").status_code == 404
    assert shared.client.get("/v1/forecasts/milk?horizon=99").status_code == 422
    assert (
        shared.client.get("/v1/forecasts/milk?horizn=1").json()["hint"] == "Did you mean 'horizon'?"
    )
    assert shared.client.get("/v1/forecasts/milk?user_id=u00").status_code == 422


def test_a_dense_item_is_also_forecast_by_day(shared):
    answer = shared.client.get("/v1/forecasts/milk?freq=D").json()
    assert answer["weeks"] == []
    assert answer["total"] is None
    assert len(answer["days"]) == 28
    first, last = answer["days"][0], answer["days"][-1]
    assert (first["day_start"], last["day_start"]) == (
        "2018-01-01T05:00:00Z",
        "2018-01-28T05:00:00Z",
    )
    assert (first["mean"], last["p90"]) == pytest.approx((11 / 7, 2 * 14 / 7))
    refused = shared.client.get("/v1/forecasts/beer?freq=D")
    assert refused.status_code == 404
    assert "too few days" in refused.json()["detail"]
    assert "freq=W" in refused.text
    assert (
        "no forecast for item 'nope'"
        in shared.client.get("/v1/forecasts/nope?freq=D").json()["detail"]
    )
    assert shared.client.get("/v1/forecasts/milk?freq=H").status_code == 422


def test_a_horizon_beyond_what_was_foretold_is_refused_and_not_cut(shared):
    assert len(shared.client.get("/v1/forecasts/milk?horizon=13").json()["weeks"]) == 13
    refused = shared.client.get("/v1/forecasts/milk?horizon=14")
    assert refused.status_code == 422
    assert "reach 13 weeks ahead, 14 were asked for" in refused.json()["detail"]
    assert "horizon" in refused.text and "shopwright train demand" in refused.text
    assert len(shared.client.get("/v1/forecasts/milk?horizon=91&freq=D").json()["days"]) == 91


def test_days_begin_with_today_and_end_with_the_table():
    table = ForecastTable(daily_forecasts(), timedelta(days=1))
    night = NOW + timedelta(days=3, hours=23, minutes=59)
    assert table.look_up("milk", "default", 1, night)[0].start == NOW + timedelta(days=3)
    assert table.look_up("milk", "default", 1, NOW + timedelta(days=4))[0].start == NOW + timedelta(
        days=4
    )
    end = NOW + timedelta(weeks=13)
    assert len(table.look_up("milk", "default", 5, end - timedelta(hours=1))) == 1
    assert table.look_up("milk", "default", 5, end) == []


def test_a_forecast_follows_a_price_approved_in_a_shop_without_a_price_history(tiny):
    add_price_response(tiny, milk=-2.0)
    with closing(running(tiny)) as shops:
        here = next(shops)
        # The ledger opens after the training, with what the price was in the sales that it learnt
        # from.
        opened = price("milk", 100, days=0)
        with transaction(here.server.engine) as connection:
            Ledger(connection).append([opened])
            (key,) = Suggestions(connection).add(
                [suggestion("milk", 110, base=opened.content_id())]
            )
        before = here.client.get("/v1/forecasts/milk?horizon=2").json()
        assert before["price_adjustment"] is None
        assert here.client.post(f"/v1/price-suggestions/{key}/approve", json={}).status_code == 200
        after = here.client.get("/v1/forecasts/milk?horizon=2").json()
        adjustment = after["price_adjustment"]
        assert (adjustment["price_then"], adjustment["price_now"], adjustment["currency"]) == (
            "1.00",
            "1.10",
            "EUR",
        )
        assert adjustment["elasticity"] == -2
        assert adjustment["factor"] == pytest.approx((110 / 100) ** -2)
        assert adjustment["week_factors"] == pytest.approx([(110 / 100) ** -2] * 2)
        means = [week["mean"] for week in after["weeks"]]
        assert means == pytest.approx([11 * 1.1**-2, 12 * 1.1**-2])
        moved = {name: value * 1.1**-2 for name, value in before["total"].items()}
        assert after["total"] == pytest.approx(moved)


def test_only_the_weeks_whose_price_differs_from_the_plan_are_adjusted(served):
    week = timedelta(weeks=1)
    table = ForecastTable(
        weekly_forecasts().append_column("price_minor", pa.array([100.0] * 2 * 42))
    )
    promotion = replace(price("milk", 50, days=7), valid_to=NOW + 2 * week)
    with transaction(served.server.engine) as connection:
        Ledger(connection).append(
            [price("milk", 90, days=-300), price("milk", 100, days=-30), promotion]
        )

    def service(elasticity, now=NOW):
        models = FixedModels(table, elasticity)
        return ForecastService(served.settings, served.server.engine, FixedClock(now), models)

    found = service(-1.0).forecast_item("milk", "default", 3)
    assert found.adjustment.week_factors == pytest.approx((1, 2, 1))  # (50 / 100) ** -1
    assert (found.adjustment.price_then_minor, found.adjustment.price_now_minor) == (100, 50)
    assert [each.mean for each in found.periods] == pytest.approx([11, 2 * 12, 13])
    by_day = ForecastTable(daily_forecasts(), timedelta(days=1))
    table.daily = by_day
    days = service(-1.0).forecast_item("milk", "default", 16, Freq.DAY)
    assert [each.mean for each in days.periods] == pytest.approx(
        [11 / 7] * 7 + [2 * 12 / 7] * 7 + [13 / 7] * 2
    )
    later = service(None, NOW + 3 * week).forecast_item("milk", "default", 1)
    assert later.adjustment is None


def test_models_are_listed_and_promotions_are_audited(served):
    items = served.client.get("/v1/models").json()["items"]
    assert [(each["name"], each["version"], each["served"]) for each in items] == [
        ("recommendations", "2", False),
        ("recommendations", "1", True),
        ("demand", "1", True),
    ]
    assert (
        served.client.post("/v1/models/recommendations/promote", json={"version": "9"}).status_code
        == 404
    )
    assert served.client.post("/v1/models/nope/promote", json={"version": "1"}).status_code == 422
    assert served.client.post("/v1/models/demand/rollback").status_code == 409
    headers = {"Idempotency-Key": "k"}
    for _ in range(2):
        done = served.client.post(
            "/v1/models/recommendations/promote", json={"version": "2"}, headers=headers
        )
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
    actions = [
        deed["action"]
        for deed in served.client.get("/v1/audit?subject_id=home_ranker").json()["items"]
    ]
    assert actions == ["stop", "start"]
    assert served.client.post("/v1/experiments/nope/start").status_code == 404


def test_two_experiments_never_run_on_one_placement(tmp_path, tiny):
    desk = create_app(tiny)
    with TestClient(desk) as client:
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
    assert sum(each["n"] for each in variants) == 4
    assert answer.json()["currency"] == "EUR"
    revenue = [
        each["n"] * float(each["metrics"]["revenue_per_unit"]["mean"])
        for each in variants
        if each["n"]
    ]
    buyers = [
        each["n"] * each["metrics"]["purchase_conversion"]["mean"] for each in variants if each["n"]
    ]
    assert (sum(revenue), sum(buyers)) == (pytest.approx(12.5, abs=0.001), pytest.approx(1))
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
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.strip() == "[]"


def test_the_command_line_and_the_gate_leave_deeds(tiny, monkeypatch):
    monkeypatch.setenv("SHOPWRIGHT_HOME", str(tiny.home))
    monkeypatch.setenv("SHOPWRIGHT_CLOCK_START", NOW.isoformat())
    for arguments in (("promote", "recommendations", "2"), ("rollback", "recommendations")):
        assert (
            CliRunner()
            .invoke(command_line, ["models", *arguments], catch_exceptions=False)
            .exit_code
            == 0
        )

    def train(run, task, *_, **__):
        return SimpleNamespace(
            verdict=SimpleNamespace(promote=True), version=run.registry.promote(task.name, "2")
        )

    monkeypatch.setattr("training.run.TrainingRun.train", train)
    shop = Shop()
    train_one(shop, "recommendations", SimpleNamespace(say=print, done=lambda: None))
    with reading(shop.engine) as connection:
        deeds = AuditRecords(connection).page(AuditFilter(subject_id="recommendations"))
    assert [(deed.actor, deed.action, deed.details) for deed in deeds] == [
        ("operator", "promote", {"version": "2", "before": "1"}),
        ("operator", "rollback", {"version": "1", "before": "2"}),
        ("system", "promote", {"version": "2", "before": "1"}),
    ]
