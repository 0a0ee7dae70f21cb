"""Fields of the catalogue and prices with the items of a slate, and families folded to one."""

from __future__ import annotations

import inspect

import pytest

from features.database import transaction
from features.facts.facts import Facts
from features.prices.ledger import Ledger
from serving.prices.service import PriceService
from serving.recommendations.api import RecommendationResponse
from tests.shops.event_tables import make_table
from tests.shops.served_shop import copy_shop, make_price, make_settings, run_shop

ROWS = {
    "beer": {"family_id": "drink", "size": "0.5 l", "title": "Beer", "image_url": "/beer.jpg"},
    "wine": {"family_id": "drink", "size": "0.7 l", "attributes": '{"color":"red"}'},
    "ale": {"family_id": "drink", "size": "0.3 l", "stock_on_hand": 0.0},
    "stout": {"family_id": "drink", "size": "1 l", "status": "archived"},
    "bread": {"attributes": '{"map_price":"1"}', "unit_cost_minor": 10, "stock_on_hand": 3.0},
}


@pytest.fixture(scope="module")
def shop(tiny_home, tmp_path_factory):
    home = tmp_path_factory.mktemp("fields") / "home"
    copy_shop(tiny_home, home)
    settings = make_settings(home)
    rows = [{"item_id": item_id, "category": "Food", **row} for item_id, row in ROWS.items()]
    Facts(settings).write({"items": make_table("items", rows)})
    for shop in run_shop(settings):
        with transaction(shop.server.engine) as connection:
            reduced = make_price("beer", 199)
            Ledger(connection).append([reduced, make_price("wine", 500)])
        yield shop


def ask(shop, placement="trending", **body):
    answer = shop.client.post("/v1/recommendations", json={"placement": placement, **body})
    assert answer.status_code == 200, answer.text
    document = answer.json()
    read = RecommendationResponse.model_validate(document, strict=True)
    assert read.model_dump(mode="json", exclude_unset=True) == document
    return {item["item_id"]: item for item in document["items"]}


def test_each_item_has_the_requested_fields_and_no_others(shop):
    names = ["title", "image_url", "size", "color", "price", "list_price", "currency", "in_stock"]
    items = ask(shop, fields=names)
    assert items["beer"]["fields"] == {
        "title": "Beer",
        "image_url": "/beer.jpg",
        "size": "0.5 l",
        "color": None,
        "price": "1.99",
        "list_price": "1.99",
        "currency": "EUR",
        "in_stock": None,
    }
    assert items["wine"]["fields"]["color"] == "red"
    assert items["bread"]["fields"] == dict.fromkeys(names) | {"in_stock": True}
    assert "fields" not in ask(shop)["beer"]


def test_the_same_fields_come_with_pages_lists_and_query_parameters(shop):
    page = {"placements": ["home", "trending"], "fields": ["title"]}
    slates = shop.client.post("/v1/recommendations/page", json=page).json()["slates"]
    ranked = shop.client.post("/v1/rank", json={"item_ids": ["beer", "x"], "fields": ["title"]})
    simple = shop.client.get(
        "/v1/recommendations", params={"placement": "home", "fields": ["title", "brand"]}
    )
    assert all("title" in item["fields"] for slate in slates for item in slate["items"])
    assert [item["fields"] for item in ranked.json()["items"]] == [
        {"title": "Beer"},
        {"title": None},
    ]
    assert {"title", "brand"} == set(simple.json()["items"][0]["fields"])


@pytest.mark.parametrize("name", ["titel", "unit_cost", "map_price", "stock_on_hand", "user_id"])
def test_what_is_unknown_or_the_shops_own_business_is_refused(shop, name):
    body = {"placement": "home", "fields": [name]}
    answer = shop.client.post("/v1/recommendations", json=body)
    assert answer.status_code == 422
    assert f"unknown field '{name}'" in answer.json()["detail"]
    assert name != "titel" or answer.json()["hint"] == "Did you mean 'title'?"


def test_a_price_is_the_same_for_everybody_and_that_of_the_prices_route(shop):
    asked = {
        ask(shop, user_id=user_id, visitor_id=visitor_id, fields=["price"])["wine"]["fields"][
            "price"
        ]
        for user_id in ("u00", "u01", None)
        for visitor_id in ("v1", None)
    }
    price = shop.client.get("/v1/prices", params={"item_id": "wine"}).json()["items"][0]
    assert asked == {price["offer_price"]}
    # Nothing of a visitor can be handed over to where prices are read.
    assert list(inspect.signature(PriceService.quote_items).parameters) == [
        "self",
        "item_ids",
        "zone",
        "at",
    ]


def test_a_family_is_one_item_with_all_that_is_on_sale(shop):
    apart = ask(shop, count=10)
    assert {"beer", "wine"} <= set(apart)
    items = ask(shop, count=10, fold_families=True, fields=["size", "price"])
    (shown,) = {"beer", "wine", "ale", "stout"} & set(items)
    assert items[shown]["variants"] == [
        {"item_id": "ale", "size": "0.3 l", "in_stock": False}
        | {"fields": {"size": "0.3 l", "price": None}},
        {"item_id": "beer", "size": "0.5 l", "in_stock": None}
        | {"fields": {"size": "0.5 l", "price": "1.99"}},
        {"item_id": "wine", "size": "0.7 l", "in_stock": None}
        | {"fields": {"size": "0.7 l", "price": "5.00"}},
    ]
    assert set(items) - {shown} == set(apart) - {"beer", "wine", "ale", "stout"}
    assert "variants" not in items["bread"]


def test_the_rule_of_families_is_followed_when_it_is_served(shop):
    # The placement home names the set of rules `families`.
    assert len({"beer", "wine"} & set(ask(shop, "home", count=10))) == 1
