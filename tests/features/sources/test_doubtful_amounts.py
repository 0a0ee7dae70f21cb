"""Amounts that contradict each other are kept, and the report says in which way they do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from serving.cli.import_report import print_report
from tests.shops.folders import EVENT, Shop, write_csv

LISTED: list[Mapping[str, Any]] = [
    {"item_id": f"i{number:02}", "list_price": "4.00"} for number in range(30)
]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path)
    write_csv(shop.folder / "items.csv", LISTED)
    return shop


def buy(price: str, **values: str) -> list[Mapping[str, Any]]:
    """Return a purchase of two of each item at a price for one."""
    return [{**EVENT, "item_id": row["item_id"], "unit_price": price, **values} for row in LISTED]


def test_a_line_that_is_not_its_units_is_counted(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    contradicting, agreeing = buy("4.00", line_amount="4.00"), buy("4.00", line_amount="8.00")
    thirds = {"quantity": "3", "unit_price": "3.333", "line_amount": "10.00", "order_id": "thirds"}
    report = shop.load([*contradicting[:3], *agreeing[3:], EVENT | {"item_id": "i00"} | thirds])
    assert report.tables["events"].n_contradicting == 3
    assert len(shop.rows()) == 31
    print_report(report)
    assert "line_amount is not unit_price times quantity in 3 rows" in capsys.readouterr().out


def test_purchases_without_any_amount_are_counted(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    report = shop.load([*buy(""), EVENT | {"item_id": "i00", "event_type": "view_item"}])
    assert report.tables["events"].n_without_amount == 30
    print_report(report)
    assert "30 purchases have neither line_amount nor unit_price" in capsys.readouterr().out


def test_cents_beside_euros_are_reported(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    report = shop.load(buy("390"))
    assert report.tables["events"].paid_to_list == {"default": pytest.approx(97.5)}
    print_report(report)
    assert "half of the purchases paid 97.5 times the list price or more" in capsys.readouterr().out
    assert shop.load(buy("3.90")).tables["events"].paid_to_list == {}


def test_the_list_price_of_a_zone_is_that_of_its_price_list(tmp_path: Path) -> None:
    zones = {"jp": {"currency": "JPY"}, "default": {"currency": "USD"}}
    shop = Shop(tmp_path, zones=zones)
    write_csv(shop.folder / "items.csv", LISTED)
    price = {"zone": "jp", "valid_from": "2024-01-01", "list_price": "600", "offer_price": "600"}
    write_csv(shop.folder / "price_history.csv", [{**row, **price} for row in LISTED])
    report = shop.load([*buy("590", zone="jp"), *buy("4")])
    assert report.tables["events"].paid_to_list == {}
    # A later import is compared with the price list that was imported before.
    (shop.folder / "price_history.csv").unlink()
    assert list(shop.load(buy("59000", zone="jp")).tables["events"].paid_to_list) == ["jp"]


def test_costs_above_prices_are_reported(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    write_csv(shop.folder / "items.csv", [{**row, "unit_cost": "250"} for row in LISTED])
    report = shop.load(buy("4"))
    assert report.tables["items"].cost_above_price == {"default": 30}
    print_report(report)
    assert "unit_cost is above the list price of 30 items" in capsys.readouterr().out
    # One item sold at a loss is no other unit.
    cheap: list[Mapping[str, Any]] = [
        {**row, "unit_cost": "5" if row is LISTED[0] else "2.5"} for row in LISTED
    ]
    write_csv(shop.folder / "items.csv", cheap)
    assert shop.load().tables["items"].cost_above_price == {}
