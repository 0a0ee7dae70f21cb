"""Simulations over HTTP: the arithmetic of an item at other prices and of a promotion."""

import math
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from features.contracts.tables import TABLES
from features.database import transaction
from features.facts.facts import Facts
from features.prices.ledger import Ledger
from models.pricing.promotions.spend_threshold import SpendOffer, SpendOrders
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
    # A coupon for everybody announces .80, which is above the .78 of the days before.
    assert butter["price"] == "0.90" and "no reduction" in butter["unlawful"]
    tied = {**asked, "mechanic": "buy_get", "take_up": 0.5, "percent": None}
    (butter,) = shop.client.post("/v1/promotions/simulate", json=tied).json()["items"]
    assert (butter["price"], butter["unlawful"]) == ("0.75", None)
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
    assert alone["items"][0]["lift"] == 1
    assert [note for note in alone["notes"] if "lift" in note] == []
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


SPEND_SAVE = {
    "item_ids": ["butter", "milk"],
    "mechanic": "spend_save",
    "percent": None,
    "amount": "1",
    "threshold": "2",
}


def test_the_spend_that_is_not_given_is_that_of_recent_orders(shop):
    # In each of eight weeks a third of the users buys butter, and milk beside it in every other
    # week, each for 1.00.
    found = promoted(shop, **SPEND_SAVE).json()
    weeks = [week for n in range(N_USERS) for week in range(8) if n % 3 == 1]
    spend = np.array([2.0 if week % 2 else 1.0 for week in weeks])
    inputs = {each["name"]: each for each in found["inputs"]}
    assert found["mean_basket"] == f"{spend.mean():.2f}"
    assert inputs["mean_basket"]["value"] == pytest.approx(spend.mean(), abs=0.005)
    assert f"mean spend of {len(weeks)} orders of the last 8 weeks" in inputs["mean_basket"]["note"]
    assert inputs["basket_log_sd"]["value"] == pytest.approx(np.log(spend).std())
    assert (inputs["stretch"]["source"], inputs["stretch"]["value"]) == ("assumed", 0.5)
    given = promoted(shop, **SPEND_SAVE, mean_basket=found["mean_basket"]).json()
    for name, band in given["expected"].items():
        assert [float(value) for value in band.values()] == pytest.approx(
            [float(value) for value in found["expected"][name].values()]
        )
    assert "mean_basket" not in {each["name"] for each in given["inputs"]}
    plain = promoted(shop).json()
    assert (plain["mean_basket"], plain["spend_save"], plain["redeemed"]) == (None, None, None)


def test_spend_and_save_answers_orders_spend_discount_and_profit(shop):
    given = {"mean_basket": "1.50", "stretch": 0.5}
    found = promoted(shop, **SPEND_SAVE, **given).json()
    result = found["spend_save"]
    log_sd = {each["name"]: each["value"] for each in found["inputs"]}["basket_log_sd"]
    outcome = SpendOrders.from_mean(150, log_sd).apply_offer(SpendOffer(200, 100), np.array([0.5]))
    orders = result["orders"]["p50"]
    assert result["qualifying"]["p50"] == pytest.approx(orders * outcome.qualifying[0])
    assert result["stretching"]["p50"] == pytest.approx(orders * outcome.stretching[0])
    added, discount = float(result["spend_added"]["p50"]), float(result["discount"]["p50"])
    assert added == pytest.approx(orders * outcome.added[0] / 100, abs=0.01)
    assert discount == pytest.approx(orders * outcome.saved[0] / 100, abs=0.01)
    assert result["net_profit"] == found["net"]["profit"]
    more = promoted(shop, **SPEND_SAVE, mean_basket="1.50", stretch=2.0).json()["spend_save"]
    assert float(more["spend_added"]["p50"]) > added


def test_the_stretch_is_learnt_from_a_past_campaign(shop):
    rng = np.random.default_rng(9)
    start = NOW - timedelta(weeks=20)
    offer = SpendOffer(3_000.0, 500.0)
    usual = np.exp(math.log(2_000) + 0.6 * rng.standard_normal(1_500))
    during = np.exp(math.log(2_000) + 0.6 * rng.standard_normal(1_500))
    gap = np.maximum(offer.threshold - during, 0)
    during += gap * (rng.random(1_500) < np.exp(-gap / (1.2 * offer.saving)))
    rows = [
        make_purchase(0, 0, "butter")
        | {
            "event_id": f"old-{number}",
            "order_id": f"old-{number}",
            "line_amount_minor": round(spend),
            "occurred_at": start + timedelta(weeks=-4 if number < 1_500 else 0, hours=1),
        }
        for number, spend in enumerate([*usual, *during])
    ]
    past = {
        "promotion_id": "singles day",
        "item_id": "butter",
        "zone": "default",
        "kind": "满减",
        "starts_at": start,
        "ends_at": start + timedelta(weeks=1),
        "attributes": '{"threshold": "30", "amount": "5"}',
    }
    Facts(shop.settings).write(
        {"events": make_table("events", rows), "promotions": make_table("promotions", [past])}
    )
    found = promoted(shop, **SPEND_SAVE).json()
    stretch = {each["name"]: each for each in found["inputs"]}["stretch"]
    assert (
        stretch["source"] == "estimated" and "1,500 orders of 1 past campaigns" in stretch["note"]
    )
    log_error = math.log(stretch["high"] / stretch["value"]) / 1.2816
    assert log_error < 0.3  # assumed is 1
    assert abs(math.log(stretch["value"] / 1.2)) < 3 * log_error


