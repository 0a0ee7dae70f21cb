"""What a promotion did: known sales against the what-if that was frozen."""

from datetime import timedelta

import numpy as np
import pytest

from features.contracts.pricing import Band
from features.facts.facts import Facts
from models.pricing.effects.counterfactuals import ControlShift
from serving.promotions.outcomes import Sold, compare_shares, judge, read_bands, subtract
from tests.shops.event_tables import make_table
from tests.shops.price_desk import NOW
from tests.shops.promotion_desk import WEEKLY_UNITS, write_catalogue

START = NOW + timedelta(days=7)
TEA = {
    "name": "butter week",
    "item_ids": ["butter"],
    "mechanic": "percent_off",
    "percent": 0.2,
    "starts_at": START.isoformat(),
    "ends_at": (START + timedelta(days=7)).isoformat(),
    "cost": "10.00",
}


def sell(n, at, price=100, item="butter", **values):
    """Return n purchases a minute apart, each by another buyer in an order of its own."""
    prefix = values.get("prefix", f"{item}-{at:%m%d%H}")
    return [
        {
            "event_id": f"{prefix}-{number}",
            "event_type": values.get("event_type", "purchase"),
            "occurred_at": at + timedelta(minutes=number),
            "user_id": f"{values.get('who', prefix)}-{number}",
            "session_id": f"{prefix}-{number}",
            "item_id": item,
            "zone": "default",
            "quantity": 1.0,
            "line_amount_minor": price,
            "order_id": f"{prefix}-{number}",
        }
        for number in range(n)
    ]


def write_events(desk, *rows):
    events = [row for some in rows for row in some]
    Facts(desk.settings).write({"events": make_table("events", events)})


def run_promotion(desk, days=14, **values):
    """File and approve a promotion, move the clock, and return its id."""
    filed = desk.anna.post("/v1/promotions", json={**TEA, **values})
    assert filed.status_code == 200, filed.text
    key = filed.json()["id"]
    approved = desk.ben.post(f"/v1/promotions/{key}/approve", json={})
    assert approved.status_code == 200, approved.text
    desk.move(days=days)
    return key


def read_effect(desk, key):
    answer = desk.reader.get(f"/v1/promotions/{key}/effect")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_unchanged_items_move_what_would_have_sold_without_it(desk):
    """Everything sold half as much again, unchanged items too: the promotion brought nothing."""
    n = round(1.5 * WEEKLY_UNITS)
    write_events(desk, sell(n, START, price=80), sell(1, START + timedelta(days=8)))
    key = run_promotion(desk)
    alone = read_effect(desk, key)
    assert (alone["control"], alone["control_factor"]) == ("forecast", 1.0)
    assert alone["gain"]["units"]["p50"] == pytest.approx(n - WEEKLY_UNITS)
    desk.control.moved = ControlShift("unchanged items of Food > Dairy (9)", 1.5, 0.0)
    moved = read_effect(desk, key)
    assert moved["control"] == "unchanged items of Food > Dairy (9)"
    assert moved["without"]["units"]["p50"] == pytest.approx(1.5 * WEEKLY_UNITS)
    assert moved["gain"]["units"]["p50"] == pytest.approx(0)
    assert moved["expected"] == alone["expected"]  # stays as it was filed
    # What is not known of the unchanged items is not known of the promotion.
    desk.control.moved = ControlShift("unchanged items of Food > Dairy (9)", 1.5, 0.2)
    rough = read_effect(desk, key)
    half = moved["gain"]["units"]["p90"] - moved["gain"]["units"]["p50"]
    widened = np.hypot(half, 1.2815515655446004 * 0.2 * n)
    assert rough["gain"]["units"]["p90"] == pytest.approx(widened, rel=1e-3)
    assert rough["gain"]["units"]["p50"] == pytest.approx(0)


def test_no_control_is_measured_while_the_promotion_runs(desk):
    def fail(*_which):
        raise AssertionError("a gain is known after the end only")

    key = run_promotion(desk, days=9)
    desk.control.find = fail
    write_events(desk, sell(5, START, price=80))
    effect = read_effect(desk, key)
    assert (effect["verdict"], effect["control"]) == ("too_early", "forecast")


def test_a_week_that_sold_what_was_expected(desk):
    n = round(WEEKLY_UNITS * 0.8**-2)  # the response to a fifth off is -2
    key = run_promotion(desk, days=15)
    write_events(desk, sell(n, START, price=80), sell(1, START + timedelta(days=7, hours=2)))
    effect = read_effect(desk, key)
    assert effect["verdict"] == "as_expected"
    assert effect["sold"] == {
        "units": float(n),
        "revenue": f"{n * 0.8:.2f}",
        "profit": f"{n * (0.8 - 0.6):.2f}",
        "discount": f"{n * 0.2:.2f}",
    }
    without = effect["without"]
    assert without["units"]["p50"] == pytest.approx(WEEKLY_UNITS)
    # The forecast of four weeks, 400 (320 to 480), and the chance of 100 sales.
    half = 1.2815515655446004 * np.sqrt(WEEKLY_UNITS)
    assert without["units"]["p90"] - WEEKLY_UNITS >= half - 0.01
    assert effect["gain"]["units"]["p50"] == pytest.approx(n - WEEKLY_UNITS)
    gain = n * 0.2 - WEEKLY_UNITS * 0.4
    assert effect["gain"]["profit"]["p50"] == pytest.approx(gain, abs=0.01)
    invested = n * 0.2 + 10  # the discount, and what it cost beside it
    assert effect["roi"]["p50"] == pytest.approx((gain - 10) / invested, abs=1e-3)
    assert effect["roi"]["p10"] < effect["roi"]["p50"] < effect["roi"]["p90"]


