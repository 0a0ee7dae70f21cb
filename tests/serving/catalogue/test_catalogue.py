"""The catalogue as people look things up in it."""

from __future__ import annotations

from pathlib import Path

from configs.settings import Settings
from features.facts.facts import Facts
from serving.catalogue.service import CatalogueItem, CatalogueService
from tests.shops.event_tables import make_table

ITEMS = [
    {"item_id": "10", "title": "Milk 1 l", "category": "Food > Dairy > Milk", "brand": "Alba"},
    {"item_id": "11", "title": "Oat milk", "category": "Food > Drinks"},
    {"item_id": "milk", "title": "Butter", "category": "Food > Dairy"},
    {"item_id": "牛奶", "title": "鲜牛奶"},
    {"item_id": "bare"},
]


def write_items(home: Path, items: list[dict]) -> Settings:
    settings = Settings(home=home)
    Facts(settings).write({"items": make_table("items", items)})
    return settings


def test_search_finds_words_of_title_or_id_and_the_id_itself_first(tmp_path: Path) -> None:
    catalogue = CatalogueService(write_items(tmp_path, ITEMS))

    assert [item.item_id for item in catalogue.search("MILK")] == ["milk", "10", "11"]
    assert [item.item_id for item in catalogue.search("MI oat")] == ["11"]
    assert [item.item_id for item in catalogue.search("牛奶")] == ["牛奶"]
    assert [item.item_id for item in catalogue.search("milk", limit=1)] == ["milk"]
    assert catalogue.search("nothing such") == []


def test_items_without_a_title_go_by_their_id_and_unknown_ones_too(tmp_path: Path) -> None:
    catalogue = CatalogueService(write_items(tmp_path, ITEMS))

    items = catalogue.find(["10", "bare", "gone"])

    assert [item.name for item in items.values()] == ["Milk 1 l", "bare", "gone"]
    assert items["10"] == CatalogueItem("10", "Milk 1 l", "Food > Dairy > Milk", "Alba")


def test_categories_come_with_those_above_them_and_an_import_is_seen(tmp_path: Path) -> None:
    settings = write_items(tmp_path, ITEMS[:1])
    catalogue = CatalogueService(settings)
    assert catalogue.list_categories() == ("Food", "Food > Dairy", "Food > Dairy > Milk")

    write_items(tmp_path, ITEMS[1:2])

    assert catalogue.list_categories()[-1] == "Food > Drinks"
    assert catalogue.find(["11"])["11"].name == "Oat milk"


def test_a_shop_without_a_catalogue_has_no_items(tmp_path: Path) -> None:
    catalogue = CatalogueService(Settings(home=tmp_path))

    assert (catalogue.search("milk"), catalogue.list_categories()) == ([], ())
