"""An item leaves when the catalogue or a person ends its sale, and comes back when they say so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from features.facts.off_sale import OffSaleItems, SaleTerms, find_off_sale, is_on_sale
from features.sources.folder import import_folder
from tests.shops.folders import EVENT, NOW, Shop, write_csv

DAY = timedelta(days=1)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path, zones={"north": {}, "south": {}})


def import_items(shop: Shop, *items: dict[str, str], now: datetime = NOW) -> None:
    write_csv(shop.folder / "items.csv", list(items))
    shop.load([EVENT], now=now)


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        (SaleTerms(None, None, None), True),
        (SaleTerms("Active", True, NOW + DAY), True),
        (SaleTerms("archived", True, None), False),
        (SaleTerms("DRAFT", None, None), False),
        (SaleTerms("active", False, None), False),
        (SaleTerms(None, None, NOW), False),  # half-open, like every span of time
    ],
)
def test_what_the_catalogue_says_decides(terms: SaleTerms, expected: bool) -> None:
    assert is_on_sale(terms, NOW) is expected


def test_the_columns_are_imported_and_a_later_import_brings_an_item_back(shop: Shop) -> None:
    import_items(
        shop,
        {"item_id": "a", "status": "archived", "published": "FALSE", "available_to": "2024-05-01"},
        {"item_id": "b", "status": "active", "published": "TRUE"},
        {"item_id": "c", "available_to": "2024-06-02"},
    )
    served = OffSaleItems(shop.settings)
    assert served.find(NOW) == {"a"}
    assert served.find(NOW) is served.find(NOW)
    assert served.find(NOW + DAY) == {"a", "c"}  # without any import
    assert served.find(NOW) == {"a"}
    import_items(shop, {"item_id": "a", "status": "active"}, {"item_id": "c"})
    assert served.find(NOW + DAY) == find_off_sale(shop.settings, NOW + DAY) == set()


def test_a_status_that_nobody_knows_is_quarantined(shop: Shop) -> None:
    write_csv(shop.folder / "items.csv", [{"item_id": "a", "status": "enabled"}, {"item_id": "b"}])
    report = shop.load([EVENT | {"item_id": "b"}])
    assert report.tables["items"].quarantined == {"status is none of active, draft, archived": 1}


def test_a_newer_number_of_the_catalogue_outranks_an_older_count(shop: Shop) -> None:
    at = {"zone": "default", "at": (NOW - DAY).isoformat(), "on_hand": "40"}
    write_csv(shop.folder / "stock.csv", [{"item_id": item, **at} for item in "ab"])
    import_items(
        shop,
        {"item_id": "a", "stock_on_hand": "0"},
        {"item_id": "b", "stock_on_hand": "7", "stock_on_hand_at": "2024-05-20T00:00:00Z"},
    )
    stock = read_stock(shop, NOW)
    assert stock == {"a": 0, "b": 40}  # that of b was counted before
    again = import_folder(
        shop.folder, shop.facts, shop.settings, now=NOW + DAY, progress=lambda _: None
    )
    assert again.tables["items"].written.unchanged == 2
    write_csv(shop.folder / "stock.csv", [{"item_id": "a", **at, "at": (NOW + DAY).isoformat()}])
    shop.load(now=NOW + DAY)
    assert read_stock(shop, NOW + 2 * DAY) == {"a": 40, "b": 40}


def test_in_a_zone_that_counts_its_own_stock_the_total_is_a_limit(shop: Shop) -> None:
    at = (NOW - DAY).isoformat()
    rows = [
        {"item_id": "a", "zone": zone, "at": at, "on_hand": on_hand}
        for zone, on_hand in (("north", "5"), ("south", "2"))
    ]
    write_csv(shop.folder / "stock.csv", rows)
    import_items(shop, {"item_id": "a", "stock_on_hand": "3"})
    assert [read_stock(shop, NOW, zone)["a"] for zone in ("north", "south")] == [3, 2]
    import_items(shop, {"item_id": "a", "stock_on_hand": "0"})
    assert [read_stock(shop, NOW, zone)["a"] for zone in ("north", "south")] == [0, 0]


def read_stock(shop: Shop, now: datetime, zone: str = "default") -> dict[str, float | None]:
    from serving.inventory.stock import read_item_stock

    stock = read_item_stock(shop.facts, zone, now.astimezone(UTC))
    return {item_id: item.on_hand for item_id, item in stock.items()}