def test_what_is_not_known_is_said_and_never_zero(desk):
    write_catalogue(desk.settings, unit_cost_minor=None)
    desk.models.trained = False
    key = run_promotion(desk, days=3)
    refused = desk.reader.get(f"/v1/promotions/{key}/effect").json()
    assert (refused["verdict"], refused["sold"]) == ("too_early", None)
    desk.move(days=5)
    running = read_effect(desk, key)
    assert running["verdict"] == "too_early"
    assert "it runs until" in running["unknown"]["gain"]
    desk.move(days=7)
    write_events(desk, sell(5, START, price=80))
    early = read_effect(desk, key)
    assert early["verdict"] == "too_early" and "sales are known until" in early["unknown"]["gain"]
    write_events(desk, sell(1, START + timedelta(days=7, hours=1)))
    effect = read_effect(desk, key)
    assert effect["verdict"] == "unknown"
    assert (effect["expected"], effect["gain"], effect["roi"]) == (None, None, None)
    assert (effect["sold"]["units"], effect["sold"]["profit"]) == (5.0, None)
    assert effect["unknown"]["profit"] == "no cost is known of butter"
    assert "nothing was forecast" in effect["unknown"]["gain"]
    for name in ("baskets", "conversion", "repeat_purchase"):
        assert effect[name] is None and effect["unknown"][name]


def test_baskets_conversion_and_buyers_who_came_back(desk):
    before, far = START - timedelta(days=7), START - timedelta(days=35)
    during = sell(40, START, price=80)
    bread = [{**row, "event_id": f"b{row['event_id']}", "item_id": "bread"} for row in during]
    views = sell(80, START, prefix=during[0]["event_id"][:-2], event_type="view_item")
    views = [{**row, "event_id": f"v{row['event_id']}"} for row in views]
    views_before = sell(50, before, event_type="view_item", prefix="old")
    views_before = [{**row, "event_id": f"v{row['event_id']}"} for row in views_before]
    # 30 of the 40 buyers come back, of the 20 of a time before only 5.
    again = sell(
        30, START + timedelta(days=20), item="milk", prefix="again", who=during[0]["event_id"][:-2]
    )
    early = sell(20, far, prefix="far")
    early_again = sell(5, far + timedelta(days=10), prefix="far-again", who="far")
    key = run_promotion(desk, days=14)
    write_events(
        desk,
        during,
        bread,
        views,
        views_before,
        sell(25, before, prefix="old"),
        again,
        early,
        early_again,
    )
    soon = read_effect(desk, key)
    assert "28 days have not passed" in soon["unknown"]["repeat_purchase"]
    desk.move(days=30)
    effect = read_effect(desk, key)
    baskets = effect["baskets"]
    assert (baskets["during"], baskets["before"]) == (1.60, 1.00)
    assert (baskets["n_during"], baskets["n_before"]) == (40, 25)
    conversion = effect["conversion"]
    assert (conversion["during"], conversion["before"]) == (40 / 80, 25 / 50)
    repeat = effect["repeat_purchase"]
    assert (repeat["during"], repeat["before"]) == (30 / 40, 5 / 20)
    assert repeat["difference"]["p10"] < 0.5 < repeat["difference"]["p90"]


def test_a_promotion_that_was_ended_early_is_held_against_its_share(desk):
    key = run_promotion(desk, days=7 + 3.5)
    assert desk.ben.post(f"/v1/promotions/{key}/end", json={}).status_code == 200
    desk.move(days=2)
    write_events(desk, sell(60, START, price=80), sell(1, START + timedelta(days=5)))
    effect = read_effect(desk, key)
    assert effect["share_of_time"] == 0.5
    assert effect["without"]["units"]["p50"] == pytest.approx(WEEKLY_UNITS / 2)
    assert effect["sold"]["units"] == 60.0


def test_a_promotion_that_never_ran_has_no_effect(desk):
    filed = desk.anna.post("/v1/promotions", json=TEA).json()
    answer = desk.reader.get(f"/v1/promotions/{filed['id']}/effect")
    assert answer.status_code == 409


def test_the_gain_is_within_its_interval_as_often_as_it_says():
    """A forecast that errs by 10 % and sales that are counts: 80 % of the true gains are within."""
    rng, mean, n = np.random.default_rng(7), 50.0, 4_000
    half = 1.2815515655446004 * 0.1 * mean
    document = {
        "without": {
            "units": {"p10": mean - half, "p50": mean, "p90": mean + half},
            "revenue": {"p10": "0", "p50": "0", "p90": "0"},
            "profit": {"p10": "0", "p50": "0", "p90": "0"},
        }
    }
    bands = read_bands(document, "without", 1.0, "EUR")
    base = rng.poisson(np.maximum(mean * (1 + 0.1 * rng.standard_normal(n)), 0))
    true_gain = rng.poisson(20, n)
    gains = [
        subtract(Sold(float(units), 0.0, 0.0, 0.0), bands)["units"] for units in base + true_gain
    ]
    inside = [band.p10 <= gain <= band.p90 for band, gain in zip(gains, true_gain, strict=True)]
    # The standard error of the share is 0.006; counts are whole numbers.
    assert 0.77 <= np.mean(inside) <= 0.84


def test_verdicts_and_shares():
    expected = {"units": Band(80, 100, 120), "profit": Band(10, 20, 30)}
    assert judge(Sold(70, 0, None, 0), expected) == "worse"
    assert judge(Sold(130, 0, None, 0), expected) == "better"
    assert judge(Sold(70, 0, 20, 0), expected) == "as_expected"  # profit counts where it is known
    assert judge(Sold(70, 0, 20, 0), None) == "unknown"
    assert compare_shares(19, 5, 100, 20) is None
