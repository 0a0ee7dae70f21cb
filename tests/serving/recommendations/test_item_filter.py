"""Filters on attributes of the catalogue and on prices, over HTTP."""

from __future__ import annotations

import pytest

from features.database import transaction
from features.facts.facts import Facts
from features.prices.ledger import Ledger
from tests.shops.event_tables import make_table
from tests.shops.served_shop import copy_shop, make_price, make_settings, run_shop

ATTRIBUTES = {
    "beer": '{"color":"gold","weight":"1.50","organic":"true"}',
    "bread": '{"color":"brown","weight":"0.5","organic":"no"}',
    "butter": '{"color":"gold","weight":"heavy"}',
    "milk": '{"color":"white","weight":"1","organic":"1","map_price":"3"}',
    "wine": None,
}


@pytest.fixture(scope="module")
def coloured(tiny_home, tmp_path_factory):
    """The shop with attributes and sizes."""
    home = tmp_path_factory.mktemp("coloured") / "home"
    copy_shop(tiny_home, home)
    settings = make_settings(home)
    items = [
        {"item_id": item_id, "category": "Food", "size": "L" if item_id == "beer" else "M"}
        | {"attributes": attributes}
        for item_id, attributes in ATTRIBUTES.items()
    ]
    Facts(settings).write({"items": make_table("items", items)})
    for shop in run_shop(settings):
        with transaction(shop.server.engine) as connection:
            Ledger(connection).append([make_price("beer", 199), make_price("wine", 500)])
        yield shop


def ask(shop, **conditions):
    body = {"placement": "home", "filter": conditions}
    return shop.client.post("/v1/recommendations", json=body)


def ids(shop, **conditions):
    answer = ask(shop, **conditions)
    assert answer.status_code == 200, answer.text
    return {item["item_id"] for item in answer.json()["items"]}


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"color": ["gold"]}, {"beer", "butter"}),
        ({"color": ["gold", "white"]}, {"beer", "butter", "milk"}),
        ({"color": ["gold"], "size": ["M"]}, {"butter"}),
        ({"weight": [1.5]}, {"beer"}),
        ({"weight": [1]}, {"milk"}),
        ({"weight": ["1.5"]}, set()),
        ({"weight": {"min": 0.5, "max": 1}}, {"bread", "milk"}),
        ({"weight": {"min": 1.01}}, {"beer"}),
        ({"organic": [True]}, {"beer", "milk"}),
        ({"organic": [1]}, {"milk"}),
        ({"organic": [False]}, {"bread"}),
    ],
)
def test_attributes_choose_by_text_number_flag_and_range(coloured, attributes, expected):
    assert ids(coloured, attributes=attributes) == expected


def test_prices_have_two_ends_and_conditions_add_up(coloured):
    assert ids(coloured, price_min=1.99) == {"beer", "wine"}
    assert ids(coloured, price_min=2, price_max=5) == {"wine"}
    assert ids(coloured, price_min=2, attributes={"color": ["gold"]}) == set()


def test_an_unknown_name_is_refused_and_an_unknown_value_named_with_the_nearest(coloured):
    refused = ask(coloured, attributes={"colour": ["gold"]})
    assert refused.status_code == 422
    assert refused.json()["hint"] == "Did you mean 'color'?"
    answer = ask(coloured, attributes={"color": ["golt", "white"]}).json()
    assert answer["unknown"] == ["unknown value of color 'golt'. Did you mean 'gold'?"]


@pytest.mark.parametrize(
    ("conditions", "where"),
    [
        ({"attributes": {"color": []}}, "color"),
        ({"attributes": {"color": "gold"}}, "color"),
        ({"attributes": {"weight": {"min": 2, "max": 1}}}, "min is above max"),
        ({"attributes": {"weight": {}}}, "min, max or both"),
        ({"attributes": {"weight": {"least": 1}}}, "weight"),
        ({"attributes": {"map_price": [3]}}, "unknown attribute"),
        ({"price_min": 3, "price_max": 2}, "price_min is above price_max"),
        ({"price_min": "NaN"}, "price_min"),
    ],
)
def test_what_is_no_condition_is_refused(coloured, conditions, where):
    answer = ask(coloured, **conditions)
    assert answer.status_code == 422
    assert where in answer.text
