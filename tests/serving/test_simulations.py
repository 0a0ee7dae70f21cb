"""Simulations over HTTP: the arithmetic of an item at other prices and of a promotion."""

from datetime import timedelta

import pyarrow as pa
import pytest

from features.contracts.tables import TABLES
from features.store.database import transaction
from features.store.facts import Facts
from features.store.ledger import Ledger
from serving.services.keys import KeyService
from tests.serving.tiny_shop import NOW, add_price_response, price, running


@pytest.fixture
def shop(tiny):
    """Butter and cheese, one family; butter costs .72 and answers with -2."""
    facts = Facts(tiny)
    family = {"family_id": "fat"}
    items = [
        {"item_id": "butter", "category": "Food", "unit_cost_minor": 72, **family},
        {"item_id": "cheese", "category": "Food", "unit_cost_minor": 60, **family},
    ]
    facts.write({"items": pa.Table.from_pylist(items, TABLES["items"].arrow)})
    add_price_response(tiny, butter=-2.0)
    for found in running(tiny):
        with transaction(found.server.engine) as connection:
            Ledger(connection).append([price("butter", 100, days=-60), price("cheese", 100, days=-60)])
        yield found


def test_an_item_at_other_prices(shop):
    asked = {"item_id": "butter", "prices": ["0.80", "1.00", "3.00"]}
    answer = shop.client.post("/v1/prices/simulate", json=asked)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["current_price"], found["currency"], found["horizon_weeks"]) == ("1.00", "EUR", 4)
    assert (found["elasticity"], found["evidence_grade"], found["cost_source"]) == (-2.0, "A", "known")
    cheap, present, dear = found["items"]
    sold = present["expected"]["units"]["p50"]
    assert cheap["expected"]["units"]["p50"] == pytest.approx(sold * 0.8**-2)
    assert float(cheap["expected"]["profit"]["p50"]) == pytest.approx(sold * 0.8**-2 * 0.08, abs=0.005)
    against = cheap["expected"]["profit"]["against_keeping"]
    assert float(against["p50"]) == pytest.approx(sold * (0.8**-2 * 0.08 - 0.28), abs=0.01)
    assert present["expected"]["revenue"]["against_keeping"] == {"p10": "0.00", "p50": "0.00", "p90": "0.00"}
    assert present["broken_rules"] == [] and "maximum change" in dear["broken_rules"]
    for point in found["items"]:
        for band in point["expected"].values():
            assert float(band["p10"]) <= float(band["p50"]) <= float(band["p90"])


def test_what_cannot_be_simulated_says_why(shop):
    def status(**body):
        return shop.client.post("/v1/prices/simulate", json=body).status_code

    assert status(item_id="nothing", prices=["1.00"]) == 404
    assert status(item_id="cheese", prices=["1.00"]) == 409  # how it answers to its price is not known
    assert status(item_id="butter", prices=["-1"]) == 422
    assert status(item_id="butter", prices=[]) == 422
    assert status(item_id="butter", prices=["1.00"], user_id="u1") == 422
    assert (
        shop.client.post("/v1/prices/simulate?user_id=1", json={"item_id": "butter", "prices": ["1"]}).status_code
        == 422
    )
    other = KeyService(shop.server.engine, shop.server.system_clock).create("shop", ["storefront"]).key
    headers = {"Authorization": f"Bearer {other}"}
    asked = {"item_id": "butter", "prices": ["1.00"]}
    assert shop.client.post("/v1/prices/simulate", json=asked, headers=headers).status_code == 403


def test_a_promotion_with_its_family_its_conflicts_and_the_law(shop):
    easter = {"promotion_id": "easter", "item_id": "butter", "zone": "default", "kind": "price", "depth": 0.1}
    times = {"starts_at": NOW + timedelta(days=3), "ends_at": NOW + timedelta(days=9)}
    facts = Facts(shop.settings)
    facts.write({"promotions": pa.Table.from_pylist([{**easter, **times}], TABLES["promotions"].arrow)})
    with transaction(shop.server.engine) as connection:
        Ledger(connection).append([price("butter", 78, days=-20), price("butter", 100, days=-10)])
    asked = {
        "item_ids": ["butter", "nothing"],
        "mechanic": "percent_off",
        "percent": 0.2,
        "starts_at": NOW.isoformat(),
        "ends_at": (NOW + timedelta(weeks=2)).isoformat(),
        "switching": 0.5,
    }
    answer = shop.client.post("/v1/promotions/simulate", json=asked)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    (butter,) = found["items"]
    assert (butter["price"], butter["response_known"], found["missing"]) == ("0.80", True, ["nothing"])
    more = found["against_none"]["units"]["p50"]
    assert more == pytest.approx(found["expected"]["units"]["p50"] * (1 - 0.8**2))
    assert found["cannibalised"]["units"]["p50"] == pytest.approx(-0.5 * more)
    assert found["net"]["units"]["p50"] == pytest.approx(0.5 * more)
    assert [(each["other"], each["item_id"]) for each in found["conflicts"]] == [("easter", "butter")]
    assert "no reduction" in butter["unlawful"]  # .78 was charged within the 30 days before
    coupon = {**asked, "mechanic": "coupon", "amount": "0.20", "take_up": 0.5, "percent": None}
    (butter,) = shop.client.post("/v1/promotions/simulate", json=coupon).json()["items"]
    assert (butter["price"], butter["unlawful"]) == ("0.90", None)
    wrong = shop.client.post("/v1/promotions/simulate", json={**asked, "mechanic": "bundle"})
    assert wrong.status_code == 422 and "bundle needs amount" in wrong.json()["detail"]
