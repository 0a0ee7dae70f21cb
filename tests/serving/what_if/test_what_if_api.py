"""Simulations over HTTP: the arithmetic of an item at other prices and of a promotion."""

import math
from datetime import timedelta

import pyarrow as pa
import pytest

from features.contracts.tables import TABLES
from features.database import transaction
from features.facts.facts import Facts
from features.prices.ledger import Ledger
from serving.keys.service import KeyService
from tests.shops.event_tables import make_table
from tests.shops.served_shop import (
    N_USERS,
    NOW,
    add_price_response,
    make_price,
    make_purchase,
    run_shop,
)


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
    add_price_response(tiny, {"display": math.log(1.5)}, butter=-2.0)
    for found in run_shop(tiny):
        with transaction(found.server.engine) as connection:
            Ledger(connection).append(
                [make_price("butter", 100, days=-60), make_price("cheese", 100, days=-60)]
            )
        yield found


def test_an_item_at_other_prices(shop):
    asked = {"item_id": "butter", "prices": ["0.80", "1.00", "3.00"]}
    answer = shop.client.post("/v1/prices/simulate", json=asked)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["current_price"], found["currency"], found["horizon_weeks"]) == ("1.00", "EUR", 4)
    assert (found["elasticity"], found["evidence_grade"], found["cost_source"]) == (
        -2.0,
        "A",
        "known",
    )
    cheap, present, dear = found["items"]
    sold = present["expected"]["units"]["p50"]
    assert cheap["expected"]["units"]["p50"] == pytest.approx(sold * 0.8**-2)
    assert float(cheap["expected"]["profit"]["p50"]) == pytest.approx(
        sold * 0.8**-2 * 0.08, abs=0.005
    )
    against = cheap["expected"]["profit"]["against_keeping"]
    assert float(against["p50"]) == pytest.approx(sold * (0.8**-2 * 0.08 - 0.28), abs=0.01)
    assert present["expected"]["revenue"]["against_keeping"] == {
        "p10": "0.00",
        "p50": "0.00",
        "p90": "0.00",
    }
    assert present["broken_rules"] == [] and "maximum change" in dear["broken_rules"]
    for point in found["items"]:
        for band in point["expected"].values():
            assert float(band["p10"]) <= float(band["p50"]) <= float(band["p90"])


def test_what_cannot_be_simulated_says_why(shop):
    def status(**body):
        return shop.client.post("/v1/prices/simulate", json=body).status_code

    assert status(item_id="nothing", prices=["1.00"]) == 404
    assert (
        status(item_id="cheese", prices=["1.00"]) == 409
    )  # how it answers to its price is not known
    assert status(item_id="butter", prices=["-1"]) == 422
    assert status(item_id="butter", prices=[]) == 422
    assert status(item_id="butter", prices=["1.00"], user_id="u1") == 422
    assert (
        shop.client.post(
            "/v1/prices/simulate?user_id=1", json={"item_id": "butter", "prices": ["1"]}
        ).status_code
        == 422
    )
    other = (
        KeyService(shop.server.engine, shop.server.system_clock).create("shop", ["storefront"]).key
    )
    headers = {"Authorization": f"Bearer {other}"}
    asked = {"item_id": "butter", "prices": ["1.00"]}
    assert shop.client.post("/v1/prices/simulate", json=asked, headers=headers).status_code == 403


def test_a_promotion_with_its_family_its_conflicts_and_the_law(shop):
    easter = {
        "promotion_id": "easter",
        "item_id": "butter",
        "zone": "default",
        "kind": "price",
        "depth": 0.1,
    }
    times = {"starts_at": NOW + timedelta(days=3), "ends_at": NOW + timedelta(days=9)}
    facts = Facts(shop.settings)
    facts.write(
        {"promotions": pa.Table.from_pylist([{**easter, **times}], TABLES["promotions"].arrow)}
    )
    with transaction(shop.server.engine) as connection:
        Ledger(connection).append(
            [make_price("butter", 78, days=-20), make_price("butter", 100, days=-10)]
        )
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
    assert (butter["price"], butter["response_known"], found["missing"]) == (
        "0.80",
        True,
        ["nothing"],
    )
    more = found["against_none"]["units"]["p50"]
    assert more == pytest.approx(found["expected"]["units"]["p50"] * (1 - 0.8**2))
    assert found["cannibalised"]["units"]["p50"] == pytest.approx(-0.5 * more)
    assert found["net"]["units"]["p50"] == pytest.approx(0.5 * more)
    assert [(each["other"], each["item_id"]) for each in found["conflicts"]] == [
        ("easter", "butter")
    ]
    assert "no reduction" in butter["unlawful"]  # .78 was charged within the 30 days before
    coupon = {**asked, "mechanic": "coupon", "amount": "0.20", "take_up": 0.5, "percent": None}
    (butter,) = shop.client.post("/v1/promotions/simulate", json=coupon).json()["items"]
    assert (butter["price"], butter["unlawful"]) == ("0.90", None)
    wrong = shop.client.post("/v1/promotions/simulate", json={**asked, "mechanic": "bundle"})
    assert wrong.status_code == 422 and "bundle needs amount" in wrong.json()["detail"]


