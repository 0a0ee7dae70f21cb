"""Promotion plans: arithmetic of one, limits of many, and the best possible of small ones."""

import itertools
import math
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.contracts.errors import BadInput
from models.pricing.promotions.promotion_response import PromotionResponse
from models.pricing.promotions.weekly_plan import (
    LIMITED,
    NO_GAIN,
    THIN_MARGIN,
    UNKNOWN_RESPONSE,
    UNLAWFUL,
    PlanInput,
    PlanLimits,
    list_reduced_prices,
    plan_promotions,
)
from tests.shops.campaigns import START
from tests.shops.priced_items import make_item

MEAN = PlanLimits(risk_aversion=0.0, min_gain_minor=1.0)


def make_plan_input(items, profile=None, families=(), **response):
    everything = PromotionResponse.from_items([*items, *families])
    profile = np.ones((len(items), 4)) if profile is None else np.array(profile, np.float64)
    starts_at = [START + timedelta(weeks=week) for week in range(profile.shape[1])]
    learnt = replace(everything, **response)
    return PlanInput(items, list(families), learnt, 4, profile, starts_at)


def test_the_best_depth_and_week_as_arithmetic():
    one = make_item(current=500, cost=200.0, elasticity=-4.0, error=0.0, units=40.0, spread=1.0)
    given = make_plan_input([one], [[0.5, 1.0, 1.5, 1.0]])
    plan = plan_promotions(given, replace(MEAN, max_per_item=1), {})
    # Ten units a week: at p they sell 10 (p / 500) ** -4, of which each leaves p - 200.
    gains = {
        depth: 10 * (1 - depth) ** -4 * (500 * (1 - depth) - 200) - 10 * 300
        for depth in (0.1, 0.2, 0.3)
    }
    best = max(gains, key=gains.get)
    (suggestion,) = plan.suggestions
    assert (suggestion.depth, suggestion.starts_at) == (best, START + timedelta(weeks=2))
    assert suggestion.price_minor == round(500 * (1 - best))
    assert suggestion.net.profit.p50 == pytest.approx(1.5 * gains[best])
    assert "largest demand in this week is +50%" in suggestion.reasons[0]
    assert plan.net_profit.p50 == pytest.approx(suggestion.net.profit.p50)


def test_items_without_a_promotion_say_why():
    good = make_item("good", cost=200.0, elasticity=-4.0, error=0.1)
    items = [
        good,
        make_item("unknown", elasticity=math.nan, error=math.nan),
        make_item("thin", cost=490.0, elasticity=-4.0),
        make_item("dull", elasticity=-1.0),
        replace(good, item_id="unlawful"),
        replace(good, item_id="second"),
    ]
    forbidden = {
        ("unlawful", price, week): UNLAWFUL
        for _, price in list_reduced_prices(good, MEAN)
        for week in range(4)
    }
    limits = replace(MEAN, max_per_week=1, spacing_weeks=9)
    plan = plan_promotions(
        make_plan_input(items, np.ones((6, 4))[:, :1]),
        limits,
        {key: why for key, why in forbidden.items() if key[2] == 0},
    )
    assert [suggestion.item_id for suggestion in plan.suggestions] == ["good"]
    assert plan.left_out == {
        UNKNOWN_RESPONSE: 1,
        THIN_MARGIN: 1,
        NO_GAIN: 1,
        UNLAWFUL: 1,
        LIMITED: 1,
    }


def test_a_smaller_depth_is_taken_where_the_law_forbids_the_best_one():
    one = make_item(cost=100.0, elasticity=-4.0, error=0.0)
    prices = dict(list_reduced_prices(one, MEAN))
    forbidden = {("milk", prices[0.3], week): UNLAWFUL for week in range(4)}
    free = plan_promotions(make_plan_input([one]), MEAN, {}).suggestions[0]
    bound = plan_promotions(make_plan_input([one]), MEAN, forbidden).suggestions[0]
    assert (free.depth, bound.depth) == (0.3, 0.2)


def test_the_dip_and_the_family_are_paid_for():
    one = make_item("a", cost=200.0, elasticity=-4.0, error=0.0)
    alone = plan_promotions(make_plan_input([one]), MEAN, {}).suggestions[0]
    dips = make_plan_input([one], dip=np.array([-1.0]))
    dipped = plan_promotions(dips, MEAN, {}).suggestions[0]
    assert dipped.net.profit.p50 < alone.net.profit.p50
    assert any("the week after loses" in reason for reason in dipped.reasons)
    family = [replace(make_item(name, cost=200.0), family_id="tea") for name in "bc"]
    shared = make_plan_input([replace(one, family_id="tea")], families=family)
    with_family = plan_promotions(shared, MEAN, {}).suggestions[0]
    assert any("its family loses" in reason for reason in with_family.reasons)
    # A week sells 10 (1 - d) ** -4 at 200 - 500 d each instead of 10 at 200: 441 more at most, of
    # which nothing is left where the week after loses nearly all of its 10 at 200.
    dear = make_item("a", cost=300.0, elasticity=-4.0, error=0.0)
    assert plan_promotions(make_plan_input([dear]), MEAN, {}).suggestions
    steep = make_plan_input([dear], dip=np.array([-9.0]))
    assert plan_promotions(steep, MEAN, {}).left_out == {NO_GAIN: 1}


