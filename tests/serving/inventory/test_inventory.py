"""The replenishment list over HTTP and on the command line."""

import csv
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from features.database import transaction
from features.facts.facts import Facts
from features.prices.ledger import Ledger
from serving.cli.main import app as command_line
from serving.inventory import service as module
from tests.shops.event_tables import make_table
from tests.shops.served_shop import make_price, make_settings, run_shop

EXPECTED = 11 + 12 + 13  # lead time 14 days and review 7 days: three weeks from now


def point(level: float) -> float:
    two, four = (
        stats.nbinom.ppf(level, 1 / alpha, 1 / (1 + alpha * EXPECTED)) for alpha in (0.15, 0.1)
    )
    share = np.log(3 / 2) / np.log(4 / 2)  # three weeks lie between two and four
    return float(np.ceil((1 - share) * two + share * four))


def test_the_list_says_what_to_order_and_what_is_not_known(shared: SimpleNamespace) -> None:
    answer = shared.client.get("/v1/inventory").json()
    rows = {row["item_id"]: row for row in answer["items"]}
    assert len(rows) == answer["matched"] == 6
    assert answer["model"] == {"name": "demand", "version": "1"}
    cheese, beer, milk = rows["cheese"], rows["beer"], rows["milk"]
    assert cheese["reorder_point"] == point(0.95)
    assert cheese["safety_stock"] == pytest.approx(point(0.95) - EXPECTED)
    assert cheese["order_up_to"] == cheese["order"] == point(0.95) + 14  # the fourth week
    assert beer["order"] == cheese["order"] - 5
    assert beer["days_of_cover"] == pytest.approx(5 / 11 * 7)
    assert milk["on_hand"] is milk["order"] is milk["days_of_cover"] is None
    assert answer["n_to_order"] == 5
    assert [row["item_id"] for row in answer["items"]][-1] == "milk"
    assert "1 of 6 items have no known stock" in answer["notes"][0]
    assert sum(answer["classes"].values()) == 6


def test_pages_filters_and_scope(shared: SimpleNamespace) -> None:
    get = shared.client.get
    first = get("/v1/inventory", params={"limit": 4}).json()
    rest = get("/v1/inventory", params={"limit": 4, "cursor": first["next_cursor"]}).json()
    assert len({row["item_id"] for row in first["items"] + rest["items"]}) == 6
    assert rest["next_cursor"] is None
    assert get("/v1/inventory", params={"show": "order"}).json()["matched"] == 5
    assert get("/v1/inventory", params={"show": "slow"}).json()["matched"] == 0
    food = get("/v1/inventory", params={"category": "Food"}).json()
    assert {row["category"].split(" > ")[0] for row in food["items"]} == {"Food"}
    assert get("/v1/inventory", params={"zone": "moon"}).status_code == 404
    assert get("/v1/inventory", params={"user_id": "u1"}).status_code == 422
    key = shared.keys.create("shop", ["storefront"]).key
    assert get("/v1/inventory", headers={"Authorization": f"Bearer {key}"}).status_code == 403


def test_counts_prices_and_attributes_of_an_item_are_used(tiny: object) -> None:
    facts = Facts(tiny)  # type: ignore[arg-type]
    now = tiny.clock_start  # type: ignore[attr-defined]
    about = json.dumps({"lead_time_days": "7", "service_level": "0.99"})
    item = {
        "item_id": "bread",
        "category": "Food > Bakery",
        "stock_on_hand": 5,
        "attributes": about,
    }
    counted = {"item_id": "bread", "zone": "default", "at": now, "on_hand": 40.0}
    facts.write({"items": make_table("items", [item]), "stock": make_table("stock", [counted])})
    for served in run_shop(tiny):  # type: ignore[arg-type]
        with transaction(served.server.engine) as connection:
            Ledger(connection).append([make_price("bread", 900), make_price("beer", 1)])
        rows = {row["item_id"]: row for row in served.client.get("/v1/inventory").json()["items"]}
    bread = rows["bread"]
    assert (bread["on_hand"], bread["lead_time_days"], bread["service_level"]) == (40, 7, 0.99)
    alpha = 0.15  # 7 + 7 days: two weeks
    assert bread["reorder_point"] == stats.nbinom.ppf(0.99, 1 / alpha, 1 / (1 + alpha * (11 + 12)))
    assert rows["beer"]["abc"] == "C"


