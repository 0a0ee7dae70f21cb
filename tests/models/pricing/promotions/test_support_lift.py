"""What a display or a mailer adds to a promotion, beside its price."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.contracts.errors import BadInput
from models.pricing.promotions.promotion_response import FamilyEffects, PromotionResponse
from models.pricing.promotions.support_lift import compute_support_lift
from models.pricing.promotions.what_if import evaluate_campaign
from tests.shops.campaigns import make_campaign
from tests.shops.priced_items import make_item

LEARNT = {"display": np.array([0.4, math.nan]), "mailer": np.array([0.2, 0.3])}
NOTHING = {}


def test_lifts_of_all_kinds_add_up_and_what_is_not_known_is_said():
    given = make_campaign(support=("display", "mailer", "banner"))
    lift = compute_support_lift(given, LEARNT, NOTHING, 2)
    assert lift.log_units.tolist() == pytest.approx([0.4 + 0.2, 0.3])
    assert lift.notes[:2] == (
        "no lift of 'display' was learnt for 1 of 2 items: it is not counted there",
        "no lift of 'banner' was learnt: it is not counted",
    )
    assert "not in the intervals" in lift.notes[2]
    nothing = compute_support_lift(make_campaign(), LEARNT, NOTHING, 2)
    assert (nothing.log_units.tolist(), nothing.notes) == ([0, 0], ())
    unknown = compute_support_lift(make_campaign(support=("price",)), LEARNT, NOTHING, 2)
    assert (unknown.log_units.tolist(), unknown.notes) == (
        [0, 0],
        ("no lift of 'price' was learnt: it is not counted",),
    )


def test_only_the_reach_that_the_forecast_does_not_hold_is_counted():
    given = make_campaign(support=("mailer",), reach=0.8)
    lift = compute_support_lift(given, LEARNT, {"mailer": np.array([0.5, 0.8])}, 2)
    assert lift.log_units.tolist() == pytest.approx([0.2 * (0.8 - 0.5), 0])
    assert (
        "'mailer' is planned for 2 of 2 items already: the forecast holds that part" in lift.notes
    )
    whole = compute_support_lift(given, LEARNT, {"mailer": np.array([0.8, 0.8])}, 2)
    assert (whole.log_units.tolist(), len(whole.notes)) == ([0, 0], 1)


def test_a_coupon_is_not_counted_by_its_price_and_as_a_support():
    lifts = {"coupon": np.array([0.5])}
    off = compute_support_lift(
        make_campaign("coupon", amount_minor=50, take_up=0.5, support=("coupon",)),
        lifts,
        NOTHING,
        1,
    )
    assert (off.log_units.tolist(), "not a second time" in off.notes[0]) == ([0], True)
    assert compute_support_lift(
        make_campaign(support=("coupon",)), lifts, NOTHING, 1
    ).log_units.tolist() == [0.5]


def test_the_effect_of_a_supported_discount_as_arithmetic():
    one = make_item(current=500, cost=300.0, elasticity=-2.0, error=0.0, units=40.0)
    what_if = evaluate_campaign(make_campaign(), [one], [], 4, lift=np.array([math.log(1.5)]))
    units = 20 * 1.5 * 0.8**-2  # two of the four weeks, half as much again, 20 % off
    assert what_if.expected.units.p50 == pytest.approx(units)
    assert what_if.expected.revenue.p50 == pytest.approx(units * 400)
    assert what_if.against_none.units.p50 == pytest.approx(units - 20)
    assert what_if.against_none.profit.p50 == pytest.approx(units * 100 - 20 * 200)
    assert what_if.items[0].lift == pytest.approx(1.5)
    unsupported = evaluate_campaign(make_campaign(), [one], [], 4)
    assert unsupported.items[0].lift == 1
    # The forecast is uncertain, the lift is taken as it is: its band is as wide as without it, in
    # logarithms.
    supported, plain = what_if.expected.units, unsupported.expected.units
    assert supported.p90 / supported.p10 == pytest.approx(plain.p90 / plain.p10)


def test_an_unknown_price_response_leaves_the_lift_alone():
    unknown = make_item(grade="D", elasticity=math.nan, error=math.nan, units=40.0)
    (promoted,) = evaluate_campaign(
        make_campaign(), [unknown], [], 4, lift=np.array([math.log(1.5)])
    ).items
    assert promoted.against_none.units.p50 == pytest.approx(20 * 0.5)


def test_the_family_loses_to_the_lift_as_well():
    one = replace(
        make_item(current=500, cost=300.0, elasticity=-2.0, error=0.0, units=40.0), family_id="tea"
    )
    other = replace(make_item("b", current=400, cost=300.0, units=200.0), family_id="tea")
    lift = np.array([math.log(1.5)])
    what_if = evaluate_campaign(make_campaign(switching=0.5), [one], [other], 4, lift=lift)
    assert what_if.cannibalised.units.p50 == pytest.approx(-0.5 * (20 * 1.5 * 0.8**-2 - 20))
    # Where the price's effect on the family was learnt it holds, and the switching share of what
    # the lift alone brings.
    units_of, price_of = np.array([1]), np.array([0])
    effects = FamilyEffects(units_of, price_of, np.array([0.2]), np.zeros(1))
    response = replace(PromotionResponse.from_items([one, other]), family=effects)
    campaign = make_campaign(switching=0.5, support=("display",))
    what_if = evaluate_campaign(campaign, [one], [other], 4, response, lift)
    by_price = 100 * (0.8**0.2 - 1)
    by_lift = 0.5 * 20 * 0.8**-2 * (1.5 - 1)
    assert what_if.cannibalised.units.p50 == pytest.approx(by_price - by_lift)
    plain = evaluate_campaign(make_campaign(), [one], [other], 4, response)
    assert plain.cannibalised.units.p50 == pytest.approx(by_price)


@given(lift=st.floats(0, 2), held=st.floats(0, 1), reach=st.floats(0, 1), error=st.floats(0, 0.5))
def test_more_of_it_planned_means_less_to_add_and_a_band_holds_its_middle(lift, held, reach, error):
    given = make_campaign(support=("display",), reach=reach)

    def added(planned):
        return compute_support_lift(
            given, {"display": np.array([lift])}, {"display": np.array([planned])}, 1
        ).log_units

    assert 0 <= added(held)[0] <= added(0.0)[0] == lift * reach
    one = make_item(current=500, elasticity=-2.0, error=error, units=40.0)
    less, more = (
        evaluate_campaign(given, [one], [], 4, lift=added(planned)) for planned in (held, 0.0)
    )
    assert less.expected.units.p50 <= more.expected.units.p50 * (1 + 1e-12)
    for band in (more.expected.units, more.against_none.units, more.against_none.profit):
        assert band.p10 <= band.p50 <= band.p90


def test_wrong_support_is_refused():
    for wrong in ({"reach": 1.5}, {"support": ("display", "display")}):
        with pytest.raises(BadInput):
            make_campaign(**wrong)
