import math
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.contracts.errors import BadInput
from models.pricing.promotions.conflicts import PromotionRun, find_conflicts
from models.pricing.promotions.promotion_response import FamilyEffects, PromotionResponse
from models.pricing.promotions.what_if import evaluate_campaign
from tests.shops.campaigns import START, make_campaign
from tests.shops.priced_items import make_item


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


def make_family(*, units=(40.0, 20.0, 60.0)):
    """Return three items of one family: what each sells in four weeks."""
    return [
        replace(
            make_item("a", current=500, cost=300.0, error=0.0, units=units[0]), family_id="tea"
        ),
        replace(
            make_item("b", current=400, cost=300.0, error=0.0, units=units[1]), family_id="tea"
        ),
        replace(
            make_item("c", current=600, cost=400.0, error=0.0, units=units[2]), family_id="tea"
        ),
    ]


def test_a_family_loses_what_buyers_switch():
    a, *others = make_family()
    others.append(replace(make_item("d", units=500.0), family_id="milk"))
    what_if = evaluate_campaign(make_campaign(switching=0.5), [a], others, horizon_weeks=4)
    lost = 0.5 * (20 * 0.8**-2 - 20)  # half of the additional units, by what the others sell
    assert what_if.cannibalised.units.p50 == pytest.approx(-lost)
    assert what_if.cannibalised.profit.p50 == pytest.approx(-lost * (100 * 0.25 + 200 * 0.75))
    assert what_if.against_none.units.p50 == pytest.approx(20 * 0.8**-2 - 20)
    assert what_if.net.units.p50 == pytest.approx(what_if.against_none.units.p50 - lost)
    few = [replace(other, units_mean=0.1) for other in others[:2]]
    all_of_them = evaluate_campaign(make_campaign(switching=1.0), [a], few, horizon_weeks=4)
    assert all_of_them.cannibalised.units.p50 == pytest.approx(
        -0.1, abs=1e-6
    )  # no more than they sell in two of four weeks


def test_items_promoted_together_take_from_each_other():
    a, b, c = make_family(units=(40.0, 40.0, 40.0))
    campaign = make_campaign(switching=0.5)
    gain = 20 * 0.8**-2 - 20
    alone = evaluate_campaign(campaign, [a], [b, c], 4)
    assert alone.net.units.p50 == pytest.approx(0.5 * gain)
    together = evaluate_campaign(campaign, [a, b, c], [], 4)
    # Alike, they sell alike: each keeps what is new to the family.
    assert [item.against_none.units.p50 for item in together.items] == pytest.approx(
        [0.5 * gain] * 3
    )
    assert [item.lost_to_others.units.p50 for item in together.items] == pytest.approx(
        [-0.5 * gain] * 3
    )
    assert together.net.units.p50 == pytest.approx(3 * 0.5 * gain)
    strangers = [replace(item, family_id=None) for item in (a, b, c)]
    apart = evaluate_campaign(campaign, strangers, [], 4)
    assert apart.net.units.p50 == pytest.approx(3 * gain)


def learn_family(items, price, **more):
    """Return a response with the effect `price` of every item's price on every other one."""
    pairs = [(i, j) for i in range(len(items)) for j in range(len(items)) if i != j]
    units_of, price_of = np.array(pairs, np.int64).T
    zeros = np.zeros(len(pairs))
    family = FamilyEffects(units_of, price_of, zeros + price, zeros, **more)
    return replace(PromotionResponse.from_items(items), family=family)


def test_effects_within_a_family_that_were_learnt_count_for_all_promoted_items():
    a, b, c = make_family()
    items = [a, b, c]
    what_if = evaluate_campaign(make_campaign(), [a, b], [c], 4, learn_family(items, 0.3))
    # b's price is lower by a fifth as well, so a sells .8 ** .3 of what it would alone.
    assert what_if.items[0].expected.units.p50 == pytest.approx(20 * 0.8**-2 * 0.8**0.3)
    assert what_if.items[1].expected.units.p50 == pytest.approx(10 * 0.8**-2 * 0.8**0.3)
    assert what_if.cannibalised.units.p50 == pytest.approx(30 * (0.8**0.6 - 1))
    assert what_if.cannibalised.profit.p50 == pytest.approx(30 * (0.8**0.6 - 1) * 200)
    # Items that sell more beside each other: the same in the other direction.
    halo = evaluate_campaign(make_campaign(), [a], [b, c], 4, learn_family(items, -0.3))
    assert halo.cannibalised.units.p50 == pytest.approx(40 * (0.8**-0.3 - 1))


def test_an_announcement_takes_from_the_family_what_was_learnt():
    items = make_family()
    response = learn_family(items, 0.0)
    announced = replace(response.family, announced=np.full(6, -0.1))
    response = replace(response, family=announced)
    what_if = evaluate_campaign(make_campaign(), items[:1], items[1:], 4, response)
    assert what_if.cannibalised.units.p50 == pytest.approx(40 * (math.exp(-0.1) - 1))
    tied = make_campaign("buy_get", take_up=0.5)  # announces no reduction of the item
    untouched = evaluate_campaign(tied, items[:1], items[1:], 4, response)
    assert untouched.cannibalised.units.p50 == pytest.approx(0, abs=1e-12)
    # The same among some of the items only.
    few = response.select(np.array([2, 0]))
    assert few.family.announced.tolist() == [-0.1, -0.1]
    assert sorted(zip(few.family.units_of.tolist(), few.family.price_of.tolist(), strict=True)) == [
        (0, 1),
        (1, 0),
    ]


