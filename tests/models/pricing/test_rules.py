import math
from dataclasses import replace

import pytest

from features.contracts.errors import BadInput, UnknownName
from models.pricing.optimise.bounds import (
    PriceBound,
    build_ladder,
    find_allowed_prices,
    list_bounds,
)
from models.pricing.rules import PricingRules
from tests.shops.priced_items import make_item


def by_rule(limits):
    return {limit.rule: (limit.lowest, limit.highest) for limit in limits}


def test_bounds_as_arithmetic():
    rules = PricingRules(max_change=0.1, min_margin=0.2, tried_margin=0.05, max_over_list=0.02)
    bounds = by_rule(
        list_bounds(
            make_item(current=500, list_price=520, cost=300.0, tax=1.25, lowest=400, highest=510),
            rules,
        )
    )
    assert bounds["tried range"] == pytest.approx((400 * 0.95, 510 * 1.05))
    assert bounds["ceiling"] == pytest.approx((0, 520 * 1.02))
    assert bounds["maximum change"] == pytest.approx((450, 550))
    # net price p / 1.25 with margin (net - 300) / net >= .2, so net >= 375 and p >= 468.75
    assert bounds["margin floor"] == (pytest.approx(468.75), math.inf)


def test_the_ceiling_stays_where_the_shops_own_list_price_puts_it():
    rules = PricingRules(max_over_list=0.1)
    raised = replace(make_item(current=540, list_price=540), opening_list_price_minor=500)
    assert by_rule(list_bounds(raised, rules))["ceiling"] == pytest.approx((0, 500 * 1.1))
    above = replace(make_item(current=600, list_price=600), opening_list_price_minor=500)
    assert by_rule(list_bounds(above, rules))["ceiling"] == (
        0,
        600,
    )  # it need not fall, and may not rise


def test_without_evidence_there_is_no_range_tried():
    assert "tried range" not in by_rule(
        list_bounds(make_item(lowest=None, highest=None), PricingRules())
    )


@pytest.mark.parametrize(
    ("endings", "expected"),
    [
        ((99,), [199, 299]),
        ((49, 99), [149, 199, 249, 299]),
        ((0, 5), [*range(135, 301, 5)]),
        ((), [*range(135, 301)]),
    ],
)
def test_ladders(endings, expected):
    assert list(build_ladder(134.2, 300.9, endings)) == expected


def test_a_ladder_may_be_empty_and_holds_no_price_below_one():
    assert list(build_ladder(200, 190, ())) == []
    assert list(build_ladder(201, 205, (99,))) == []
    assert list(build_ladder(-5, 3, ())) == [1, 2, 3]


def test_soft_rules_are_given_up_in_order_and_only_when_needed():
    # The cost of 600 asks for 600 / .95 = 632, which is 26 % above the current price.
    under_cost = make_item(current=500, cost=600.0, list_price=700, lowest=450, highest=700)
    hard = PricingRules(max_change=0.1, min_margin=0.05)
    assert not find_allowed_prices(under_cost, hard).prices
    soft = PricingRules(
        max_change=0.1,
        min_margin=0.05,
        soft={"margin floor": 90, "ending": 10, "maximum change": 50},
    )
    choice = find_allowed_prices(under_cost, soft)
    assert choice.given_up == ("ending", "maximum change")
    assert choice.prices[0] == 632
    assert choice.prices[-1] <= 1000  # twice the current price, however many rules are given up
    assert find_allowed_prices(make_item(current=500, cost=100.0), soft).given_up == ()


def test_the_nearest_whole_price_lies_within_the_bound():
    bound = PriceBound("any", 180.4, 212.6, "")
    assert [bound.clamp(price) for price in (100, 190, 300)] == [181, 190, 212]
    assert PriceBound("any", 100 * 0.9, 100 * 1.1, "").clamp(300) == 110


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_change": 1.5},
        {"min_margin": 1.0},
        {"endings": (100,)},
        {"tried_margin": -0.1},
        {"horizon_weeks": 0},
        {"min_grade": "D"},
    ],
)
def test_wrong_rules_are_refused(wrong):
    with pytest.raises(BadInput):
        PricingRules(**wrong)


def test_an_unknown_soft_rule_is_refused_with_the_nearest_name():
    with pytest.raises(UnknownName, match="margin floor"):
        PricingRules(soft={"margin flor": 50})
