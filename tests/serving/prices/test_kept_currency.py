"""Amounts are kept in minor units of one currency per zone: another one is refused, at every
door."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from configs.settings import Settings
from features.contracts.errors import BadInput
from features.database import engine as open_engine
from features.database import reading, transaction
from features.prices.currencies import KeptCurrency, keep_currencies, read_database_currencies
from features.prices.ledger import Ledger
from serving.app import create_app
from serving.cli.main import app
from serving.cli.shop import Shop
from serving.keys.service import KeyService
from tests.shops.environment import point_verbs_at

EVENTS = """event_type,occurred_at,item_id,user_id,quantity,unit_price
purchase,2024-05-01T10:00:00Z,s1,u1,1,1980
purchase,2024-05-02T10:00:00Z,s1,u2,2,1980
"""
PRICES = "item_id,valid_from,list_price,offer_price\ns1,2024-04-01T00:00:00Z,1980,1980\n"


@pytest.fixture
def shop(settings, engine, monkeypatch, tmp_path):
    """Runs verbs on a new shop; `folder` has its tables."""
    point_verbs_at(monkeypatch, settings, "2024-06-03T00:00:00Z")
    folder = tmp_path / "tables"
    folder.mkdir()
    (folder / "events.csv").write_text(EVENTS)
    (folder / "items.csv").write_text("item_id,title,list_price\ns1,Sticker,1980\n")
    (folder / "price_history.csv").write_text(PRICES)

    def run(*arguments):
        return CliRunner().invoke(app, [*arguments, "--json"])

    run.folder = str(folder)
    return run


def count_events():
    return Shop().facts.read("events").count().to_pyarrow().as_py()


def test_an_import_under_another_currency_is_refused_and_changes_nothing(shop, monkeypatch):
    assert shop("import", shop.folder).exit_code == 0  # as USD
    monkeypatch.setenv("SHOPWRIGHT_CURRENCY", "JPY")
    refused = shop("import", shop.folder)
    with pytest.raises(BadInput, match=r"kept in USD \(2 digits\).*Set USD for this zone again"):
        raise refused.exception
    with pytest.raises(BadInput, match="kept in USD"):
        count_events()
    checks = json.loads(shop("doctor").stdout)["checks"]
    verdict = next(check for check in checks if check["check"] == "currencies")
    assert not verdict["ok"]
    assert "'default' are kept in USD (2 digits), the settings say JPY" in verdict["says"]
    monkeypatch.setenv("SHOPWRIGHT_CURRENCY", "USD")
    again = json.loads(shop("import", shop.folder).stdout)
    assert {table["unchanged"] for table in again["tables"].values()} == {1, 2}
    assert again["prices_entered"] == {"imported": 0, "catalogue": 0}
    assert count_events() == 2


def test_a_zone_that_gets_another_currency_is_refused_and_a_new_zone_is_not(shop, monkeypatch):
    assert shop("import", shop.folder).exit_code == 0
    monkeypatch.setenv("SHOPWRIGHT_ZONES", '{"north": {"currency": "EUR"}}')
    north = "item_id,zone,valid_from,list_price,offer_price\ns1,north,2024-04-01,9.50,9.50\n"
    (Path(shop.folder) / "price_history.csv").write_text(north)
    assert shop("import", shop.folder).exit_code == 0
    monkeypatch.setenv("SHOPWRIGHT_ZONES", '{"north": {"currency": "JPY"}}')
    with pytest.raises(BadInput, match="zone 'north' are kept in EUR"):
        raise shop("import", shop.folder).exception


def test_a_currency_in_which_events_came_over_http_is_kept_too(shop, engine, monkeypatch):
    event = {
        "event_type": "purchase",
        "occurred_at": "2024-06-01T00:00:00Z",
        "item_id": "s1",
        "unit_price": "1980",
    }
    with TestClient(create_app(Settings())) as client:
        server = client.app.state.server
        key = KeyService(server.engine, server.system_clock).create("shop", ["events"]).key
        answer = client.post(
            "/v1/events", json={"events": [event]}, headers={"Authorization": f"Bearer {key}"}
        )
        assert answer.json()["accepted"] == 1
    monkeypatch.setenv("SHOPWRIGHT_CURRENCY", "JPY")
    with pytest.raises(BadInput, match="kept in USD"):
        raise shop("import", shop.folder).exception
    with pytest.raises(BadInput, match="kept in USD"), TestClient(create_app(Settings())):
        pass


ABROAD = """event_type,occurred_at,item_id,user_id,zone,quantity,unit_price
purchase,2024-05-01T10:00:00Z,s1,u1,,1,1980
purchase,2024-05-03T10:00:00Z,s1,u2,tokyo,2,1980
"""
SENT_ABROAD = {
    "event_type": "purchase",
    "occurred_at": "2024-05-03T10:00:00Z",
    "item_id": "s1",
    "user_id": "u2",
    "zone": "tokyo",
    "quantity": 2,
    "unit_price": 1980,
}
YEN = '{"tokyo": {"currency": "JPY"}}'


def import_abroad(shop):
    (Path(shop.folder) / "events.csv").write_text(ABROAD)
    return shop("import", shop.folder)


def send_abroad(event=SENT_ABROAD):
    with TestClient(create_app(Settings())) as client:
        server = client.app.state.server
        key = KeyService(server.engine, server.system_clock).create("shop", ["events"]).key
        headers = {"Authorization": f"Bearer {key}"}
        answer = client.post("/v1/events", json={"events": [event]}, headers=headers)
        return answer.json()["accepted"]


@pytest.mark.parametrize("door", ["file", "http"])
def test_a_zone_that_nobody_knew_becomes_known_with_its_digits_only(shop, monkeypatch, door):
    """Ids are made of amounts: with other digits the same lines would be other events."""
    monkeypatch.setenv("SHOPWRIGHT_UNKNOWN_ZONES", "default")
    assert shop("import", shop.folder).exit_code == 0
    if door == "file":
        assert import_abroad(shop).exit_code == 0
    else:
        assert send_abroad() == 1
    n_events = count_events()
    assert n_events == 3
    monkeypatch.setenv("SHOPWRIGHT_ZONES", YEN)
    refusal = (
        r"zone 'tokyo' are kept as rows of the zone 'default' in USD \(2 digits\).*"
        r"JPY \(0 digits\).*count twice.*Set USD for this zone"
    )
    with pytest.raises(BadInput, match=refusal):
        raise import_abroad(shop).exception
    with pytest.raises(BadInput, match=refusal):
        send_abroad()
    checks = json.loads(shop("doctor").stdout)["checks"]
    verdict = next(check for check in checks if check["check"] == "currencies")
    assert not verdict["ok"]
    assert "zone 'tokyo'" in verdict["says"]
    monkeypatch.setenv("SHOPWRIGHT_ZONES", '{"tokyo": {"currency": "USD"}}')
    assert import_abroad(shop).exit_code == 0
    assert send_abroad() == 0
    assert count_events() == n_events


def test_a_zone_whose_unknown_rows_were_all_bad_may_have_any_currency(shop, monkeypatch):
    monkeypatch.setenv("SHOPWRIGHT_UNKNOWN_ZONES", "default")
    bad = ABROAD.replace("tokyo,2,1980", "tokyo,0,1980")
    (Path(shop.folder) / "events.csv").write_text(bad)
    assert shop("import", shop.folder, "--max-bad-share", "0.9").exit_code == 0
    monkeypatch.setenv("SHOPWRIGHT_ZONES", YEN)
    assert import_abroad(shop).exit_code == 0
    assert count_events() == 2


def test_a_view_in_a_zone_that_nobody_knew_says_nothing_of_its_currency(shop, monkeypatch):
    """A visitor's page may name any zone: that must not keep a shop from opening one."""
    monkeypatch.setenv("SHOPWRIGHT_UNKNOWN_ZONES", "default")
    assert shop("import", shop.folder).exit_code == 0
    view = {
        "event_type": "view_item",
        "occurred_at": "2024-05-03T10:00:00Z",
        "item_id": "s1",
        "visitor_id": "v1",
        "zone": "tokyo",
    }
    assert send_abroad(view) == 1
    monkeypatch.setenv("SHOPWRIGHT_ZONES", YEN)
    assert send_abroad() == 1


def test_digits_that_a_currency_had_are_kept_as_well(engine):
    with transaction(engine) as connection:
        keep_currencies(connection, {"default": KeptCurrency("ISK", 2)})
    with (
        pytest.raises(BadInput, match=r"kept in ISK \(2 digits\), the settings say ISK \(0 digits"),
        transaction(engine) as connection,
    ):
        keep_currencies(connection, {"default": KeptCurrency.of("ISK")})


def test_the_ledger_keeps_the_currency_of_its_first_prices(shop, engine):
    assert shop("import", shop.folder).exit_code == 0
    with reading(open_engine(Settings())) as connection:
        assert {price.currency for price in Ledger(connection).read_all()} == {"USD"}
        assert read_database_currencies(connection) == {"default": KeptCurrency("USD", 2)}
