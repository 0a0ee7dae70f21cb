import math
from dataclasses import replace
from datetime import timedelta

import pytest

from features.contracts.errors import BadInput
from models.pricing.promotions.what_if import (
    PromotionRun,
    compute_paid_prices,
    evaluate_campaign,
    find_conflicts,
)
from tests.shops.campaigns import START, make_campaign
from tests.shops.priced_items import make_item


@pytest.mark.parametrize(
    ("given", "paid"),
    [
        (make_campaign(percent=0.2), [400, 160]),
        (make_campaign("price_off", amount_minor=150), [350, 50]),
        (make_campaign("price_off", amount_minor=300), [200, 0]),
        (make_campaign("coupon", amount_minor=100, take_up=0.3), [470, 170]),
        # 7.00 for the two together: 600 instead of 700 for the half that takes it, so a fourteenth
        # off.
        (make_campaign("bundle", amount_minor=600, take_up=0.5), [500 * 13 / 14, 200 * 13 / 14]),
        (
            make_campaign("bundle", amount_minor=900, take_up=0.5),
            [500, 200],
        ),  # dearer than apart: nobody gains
    ],
)
def test_what_is_paid_as_arithmetic(given, paid):
    assert compute_paid_prices(
        given, [make_item(current=500), make_item(current=200)]
    ).tolist() == pytest.approx(paid)


def test_spend_and_save_counts_the_orders_that_reach_the_threshold():
    given = make_campaign(
        "spend_save", amount_minor=500, threshold_minor=3000, mean_basket_minor=2000
    )
    reached = math.exp(-1.5)
    assert compute_paid_prices(given, [make_item(current=500)])[0] == pytest.approx(
        500 * (1 - 500 * reached / 2000)
    )
    again = replace(given, repeats=True)
    times = sum(
        math.exp(-1.5 * k) for k in range(1, 60)
    )  # the first, the second, ... threshold reached
    assert compute_paid_prices(again, [make_item(current=500)])[0] == pytest.approx(
        500 * (1 - 500 * times / 2000)
    )


def test_the_effect_of_a_discount_as_arithmetic():
    one = make_item(current=500, cost=300.0, elasticity=-2.0, error=0.0, units=40.0)
    what_if = evaluate_campaign(make_campaign(), [one], [], horizon_weeks=4)
    units = 20 * 0.8**-2  # two of the four weeks, 20 % off
    assert what_if.expected.units.p50 == pytest.approx(units)
    assert what_if.expected.revenue.p50 == pytest.approx(units * 400)
    assert what_if.against_none.profit.p50 == pytest.approx(units * 100 - 20 * 200)
    assert what_if.net == what_if.against_none  # no family, nothing to lose there
    twice = evaluate_campaign(
        make_campaign(), [one, replace(one, item_id="b")], [], horizon_weeks=4
    )
    assert twice.net.profit.p50 == pytest.approx(2 * what_if.net.profit.p50)


def test_a_family_loses_what_buyers_switch():
    one = replace(
        make_item(current=500, cost=300.0, elasticity=-2.0, error=0.0, units=40.0), family_id="tea"
    )
    others = [
        replace(make_item("b", current=400, cost=300.0, units=20.0), family_id="tea"),
        replace(make_item("c", current=600, cost=400.0, units=60.0), family_id="tea"),
        replace(make_item("d", units=500.0), family_id="milk"),
    ]
    what_if = evaluate_campaign(make_campaign(switching=0.5), [one], others, horizon_weeks=4)
    lost = 0.5 * (
        20 * 0.8**-2 - 20
    )  # half of the additional units, in proportion to what the others sell
    assert what_if.cannibalised.units.p50 == pytest.approx(-lost)
    assert what_if.cannibalised.profit.p50 == pytest.approx(-lost * (100 * 0.25 + 200 * 0.75))
    assert what_if.net.units.p50 == pytest.approx(what_if.against_none.units.p50 - lost)
    few = [replace(other, units_mean=0.1) for other in others[:2]]
    all_of_them = evaluate_campaign(make_campaign(switching=1.0), [one], few, horizon_weeks=4)
    assert all_of_them.cannibalised.units.p50 == pytest.approx(
        -0.1
    )  # no more than they sell in two of four weeks


def test_an_unknown_response_gives_no_additional_units():
    unknown = make_item(grade="D", elasticity=math.nan, error=math.nan, units=40.0)
    (promoted,) = evaluate_campaign(make_campaign(), [unknown], [], horizon_weeks=4).items
    assert not promoted.known and promoted.against_none.units.p50 == 0
    assert promoted.against_none.profit.p50 == pytest.approx(-20 * 100)


def test_promotions_that_get_in_each_others_way_are_found():
    days = [START + timedelta(days=n) for n in range(40)]
    runs = [
        PromotionRun("easter", "a", days[10], days[20]),
        PromotionRun("later", "a", days[14], days[20]),  # begins as ours ends
        PromotionRun("tea week", "b", days[3], None),
        PromotionRun("what-if", "a", days[0], days[20]),  # itself
        PromotionRun("milk", "z", days[0], days[20]),
    ]
    conflicts = find_conflicts(make_campaign(), ["a"], runs, {"a": "tea", "b": "tea", "z": "milk"})
    assert [
        (conflict.other, conflict.other_item_id, conflict.starts_at, conflict.ends_at)
        for conflict in conflicts
    ] == [
        ("tea week", "b", days[3], days[14]),
        ("easter", "a", days[10], days[14]),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"mechanic": "bundle", "amount_minor": 100},
        {"mechanic": "spend_save", "amount_minor": 100, "threshold_minor": 500},
        {"percent": 1.2},
        {"mechanic": "price_off", "amount_minor": 0},
        {"weeks": 0.0},
    ],
)
def test_wrong_campaigns_are_refused(wrong):
    with pytest.raises(BadInput):
        make_campaign(**wrong)
    with pytest.raises(BadInput, match="items"):
        evaluate_campaign(make_campaign(), [], [], horizon_weeks=4)