def test_what_was_ordered_yesterday_is_not_ordered_again(tiny: object) -> None:
    now = tiny.clock_start  # type: ignore[attr-defined]

    def count(item: str, days: float, on_hand: float, on_order: float | None) -> dict[str, object]:
        at = now - timedelta(days=days)
        return {
            "item_id": item,
            "zone": "default",
            "at": at,
            "on_hand": on_hand,
            "on_order": on_order,
        }

    stock = [
        count("beer", 1, 5, 20),
        count("wine", 9, 5, 900),  # it has arrived since: the later count says nothing of orders
        count("wine", 1, 6, None),
        count("bread", 1, 5, 1_000),
        count("bread", -1, 5, 0),  # known tomorrow only
    ]
    Facts(tiny).write({"stock": make_table("stock", stock)})  # type: ignore[arg-type]
    for served in run_shop(tiny):  # type: ignore[arg-type]
        answer = served.client.get("/v1/inventory").json()
    rows = {row["item_id"]: row for row in answer["items"]}
    assert {item: rows[item]["on_order"] for item in ("beer", "wine", "bread", "butter")} == {
        "beer": 20,
        "wine": None,
        "bread": 1_000,
        "butter": None,
    }
    up_to = point(0.95) + 14
    assert rows["beer"]["order"] == up_to - (5 + 20)
    assert rows["wine"]["order"] == up_to - 6
    assert rows["bread"]["order"] == 0
    assert (
        rows["bread"]["days_of_cover"] == rows["beer"]["days_of_cover"] == pytest.approx(5 / 11 * 7)
    )
    assert any(
        note.startswith("3 items have a stock that does not say") for note in answer["notes"]
    )


def test_a_list_is_made_once_for_its_pages_and_anew_when_stock_or_a_price_moved(
    tiny: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def counted(*given: object) -> module.Inventory:
        made.append(given)
        return once(*given)  # type: ignore[arg-type]

    once = module.plan_inventory
    monkeypatch.setattr(module, "plan_inventory", counted)
    for served in run_shop(tiny):  # type: ignore[arg-type]
        get = served.client.get

        def rows(get: Callable[..., Any] = get) -> dict[str, dict[str, Any]]:
            pages = [
                get("/v1/inventory", params={"limit": 3, "cursor": at}).json() for at in ("0", "3")
            ]
            return {row["item_id"]: row for page in pages for row in page["items"]}

        assert rows()["beer"]["on_hand"] == 5
        assert len(made) == 1
        now = tiny.clock_start  # type: ignore[attr-defined]
        stock = [{"item_id": "beer", "zone": "default", "at": now, "on_hand": 9.0}]
        Facts(tiny).write({"stock": make_table("stock", stock)})  # type: ignore[arg-type]
        assert rows()["beer"]["on_hand"] == 9
        assert len(made) == 2
        with transaction(served.server.engine) as connection:
            Ledger(connection).append([make_price("beer", 100_000)])
        assert rows()["beer"]["abc"] == "A"
        assert len(made) == 3


def test_the_command_prints_the_list_and_writes_it(
    tiny_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(tiny_home)
    monkeypatch.setenv("SHOPWRIGHT_HOME", str(tiny_home))
    monkeypatch.setenv("SHOPWRIGHT_CURRENCY", settings.currency)
    monkeypatch.setenv("SHOPWRIGHT_CLOCK_START", settings.clock_start.isoformat())  # type: ignore[union-attr]
    run = CliRunner().invoke
    found = json.loads(run(command_line, ["inventory", "--json"]).stdout)
    assert found["n_to_order"] == 5
    assert len(found["items"]) == 6
    out = tmp_path / "list.csv"
    printed = run(command_line, ["inventory", "--out", str(out)]).stdout
    assert "5 items to order, 0 slow movers" in printed
    assert "on order" in printed
    with out.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert {row["item_id"] for row in rows} == {row["item_id"] for row in found["items"]}
    assert {row["zone"] for row in rows} == {"default"}
    assert {row["on_order"] for row in rows} == {""}
    monkeypatch.setenv("SHOPWRIGHT_ZONES", '{"default": {}, "north": {}}')
    refused = run(command_line, ["inventory", "--zone", "north"])
    assert refused.exit_code != 0
    assert "Zones with forecasts: default" in str(refused.exception)