def test_a_display_takes_from_the_family_what_was_learnt():
    a, b, c = make_family()
    response = learn_family([a, b, c], 0.0, kinds={"display": np.full(6, -0.2)})
    what_if = evaluate_campaign(
        make_campaign(support=("display",), reach=0.5), [a], [b, c], 4, response
    )
    assert what_if.cannibalised.units.p50 == pytest.approx(40 * (math.exp(-0.2 * 0.5) - 1))


def test_the_weeks_after_lose_the_dip_that_was_estimated():
    one = make_item(current=500, cost=300.0, elasticity=-2.0, error=0.0, units=40.0)
    response = replace(PromotionResponse.from_items([one]), dip=np.array([-0.5]))
    dip = math.exp(0.5 * math.log(0.8))  # reduced by -ln .8 in logs
    week = evaluate_campaign(make_campaign(weeks=1.0), [one], [], 4, response)
    assert week.expected.units.p50 == pytest.approx(10 * 0.8**-2)
    assert week.after.units.p50 == pytest.approx(10 * (dip - 1))
    assert week.after.profit.p50 == pytest.approx(10 * (dip - 1) * 200)
    assert week.net.units.p50 == pytest.approx(10 * 0.8**-2 - 10 + 10 * (dip - 1))
    # The second week is the week after the first.
    two = evaluate_campaign(make_campaign(weeks=2.0), [one], [], 4, response)
    assert two.expected.units.p50 == pytest.approx(10 * 0.8**-2 * (1 + dip))
    assert two.after.units.p50 == pytest.approx(10 * (dip - 1))
    # Half a week lowers the mean price of its week by half.
    half = evaluate_campaign(make_campaign(weeks=0.5), [one], [], 4, response)
    assert half.after.units.p50 == pytest.approx(10 * (dip**0.5 - 1))
    none = evaluate_campaign(make_campaign(weeks=1.0), [one], [], 4)
    assert none.after.units.p50 == 0 and "no dip" in none.notes[0]
    display = replace(response, dip=np.array([0.0]), kind_dips={"display": np.array([-0.1])})
    shown = make_campaign(weeks=1.0, support=("display",), reach=0.5)
    after = evaluate_campaign(shown, [one], [], 4, display).after
    assert after.units.p50 == pytest.approx(10 * (math.exp(-0.1 * 0.5) - 1))


def test_being_announced_as_reduced_adds_its_step():
    one = make_item(current=500, cost=300.0, elasticity=-2.0, error=0.0, units=40.0)
    response = replace(PromotionResponse.from_items([one]), step=np.array([0.3]))
    announced = evaluate_campaign(make_campaign(), [one], [], 4, response)
    assert announced.expected.units.p50 == pytest.approx(20 * 0.8**-2 * math.exp(0.3))
    bundle = make_campaign("bundle", amount_minor=400, take_up=1.0)
    tied = evaluate_campaign(bundle, [one], [], 4, response)
    assert tied.expected.units.p50 == pytest.approx(20 * 0.8**-2)


def test_a_coupon_that_some_get_and_some_of_them_use():
    one = make_item(current=500, cost=300.0, elasticity=-2.0, error=0.0, units=40.0)
    coupon = make_campaign("coupon", amount_minor=100, coupon_reach=0.4, take_up=0.5)
    what_if = evaluate_campaign(coupon, [one], [], 4)
    paid = 500 - 0.5 * 100  # on average by those who have it
    reached = 20 * 0.4 * (paid / 500) ** -2
    assert what_if.expected.units.p50 == pytest.approx(20 * 0.6 + reached)
    assert what_if.redeemed.p50 == pytest.approx(0.5 * reached)
    revenue = 20 * 0.6 * 500 + reached * paid
    assert what_if.expected.revenue.p50 == pytest.approx(revenue)
    # Twice the reach and half the take-up is another campaign.
    other = make_campaign("coupon", amount_minor=100, coupon_reach=0.8, take_up=0.25)
    assert evaluate_campaign(other, [one], [], 4).expected.units.p50 != what_if.expected.units.p50
    # A take-up that is not known well makes the interval of the redeemed wider.
    sure = replace(one, units_p90=one.units_p50)  # a forecast without any error
    known = evaluate_campaign(coupon, [sure], [], 4).redeemed
    unsure = evaluate_campaign(replace(coupon, take_up_error=0.2), [sure], [], 4).redeemed
    assert known.p10 == known.p90 == pytest.approx(known.p50)
    assert unsure.p10 < unsure.p50 < unsure.p90
    assert unsure.p50 == pytest.approx(known.p50)


