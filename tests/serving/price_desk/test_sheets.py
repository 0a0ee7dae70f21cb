"""The queue and the ledger as files, over HTTP and on the command line."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from types import SimpleNamespace

import openpyxl
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from configs.settings import Settings
from configs.zone_settings import ZoneSettings
from features.contracts.errors import BadInput, UnknownName
from features.database import transaction
from features.prices.reduction_rule import PLAIN_RULES
from serving.access import Grant
from serving.cli.main import app as command_line
from serving.http.dependencies import provide
from serving.http.errors import add_error_handlers
from serving.http.idempotency import IdempotencyService
from serving.keys.service import KeyService
from serving.people.service import NewPerson, PeopleService
from serving.price_desk import api as price_desk
from serving.price_desk import decisions
from serving.price_desk.decisions import PriceEdit
from serving.price_desk.rollback import roll_back
from serving.price_desk.service import PriceDeskService
from serving.prices import api as prices
from serving.prices.service import PriceService
from tests.shops.clocks import FixedClock
from tests.shops.environment import point_verbs_at
from tests.shops.people import QUICK
from tests.shops.price_desk import (
    NOW,
    SYSTEM_NOW,
    make_decider,
    make_suggestion,
    store_suggestions,
)

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
EFFECT = {"p10": 1.0, "p50": 250.0, "p90": 300.0, "against_keeping": {"p50": 51.6}}


def make_rows():
    """Return milk with a known cost, and wine whose title begins like a formula."""
    milk = make_suggestion(
        "milk",
        119,
        title="Milk, 1 l",
        expected={"units": EFFECT, "profit": EFFECT},
        details={
            "unit_cost_minor": 50.0,
            "cost_source": "known",
            "competitor_price_minor": 115.4,
            "horizon_weeks": 4,
            "flags": ["new item"],
        },
    )
    wine = make_suggestion("wine", 130, title="=HYPERLINK(1)", category="Drinks > Wine")
    return milk, wine


@pytest.fixture
def desk(engine):
    """An application whose prices include 19 % tax, two suggestions, and a reader of both."""
    tax = {"default": ZoneSettings(currency="EUR", prices_include_tax=True, tax_rate=0.19)}
    settings = Settings(currency="EUR", zones=tax)
    clock, system_clock = FixedClock(NOW), FixedClock(SYSTEM_NOW)
    app = FastAPI()
    for router in (prices.router, price_desk.router):
        app.include_router(router)
    add_error_handlers(app)
    keys = KeyService(engine, system_clock)
    provide(
        app,
        keys,
        PriceService(settings, engine, clock, PLAIN_RULES),
        PriceDeskService(settings, engine, clock, system_clock, PLAIN_RULES),
        IdempotencyService(engine, system_clock),
    )
    people = PeopleService(engine, system_clock, QUICK)
    for name, full_name in (("anna", "Anna A"), ("ben", "Ben B")):
        people.create(NewPerson(name, full_name, (Grant("manager"),), None))
    key = keys.create("reader", ["pricing.read"]).key
    reader = TestClient(app, headers={"Authorization": f"Bearer {key}"})
    ids = store_suggestions(engine, *make_rows())
    return SimpleNamespace(engine=engine, reader=reader, ids=ids)


def read_csv(answer):
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))


def read_xlsx(answer):
    assert answer.headers["content-type"] == XLSX
    names, *rows = openpyxl.load_workbook(io.BytesIO(answer.content)).active.iter_rows(
        values_only=True
    )
    return [dict(zip(names, row, strict=True)) for row in rows]


def test_the_queue_has_costs_margins_effects_and_reasons(desk):
    answer = desk.reader.get("/v1/price-suggestions", params={"format": "csv"})
    assert 'filename="price-suggestions.csv"' in answer.headers["content-disposition"]
    milk, wine = read_csv(answer)
    shown = {
        "title": "Milk, 1 l",
        "category": "Food > Dairy",
        "current_price": "1.00",
        "suggested_price": "1.19",
        "change": "0.19",
        "unit_cost": "0.50",
        "cost_source": "known",
        "margin_now": "0.405",  # net of tax: 1 - 0.50 / (1.00 / 1.19)
        "margin_new": "0.5",  # 1 - 0.50 / (1.19 / 1.19)
        "competitor_price": "1.15",
        "units_p50": "250.0",
        "profit_p50": "2.50",
        "profit_gain_p50": "0.52",
        "flags": "new item",
        "reasons": "optimum 1.19",
        "proposed_by": "system",
        "decided_by": "",
    }
    assert {name: milk[name] for name in shown} == shown
    assert wine["title"] == "'=HYPERLINK(1)"
    assert (wine["unit_cost"], wine["margin_now"]) == ("", "")


def test_the_same_comes_as_xlsx_by_accept_and_as_json_without(desk):
    path = "/v1/price-suggestions"
    milk, wine = read_xlsx(desk.reader.get(path, headers={"Accept": XLSX}))
    assert (milk["suggested_price"], milk["margin_new"], milk["decided_at"]) == (1.19, 0.5, None)
    assert wine["title"] == "'=HYPERLINK(1)"
    for accept in ("*/*", "application/json, text/csv", "text/html"):
        assert len(desk.reader.get(path, headers={"Accept": accept}).json()["items"]) == 2
    (only,) = read_csv(
        desk.reader.get(f"{path}?category=Drinks", headers={"Accept": "text/csv;q=0.9, */*"})
    )
    assert only["item_id"] == "wine"


@pytest.mark.parametrize("path", ["/v1/price-suggestions", "/v1/price-changes"])
@pytest.mark.parametrize("paging", ["limit=10", "cursor=1"])
def test_a_file_holds_all_rows_or_none(desk, path, paging):
    answer = desk.reader.get(f"{path}?format=xlsx&{paging}")
    assert answer.status_code == 422
    assert "a file holds all rows" in answer.json()["detail"]
    assert desk.reader.get(f"{path}?format=ods").status_code == 422


def test_more_than_a_page_is_written_and_no_file_is_left(desk, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    rows = [make_suggestion(f"item{number}", 101) for number in range(1_201)]
    store_suggestions(desk.engine, *rows)
    answer = desk.reader.get("/v1/price-suggestions?format=csv")
    assert len(read_csv(answer)) == 1_203
    assert answer.headers["content-length"] == str(len(answer.content))
    assert list(tmp_path.glob("shopwright-*")) == []


def test_the_ledger_names_who_proposed_decided_and_rolled_back(desk):
    milk, _ = desk.ids
    with transaction(desk.engine) as connection:
        decisions.edit(connection, make_decider("anna"), milk, PriceEdit("1.20"))
        decider = make_decider("ben", reason="agreed")
        change = decisions.approve(connection, decider, milk).price_id
        undone = roll_back(connection, make_decider("anna", 1, "complaints"), change)
    rows = read_csv(desk.reader.get("/v1/price-changes", headers={"Accept": "text/csv"}))
    by_id = {row["price_id"]: row for row in rows}
    approved, restored = by_id[change], by_id[undone.price_id]
    assert (approved["title"], approved["offer_price"]) == ("Milk, 1 l", "1.20")
    assert (approved["decided_by"], approved["reason"]) == ("Ben B", "agreed")
    assert (restored["source"], restored["reverts"]) == ("rollback", change)
    assert (restored["decided_by"], restored["reason"]) == ("Anna A", "complaints")
    assert [row["decided_by"] for row in rows[:2]] == ["", ""]  # the opening prices
    later = desk.reader.get(f"/v1/price-changes?format=xlsx&after={restored['seq']}")
    assert read_xlsx(later) == []
    (edited, _) = read_csv(desk.reader.get("/v1/price-suggestions?format=csv"))
    assert (edited["edited_by"], edited["decided_by"]) == ("Anna A", "Ben B")


def test_the_command_line_writes_both(engine, settings, monkeypatch, tmp_path):
    store_suggestions(engine, *make_rows())
    point_verbs_at(monkeypatch, settings, NOW.isoformat())

    def run(*arguments):
        result = CliRunner().invoke(command_line, ["prices", *arguments])
        if result.exception:
            raise result.exception
        return result.stdout

    queue, ledger = tmp_path / "queue.xlsx", tmp_path / "ledger.csv"
    done = json.loads(run("queue", "--out", str(queue), "--category", "Food", "--json"))
    assert done == {"rows": 1, "file": str(queue)}
    assert openpyxl.load_workbook(queue).active["C2"].value == "milk"
    assert run("changes", "--out", str(ledger)) == f"2 price changes in {ledger}\n"
    assert ledger.read_text(encoding="utf-8-sig").startswith("seq,item_id,title")
    with pytest.raises(BadInput, match=r"\.csv or \.xlsx"):
        run("queue", "--out", str(tmp_path / "queue.txt"))
    with pytest.raises(UnknownName, match="Did you mean 'submitted'"):
        run("queue", "--out", str(queue), "--status", "submited")