def test_an_uncertain_gain_is_worth_less():
    sure = make_item("sure", cost=250.0, elasticity=-3.5, error=0.05)
    unsure = replace(sure, item_id="unsure", elasticity_error=1.5)
    given = make_plan_input([unsure, sure])
    careful = plan_promotions(given, replace(MEAN, risk_aversion=0.5), {}).suggestions
    value = {suggestion.item_id: suggestion.value for suggestion in careful}
    assert careful[0].item_id == "sure" and value.get("unsure", 0.0) < 0.7 * value["sure"]
    means = plan_promotions(given, MEAN, {}).suggestions
    value = {suggestion.item_id: suggestion.value for suggestion in means}
    assert value["unsure"] == pytest.approx(value["sure"])


@settings(max_examples=40, deadline=None)
@given(
    costs=st.lists(st.floats(50, 480), min_size=1, max_size=8),
    profile=st.lists(st.floats(0.2, 3), min_size=8, max_size=8),
    max_per_week=st.integers(1, 3),
    max_per_item=st.integers(1, 3),
    spacing=st.integers(0, 4),
)
def test_no_limit_is_broken(costs, profile, max_per_week, max_per_item, spacing):
    items = [
        replace(
            make_item(str(n), cost=cost, elasticity=-4.0, error=0.0),
            family_id="tea" if n % 2 else None,
        )
        for n, cost in enumerate(costs)
    ]
    limits = replace(
        MEAN, max_per_week=max_per_week, max_per_item=max_per_item, spacing_weeks=spacing
    )
    given = make_plan_input(items, np.tile(profile, (len(items), 1)))
    plan = plan_promotions(given, limits, {})
    by_id = {item.item_id: item for item in items}
    weeks = {(s.item_id, (s.starts_at - START) // timedelta(weeks=1)) for s in plan.suggestions}
    assert len(weeks) == len(plan.suggestions)
    for week in range(8):
        promoted = [item_id for item_id, at in weeks if at == week]
        assert len(promoted) <= max_per_week
        assert sum(by_id[item_id].family_id == "tea" for item_id in promoted) <= 1
    for item_id in by_id:
        own = sorted(at for name, at in weeks if name == item_id)
        assert len(own) <= max_per_item
        assert all(later - earlier > spacing for earlier, later in itertools.pairwise(own))
    for suggestion in plan.suggestions:
        item = by_id[suggestion.item_id]
        assert suggestion.price_minor - item.unit_cost_minor >= 0.05 * suggestion.price_minor - 1e-9
        assert suggestion.net.profit.p50 > 0
    values = [suggestion.value for suggestion in plan.suggestions]
    assert values == sorted(values, reverse=True)


def test_the_plan_is_near_the_best_of_all_small_plans():
    rng = np.random.default_rng(4)
    shares = []
    for _ in range(30):
        items = [
            make_item(str(n), cost=float(rng.uniform(100, 300)), elasticity=-4.0, error=0.0)
            for n in range(3)
        ]
        profile = rng.uniform(0.3, 2, (3, 4))
        limits = replace(MEAN, max_per_week=1, max_per_item=1, spacing_weeks=1)
        given = make_plan_input(items, profile)
        single = [
            plan_promotions(
                replace(
                    given, starts_at=[START + timedelta(weeks=week)], profile=profile[:, [week]]
                ),
                replace(limits, max_per_week=9),
                {},
            ).suggestions
            for week in range(4)
        ]
        value = {(s.item_id, week): s.value for week, found in enumerate(single) for s in found}
        best = max(
            sum(value.get((str(item), week), 0.0) for item, week in enumerate(weeks))
            for weeks in itertools.permutations(range(4), 3)
        )
        plan = plan_promotions(given, limits, {})
        shares.append(sum(s.value for s in plan.suggestions) / best if best else 1.0)
    # Taking the best first is at least half of the best possible, and near it on average.
    assert min(shares) >= 0.5
    assert np.mean(shares) >= 0.95


@pytest.mark.parametrize(
    "wrong", [{"depths": ()}, {"depths": (1.0,)}, {"max_per_week": 0}, {"risk_aversion": 2.0}]
)
def test_wrong_limits_are_refused(wrong):
    with pytest.raises(BadInput):
        PlanLimits(**wrong)