def test_spend_and_save_counts_orders_spend_discount_and_profit():
    one = make_item(current=500, cost=300.0, elasticity=0.0, error=0.0, units=40.0, spread=1.0)
    offer = {"amount_minor": 500, "threshold_minor": 3000, "mean_basket_minor": 2000}
    given = make_campaign("spend_save", basket_log_sd=0.7, stretch=0.5, **offer)
    what_if = evaluate_campaign(given, [one], [], 4)
    orders = 20 * 500 / 2000  # what they spend without the offer, by the mean basket
    outcome = given.spend_orders.apply_offer(given.spend_offer, np.array([0.5]))
    result = what_if.threshold
    assert result.orders.p50 == pytest.approx(orders)
    assert result.qualifying.p50 == pytest.approx(orders * outcome.qualifying[0])
    assert result.stretching.p50 == pytest.approx(orders * outcome.stretching[0])
    added, saved = orders * outcome.added[0], orders * outcome.saved[0]
    assert (result.added.p50, result.saved.p50) == pytest.approx((added, saved))
    # What is added is bought at the usual margin of two fifths; what is saved is lost.
    assert what_if.against_none.revenue.p50 == pytest.approx(added - saved)
    assert what_if.net.profit.p50 == pytest.approx(added * 0.4 - saved)
    assert result.added.p10 < result.added.p50 < result.added.p90
    assert what_if.net.profit.p10 < what_if.net.profit.p50 < what_if.net.profit.p90
    sure = replace(given, stretch_log_error=0.01)
    narrow = evaluate_campaign(sure, [one], [], 4).threshold.added
    assert narrow.p90 - narrow.p10 < 0.05 * (result.added.p90 - result.added.p10)


MECHANICS = st.sampled_from(
    [
        {"percent": 0.3},
        {"mechanic": "price_off", "amount_minor": 120},
        {"mechanic": "coupon", "percent": 0.3, "take_up": 0.4, "coupon_reach": 0.5},
        {"mechanic": "bundle", "amount_minor": 700, "take_up": 0.5},
        {"mechanic": "buy_get", "take_up": 0.7},
        {
            "mechanic": "spend_save",
            "amount_minor": 300,
            "threshold_minor": 2000,
            "mean_basket_minor": 1500,
        },
    ]
)


@settings(max_examples=60, deadline=None)
@given(
    how=MECHANICS,
    slopes=st.lists(st.floats(-6, 0.5), min_size=4, max_size=4),
    units=st.lists(st.floats(0, 500), min_size=4, max_size=4),
    n_promoted=st.integers(1, 4),
    switching=st.floats(0, 1),
    dip=st.floats(-2, 1),
    cross=st.none() | st.floats(-1, 2),
    lift=st.floats(0, 1),
)
def test_totals_add_up_and_no_item_sells_less_than_nothing(
    how, slopes, units, n_promoted, switching, dip, cross, lift
):
    items = [
        replace(make_item(str(n), elasticity=slope, units=sold), family_id="tea" if n < 3 else None)
        for n, (slope, sold) in enumerate(zip(slopes, units, strict=True))
    ]
    response = PromotionResponse.from_items(items) if cross is None else learn_family(items, cross)
    response = replace(response, dip=np.full(4, dip))
    campaign = make_campaign(switching=switching, **how)
    promoted, rest = items[:n_promoted], items[n_promoted:]
    what_if = evaluate_campaign(campaign, promoted, rest, 4, response, np.full(n_promoted, lift))
    for name in ("units", "revenue", "profit"):
        for part in ("expected", "against_none", "cannibalised", "after"):
            total = getattr(getattr(what_if, part), name).p50
            parts = [getattr(getattr(item, part), name).p50 for item in what_if.items]
            assert total == pytest.approx(sum(parts), rel=1e-6, abs=1e-6)
        net = sum(
            getattr(getattr(what_if, part), name).p50
            for part in ("against_none", "cannibalised", "after")
        )
        assert getattr(what_if.net, name).p50 == pytest.approx(net, rel=1e-6, abs=1e-6)
    sold = sum(item.units_mean for item in rest) / 2
    assert what_if.cannibalised.units.p50 >= -sold - 1e-6
    for item, before in zip(what_if.items, promoted, strict=True):
        assert item.expected.units.p10 >= 0
        assert item.after.units.p50 >= -before.units_mean / 4 - 1e-9
        for band in (item.expected.units, item.against_none.profit, what_if.net.profit):
            assert band.p10 <= band.p50 <= band.p90


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
        {"mechanic": "coupon", "take_up": 0.5},
        {"mechanic": "coupon", "take_up": 0.5, "amount_minor": 50, "percent": 0.1},
        {"mechanic": "coupon", "take_up": 0.5, "amount_minor": 50, "coupon_reach": 2.0},
        {"mechanic": "buy_get"},
        {"mechanic": "buy_get", "take_up": 0.5, "free": 0},
    ],
)
def test_wrong_campaigns_are_refused(wrong):
    with pytest.raises(BadInput):
        make_campaign(**wrong)
    with pytest.raises(BadInput, match="items"):
        evaluate_campaign(make_campaign(), [], [], horizon_weeks=4)
