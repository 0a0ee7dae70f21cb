"""The server of the demo storefront: off unless users are named, and open to them alone."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from fastapi.testclient import TestClient

from configs.settings import Settings
from features.database import reading, transaction
from features.facts.events import EventLog
from features.prices.ledger import Ledger
from serving.app import create_app
from tests.shops.price_desk import make_opening_price
from tests.shops.served_shop import run_shop


@pytest.fixture
def storefront(tiny: Settings):
    """The storefront, as a browser without any key reaches it."""
    for shop in run_shop(tiny.model_copy(update={"storefront_users": ("u00",)})):
        yield SimpleNamespace(client=TestClient(shop.app), shop=shop)


def test_there_is_no_storefront_unless_users_are_named(served) -> None:
    for path in (
        "/storefront",
        "/storefront/items?item_id=beer",
        "/storefront/files/storefront.js",
    ):
        assert served.client.get(path).status_code == 404
    assert served.client.post("/storefront/sign-in", json={"user_id": "u00"}).status_code == 404
    assert create_app(Settings()).openapi()["paths"].keys().isdisjoint({"/storefront"})


def test_nobody_signs_in_as_a_user_who_is_not_named(storefront) -> None:
    good = storefront.client.post("/storefront/sign-in", json={"user_id": "u00"})
    assert good.json()["user_id"] == "u00"
    refused = storefront.client.post("/storefront/sign-in", json={"user_id": "u01"})
    assert (refused.status_code, refused.json()["where"]) == (422, "user_id")


def test_no_order_and_no_search_in_the_name_of_somebody_else(storefront) -> None:
    order = {"lines": [{"item_id": "beer"}], "user_id": "u00", "user_token": "forged"}
    assert storefront.client.post("/storefront/orders", json=order).status_code == 403
    search = {"query": "beer", "visitor_id": "v1", "visitor_token": "forged"}
    assert storefront.client.post("/storefront/search", json=search).status_code == 403


def test_an_item_without_a_price_is_not_sold(storefront) -> None:
    answer = storefront.client.post("/storefront/orders", json={"lines": [{"item_id": "beer"}]})
    assert (answer.status_code, answer.json()["detail"]) == (422, "'beer' has no price")


def test_the_pages_have_one_publishable_key_that_stays(storefront) -> None:
    first = storefront.client.get("/storefront")
    key = first.text.split('data-key="')[1].split('"')[0]
    assert key.startswith("pub_")
    assert "'self'" in first.headers["content-security-policy"]
    home = storefront.shop.settings.home
    assert (home / "storefront-key").read_text() == key
    for again in run_shop(storefront.shop.settings):
        assert key in TestClient(again.app).get("/storefront").text


def test_an_order_has_each_item_once_with_all_that_was_ordered_of_it(storefront) -> None:
    with transaction(storefront.shop.server.engine) as connection:
        Ledger(connection).append([make_opening_price("beer")])
    lines = [{"item_id": "beer", "quantity": 1}, {"item_id": "beer", "quantity": 2}]
    answer = storefront.client.post("/storefront/orders", json={"lines": lines})
    assert answer.status_code == 200, answer.text
    with reading(storefront.shop.server.engine) as connection:
        bought = EventLog(connection).as_arrow().to_pylist()
    assert [(row["item_id"], row["quantity"]) for row in bought] == [("beer", 3)]


def test_an_address_has_so_many_requests_a_minute(tiny: Settings) -> None:
    few = {"storefront_users": ("u00",), "browser_requests_per_minute": 2}
    for shop in run_shop(tiny.model_copy(update=few)):
        client = TestClient(shop.app)
        answers = [client.get("/storefront/items?item_id=beer").status_code for _ in range(3)]
        assert answers == [200, 200, 429]