def test_reach_and_take_up_of_a_coupon_come_from_past_coupons(shop):
    wanted = {"mechanic": "coupon", "amount": "0.20", "percent": None}
    unknown = {each["name"]: each for each in promoted(shop, **wanted).json()["inputs"]}
    assert (unknown["coupon_reach"]["value"], unknown["coupon_reach"]["source"]) == (1, "assumed")
    assert (unknown["take_up"]["value"], unknown["take_up"]["source"]) == (0.3, "assumed")
    start = NOW - timedelta(weeks=20)
    rows = [
        make_purchase(0, 0, "butter")
        | {
            "event_id": f"old-{number}",
            "order_id": f"old-{number}",
            "line_amount_minor": 80 if number < 36 else 100,
            "unit_price_minor": None,
            "occurred_at": start + timedelta(hours=1),
        }
        for number in range(120)
    ]
    past = {
        "promotion_id": "spring",
        "item_id": "butter",
        "zone": "default",
        "kind": "coupon",
        "depth": 0.2,
        "reach": 0.6,
        "starts_at": start,
        "ends_at": start + timedelta(weeks=1),
    }
    Facts(shop.settings).write(
        {"events": make_table("events", rows), "promotions": make_table("promotions", [past])}
    )
    found = promoted(shop, **wanted).json()
    inputs = {each["name"]: each for each in found["inputs"]}
    assert inputs["coupon_reach"]["value"] == pytest.approx(0.6)
    assert inputs["take_up"]["value"] == pytest.approx(36 / 120 / 0.6)  # of those who got one
    assert inputs["take_up"]["low"] < 0.5 < inputs["take_up"]["high"]
    assert inputs["take_up"]["source"] == "estimated"
    assert found["redeemed"]["p10"] < found["redeemed"]["p50"] < found["redeemed"]["p90"]
    given = promoted(shop, **wanted, coupon_reach=0.5, take_up=0.5).json()
    assert [each["name"] for each in given["inputs"]] == ["switching"]


def test_a_past_coupon_for_everybody_lowers_the_prior_price(shop):
    days = {"starts_at": NOW - timedelta(days=9), "ends_at": NOW - timedelta(days=2)}
    past = {"item_id": "butter", "zone": "default", "kind": "coupon", "depth": 0.3, **days}
    some = {**past, "promotion_id": "some", "reach": 0.5}
    facts = Facts(shop.settings)
    facts.write({"promotions": make_table("promotions", [some])})
    assert promoted(shop).json()["items"][0]["unlawful"] is None
    facts.write({"promotions": make_table("promotions", [{**past, "promotion_id": "all"}])})
    assert "no reduction" in promoted(shop).json()["items"][0]["unlawful"]  # .80 after .70
    deeper = promoted(shop, percent=0.31).json()["items"][0]
    assert deeper["unlawful"] is None


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
    assert unknown.json()["where"] == "mean_basket"
    assert "fewer than 20 orders of the last 8 weeks" in unknown.json()["detail"]


def suggest(shop, **limits):
    body = {
        "item_ids": ["butter", "cheese", "honey"],
        "weeks": 4,
        "spacing_weeks": 5,
        "risk_aversion": 0,
    }
    body |= limits
    return shop.client.post("/v1/promotions/suggest", json=body)


def test_promotions_are_suggested_within_limits_and_the_law(shop):
    # At 1.00 a cost of .72 and an elasticity of -2 gain nothing by a cut; at .05 they do.
    none = suggest(shop, depths=[0.1]).json()
    assert none["items"] == [] and none["missing"] == ["honey"]
    assert none["left_out"] == {
        "no gain that is worth a promotion": 1,
        "the response to its price is not known": 1,
    }
    cheap = {"item_id": "butter", "valid_from": NOW - timedelta(days=1), "unit_cost_minor": 5}
    facts = Facts(shop.settings)
    facts.write({"costs": make_table("costs", [cheap | {"zone": "default"}])})
    answer = suggest(shop, depths=[0.1, 0.2])
    assert answer.status_code == 200, answer.text
    (found,) = answer.json()["items"]
    assert (found["item_id"], found["depth"], found["price"]) == ("butter", 0.2, "0.80")
    # Forecasts grow by a unit every week, so the last week is the best one.
    assert found["starts_at"] == max(found["starts_at"], (NOW + timedelta(weeks=2)).isoformat())
    assert any("largest demand" in reason for reason in found["reasons"])
    assert found["net"]["profit"] == answer.json()["net_profit"]
    with transaction(shop.server.engine) as connection:
        Ledger(connection).append(
            [make_price("butter", 78, days=-20), make_price("butter", 100, days=-10)]
        )
    # .78 was asked within 30 days before each of the weeks that begin before day 20.
    starts = [each["starts_at"] for each in suggest(shop, depths=[0.2]).json()["items"]]
    assert all(datetime.fromisoformat(start) >= NOW + timedelta(days=20) for start in starts)
    assert suggest(shop, depths=[1.5]).status_code == 422
    assert suggest(shop, weeks=99).status_code == 422
