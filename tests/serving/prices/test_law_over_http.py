"""The options of the price law over HTTP: prior prices, approvals and what-ifs follow one rule."""

from datetime import timedelta

import pytest

from features.database import transaction
from features.facts.facts import Facts
from features.prices.ledger import Ledger
from tests.shops.event_tables import make_table
from tests.shops.served_shop import NOW, add_price_response, make_price, run_shop

HUNDRED = {"list_price_minor": 100}


def build_price(item, offer, days):
    """Return a price whose list price is 1.00."""
    price = make_price(item, offer, days=days)
    return type(price)(**{**vars(price), **HUNDRED})


@pytest.fixture
def start(tiny):
    """Return a shop under settings of the price law, with 100, 90 and 80 announced for butter."""
    started = []

    def run(**law):
        settings = tiny.model_copy(update=law)
        add_price_response(settings, butter=-2.0)
        generator = run_shop(settings)
        shop = next(generator)
        started.append(generator)
        with transaction(shop.server.engine) as connection:
            Ledger(connection).append(
                [
                    make_price("butter", 100, days=-60),
                    build_price("butter", 90, days=-8),
                    build_price("butter", 80, days=-4),
                ]
            )
        return shop

    yield run
    for generator in started:
        next(generator, None)


def read_prior(shop):
    answer = shop.client.get("/v1/prices?item_id=butter")
    return answer.json()["items"][0]["prior_price"]


def simulate(shop, percent):
    body = {
        "item_ids": ["butter"],
        "mechanic": "percent_off",
        "percent": percent,
        "starts_at": (NOW + timedelta(days=1)).isoformat(),
        "ends_at": (NOW + timedelta(days=8)).isoformat(),
    }
    return shop.client.post("/v1/promotions/simulate", json=body).json()["items"][0]["unlawful"]


def test_a_reduction_that_grows_counts_from_its_first_step_where_the_zone_says_so(start):
    shop = start(progressive_reductions=True)
    assert read_prior(shop) == "1.00"
    assert simulate(shop, 0.1) is None


def test_each_step_counts_alone_where_it_does_not(start):
    shop = start()
    assert read_prior(shop) == "0.90"
    assert simulate(shop, 0.1) is None  # .72 after .80


def test_prices_that_were_paid_count_in_a_zone_of_seven_days(start):
    shop = start(price_law="CN7")
    # Butter was sold at 1.00 in every week, within seven days before day -4 as well.
    assert read_prior(shop) == "1.00"
    sale = {
        "event_id": "sale",
        "event_type": "purchase",
        "occurred_at": NOW - timedelta(days=6),
        "item_id": "butter",
        "zone": "default",
        "quantity": 2.0,
        "line_amount_minor": 170,
    }
    Facts(shop.settings).write({"events": make_table("events", [sale])})
    assert read_prior(shop) == "0.85"  # two for 1.70


def test_an_exempt_perishable_counts_from_the_price_right_before(start):
    shop = start(perishable_days=0)
    assert read_prior(shop) == "0.90"
    items = [{"item_id": "butter", "category": "Food", "attributes": '{"perishable": true}'}]
    Facts(shop.settings).write({"items": make_table("items", items)})
    with transaction(shop.server.engine) as connection:
        Ledger(connection).append([build_price("butter", 95, days=-6)])
    assert read_prior(shop) == "0.95"  # 90 was asked two days before, which does not count
