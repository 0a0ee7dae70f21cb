"""A run whose guards trip waits for an analyst: filed, submitted and approved over HTTP."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pyarrow as pa
import pytest
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient

from features.contracts.errors import ShopwrightError
from features.contracts.tables import TABLES
from features.database import transaction
from features.prices.ledger import Ledger
from features.prices.reduction_rule import PLAIN_RULES
from serving.audit import api as audit
from serving.audit.service import AuditService
from serving.cli import prices as prices_cli
from serving.http.dependencies import provide
from serving.http.idempotency import IdempotencyService
from serving.keys.service import KeyService
from serving.price_desk import api as price_desk
from serving.price_desk.service import PriceDeskService
from serving.price_desk.suggest import suggest_prices
from tests.shops.clocks import SYSTEM_CLOCK, FixedClock
from tests.shops.price_desk import NOW, make_opening_price
from tests.shops.three_items import make_forecasts, make_inputs, make_responses

ITEMS = [f"item {number:02}" for number in range(60)]


@pytest.fixture
def held(three_items):
    """Sixty items that cost .70, whose best prices all lie 6.7 % lower."""
    facts, engine, _ = three_items
    rows = [{"item_id": item, "unit_cost_minor": 70} for item in ITEMS]
    facts.write({"items": pa.Table.from_pylist(rows, TABLES["items"].arrow)})
    with transaction(engine) as connection:
        Ledger(connection).append([make_opening_price(item) for item in ITEMS])
    inputs = make_inputs(three_items, make_forecasts(*ITEMS), make_responses(*ITEMS))
    return suggest_prices(inputs, SYSTEM_CLOCK)


@pytest.fixture
def connect(three_items):
    """Return clients by scope."""
    _, engine, settings = three_items
    app = FastAPI()
    app.include_router(price_desk.router)
    app.include_router(audit.router)
    app.add_exception_handler(
        ShopwrightError,
        lambda _, error: JSONResponse({"detail": str(error)}, status_code=error.status),
    )
    clock = FixedClock(NOW)
    keys = KeyService(engine, SYSTEM_CLOCK)
    provide(
        app,
        keys,
        PriceDeskService(settings, engine, clock, SYSTEM_CLOCK, PLAIN_RULES),
        AuditService(engine),
        IdempotencyService(engine, SYSTEM_CLOCK),
    )

    def client(*scopes):
        key = keys.create(scopes[0], scopes).key
        return TestClient(app, headers={"Authorization": f"Bearer {key}"})

    return client


def test_a_run_that_only_cuts_is_filed_for_an_analyst_with_its_reasons(held, connect):
    assert held.status == "suggested"
    assert held.n_suggested == 60
    one_way, move = held.held
    assert one_way == "60 of 60 suggestions lower the price (max_share_one_way is 0.9)"
    assert move.startswith("prices would move by -")
    client = connect("pricing.read", "audit.read")
    listed = client.get("/v1/price-suggestions", params={"status": "submitted"}).json()
    assert listed["items"] == []
    (first, *_) = client.get("/v1/price-suggestions", params={"run_id": held.run_id}).json()[
        "items"
    ]
    assert first["status"] == "suggested"
    detail = client.get(f"/v1/price-suggestions/{first['id']}").json()
    assert detail["details"]["held"] == list(held.held)
    (entry,) = client.get("/v1/audit", params={"subject_id": held.run_id}).json()["items"]
    assert entry["details"]["status"] == "suggested"
    assert entry["details"]["held"] == list(held.held)


def test_what_is_held_cannot_be_approved_until_an_analyst_submits_it(held, connect):
    approver, analyst = connect("pricing.approve"), connect("pricing.propose", "audit.read")
    chosen = {"filter": {"run_id": held.run_id}}
    bulk = {**chosen, "action": "approve", "expected_matched": 60}
    assert approver.post("/v1/price-suggestions/bulk", json=bulk).status_code == 409
    assert approver.post("/v1/price-suggestions/submit", json=chosen).status_code == 403
    wrong = {**chosen, "expected_matched": 59}
    assert analyst.post("/v1/price-suggestions/submit", json=wrong).status_code == 409
    answer = analyst.post(
        "/v1/price-suggestions/submit", json={**chosen, "reason": "costs fell"}
    ).json()
    assert answer == {"matched": 60, "changed": 60, "refused": []}
    listed = analyst.get("/v1/price-suggestions", params={"status": "submitted"}).json()["items"]
    log = analyst.get("/v1/audit", params={"subject_id": listed[0]["id"]}).json()["items"]
    assert [(entry["action"], entry["details"]["reason"]) for entry in log] == [
        ("submit", "costs fell")
    ]
    approved = approver.post("/v1/price-suggestions/bulk", json=bulk).json()
    assert approved == {"matched": 60, "changed": 60, "refused": []}
    again = analyst.post("/v1/price-suggestions/submit", json=chosen).json()
    assert again == {"matched": 0, "changed": 0, "refused": []}


def test_one_suggestion_is_submitted_at_the_version_that_was_read(held, connect):
    analyst = connect("pricing.propose")
    first = analyst.get("/v1/price-suggestions", params={"run_id": held.run_id}).json()["items"][0]
    path = f"/v1/price-suggestions/{first['id']}/submit"
    assert analyst.post(path, headers={"If-Match": '"7"'}).status_code == 412
    submitted = analyst.post(path, headers={"If-Match": '"1"'}).json()
    assert (submitted["status"], submitted["proposed_by"]) == ("submitted", "system")
    assert analyst.post(path).status_code == 409  # it is submitted already


@pytest.fixture
def submit_run(three_items, monkeypatch, capsys):
    """Return `shopwright prices submit RUN --json`, under the settings of the shop or others."""
    _, engine, shop_settings = three_items

    def submit(run_id, settings=shop_settings):
        shop = SimpleNamespace(
            engine=engine, settings=settings, clock=FixedClock(NOW), system_clock=SYSTEM_CLOCK
        )
        monkeypatch.setattr(prices_cli, "Shop", lambda: shop)
        prices_cli.submit(run_id, reason="checked", json=True)
        return json.loads(capsys.readouterr().out)

    return submit


def test_the_command_line_prints_the_reasons_first_and_submits_a_run(held, submit_run, capsys):
    prices_cli.print_suggestions(held)
    first, second, third, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("Held back: 60 of 60 suggestions lower the price")
    assert second.startswith("Held back: prices would move")
    assert f"shopwright prices submit {held.run_id}" in third
    document = prices_cli.report_document(held)
    assert (document["status"], list(document["held"])) == ("suggested", list(held.held))
    printed = submit_run(held.run_id)
    assert printed == {"run_id": held.run_id, "matched": 60, "changed": 60}


def test_the_command_line_submits_nothing_that_breaks_a_rule_of_today(
    held, three_items, submit_run, tmp_path
):
    _, _, settings = three_items
    rules = tmp_path / "configs" / "pricing" / "default.yaml"
    rules.parent.mkdir(parents=True)
    rules.write_text("endings: []\nmax_change: 0.05\nmin_margin: 0.0\n")
    stricter = settings.model_copy(update={"config_dir": tmp_path / "configs"})
    printed = submit_run(held.run_id, stricter)
    assert (printed["matched"], printed["changed"], len(printed["refused"])) == (60, 0, 60)
    assert "the nearest price is 0.95" in printed["refused"][0]["reason"]
    rules.write_text("endings: []\nmax_change: 0.2\nmin_margin: 0.0\n")
    assert submit_run(held.run_id, stricter)["changed"] == 60


def test_the_command_line_submits_no_item_off_sale(held, three_items, submit_run):
    facts, _, _ = three_items
    items = facts.read("items").to_pyarrow()
    status = ["archived" if key == ITEMS[0] else None for key in items["item_id"].to_pylist()]
    position = items.column_names.index("status")
    facts.write({"items": items.set_column(position, items.schema.field("status"), [status])})
    printed = submit_run(held.run_id)
    assert (printed["matched"], printed["changed"]) == (60, 59)
    assert "off sale" in printed["refused"][0]["reason"]