def promoted(shop, **asked):
    """What a fifth off butter does, from now for two weeks."""
    body = {
        "item_ids": ["butter"],
        "mechanic": "percent_off",
        "percent": 0.2,
        "starts_at": NOW.isoformat(),
    }
    body |= {"ends_at": (NOW + timedelta(weeks=2)).isoformat(), **asked}
    return shop.client.post("/v1/promotions/simulate", json=body)


def planned(shop, name, *, days, zone="default", kind="display", reach=1.0):
    first, last = days
    times = {"starts_at": NOW + timedelta(days=first), "ends_at": NOW + timedelta(days=last)}
    row = {
        "promotion_id": name,
        "item_id": "butter",
        "zone": zone,
        "kind": kind,
        "reach": reach,
        **times,
    }
    Facts(shop.settings).write({"promotions": make_table("promotions", [row])})


def test_a_display_adds_its_lift_but_for_what_is_planned_already(shop):
    alone = promoted(shop).json()
    assert (alone["items"][0]["lift"], alone["notes"]) == (1, [])
    sold = alone["expected"]["units"]["p50"]
    found = promoted(shop, support=["display", "banner"]).json()
    assert found["items"][0]["lift"] == pytest.approx(1.5)
    assert found["expected"]["units"]["p50"] == pytest.approx(1.5 * sold)
    more = 1.5 * sold - sold * 0.8**2
    assert found["against_none"]["units"]["p50"] == pytest.approx(more)
    profit = 1.5 * sold * (80 - 72) - sold * 0.8**2 * (100 - 72)
    assert float(found["against_none"]["profit"]["p50"]) == pytest.approx(profit / 100, abs=0.01)
    assert found["cannibalised"]["units"]["p50"] == pytest.approx(-0.25 * more)
    assert "no lift of 'banner' was learnt: it is not counted" in found["notes"]
    half = promoted(shop, support=["display"], reach=0.5).json()
    assert half["items"][0]["lift"] == pytest.approx(1.5**0.5)
    for name, plan in {
        "elsewhere": {"zone": "north", "days": (0, 14)},
        "other kind": {"kind": "mailer", "days": (0, 14)},
        "over": {"days": (-9, 0)},
        "later": {"days": (29, 35)},
    }.items():
        planned(shop, name, **plan)
    assert promoted(shop, support=["display"]).json()["items"][0]["lift"] == pytest.approx(
        1.5, rel=1e-4
    )
    # Three of the four weeks of the forecast, so .45 of the reach is in the forecast.
    planned(shop, "easter", days=(7, 30), reach=0.6)
    held = promoted(shop, support=["display"]).json()
    assert held["items"][0]["lift"] == pytest.approx(1.5 ** (1 - 0.45), rel=1e-4)
    assert any("planned for 1 of 1 items already" in note for note in held["notes"])
    planned(shop, "spring", days=(-5, 30))
    whole = promoted(shop, support=["display"]).json()
    assert whole["items"][0]["lift"] == pytest.approx(1)
    assert whole["expected"]["units"]["p50"] == pytest.approx(sold)


def test_a_mean_basket_that_is_not_given_is_that_of_recent_orders(shop):
    wanted = {
        "item_ids": ["butter", "milk"],
        "mechanic": "spend_save",
        "percent": None,
        "amount": "1",
        "threshold": "2",
    }
    # In each of eight weeks a third of the users buys butter, and milk beside it in every other
    # week, each for 1.00.
    found = promoted(shop, **wanted).json()
    weeks = [week for n in range(N_USERS) for week in range(8) if n % 3 == 1]
    mean = round(100 * sum(2 if week % 2 else 1 for week in weeks) / len(weeks))
    assert found["mean_basket"] == f"{mean / 100:.2f}"
    note_start = (
        f"mean_basket {mean / 100:.2f} EUR was not given: "
        f"it is the mean of {len(weeks)} orders of the last 8 weeks"
    )
    assert any(note.startswith(note_start) for note in found["notes"])
    given = promoted(shop, **wanted, mean_basket=found["mean_basket"]).json()
    assert given["expected"] == found["expected"]
    assert (given["mean_basket"], given["notes"]) == (found["mean_basket"], [])
    assert promoted(shop).json()["mean_basket"] is None


def test_a_mean_basket_without_orders_is_asked_for(shop):
    wanted = {
        "item_ids": ["cheese"],
        "mechanic": "spend_save",
        "percent": None,
        "amount": "1",
        "threshold": "2",
    }
    late = make_purchase(2, 0, "cheese") | {
        "event_id": "late",
        "order_id": "late",
        "line_amount_minor": 900_000,
    }
    rows = [
        late | {"occurred_at": NOW + timedelta(hours=1)},
        late | {"event_id": "far", "zone": "north"},
    ]
    Facts(shop.settings).write({"events": make_table("events", rows)})
    assert (
        float(promoted(shop, **wanted).json()["mean_basket"]) == 1
    )  # neither what is to come nor another zone
    unknown = promoted(shop, **wanted | {"item_ids": ["honey"]})
    assert unknown.status_code == 422
    assert (
        unknown.json()["where"],
        "0 orders of the last 8 weeks" in unknown.json()["detail"],
    ) == (
        "mean_basket",
        True,
    )
