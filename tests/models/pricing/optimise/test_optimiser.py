import math
import time
from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.contracts.pricing import Objective
from models.pricing.optimise.optimiser import optimise_prices
from models.pricing.rules import SOFT_RULES, PricingRules
from tests.shops.priced_items import compare_price, make_item, predict_effect

FREE = PricingRules(
    max_change=0.9, tried_margin=5.0, max_over_list=5.0, min_margin=0.0, endings=(), min_gain=0.0
)


def only(items, rules):
    result = optimise_prices(items, rules)
    assert len(result.suggestions) == 1, result.kept
    return result.suggestions[0]


def test_without_binding_rules_the_best_price_is_lerners():
    suggestion = only([make_item(current=500, cost=300.0, elasticity=-3.0)], FREE)
    assert suggestion.suggested_price_minor == 450  # 300 * 3 / (3 - 1)
    assert suggestion.binding_rule is None


def test_tax_leaves_the_shop_before_the_margin_is_counted():
    suggestion = only([make_item(current=500, cost=240.0, elasticity=-3.0, tax=1.25)], FREE)
    assert suggestion.suggested_price_minor == 450  # net best 240 * 3 / 2 = 360, with tax 450
    assert suggestion.expected.revenue.p50 == pytest.approx(suggestion.expected.units.p50 * 360)


def test_expected_effects_as_arithmetic():
    one = make_item(current=500, cost=300.0, elasticity=-2.0, error=0.0, units=40.0, spread=2.0)
    at = predict_effect(one, 400)
    units = 40 * (400 / 500) ** -2
    assert (at.units.p10, at.units.p50, at.units.p90) == pytest.approx(
        (units / 2, units, units * 2)
    )
    assert at.revenue.p50 == pytest.approx(units * 400)
    assert at.profit.p50 == pytest.approx(units * 100)
    against = compare_price(one, 400)
    assert against.units.p50 == pytest.approx(units - 40)
    assert against.profit.p50 == pytest.approx(units * 100 - 40 * 200)
    # Without an error of the slope the gain scales with the forecast, so its sign is sure.
    assert against.units.p10 > 0 and against.profit.p90 < 0


def test_the_band_of_a_gain_agrees_with_drawing_futures():
    one = make_item(error=0.5, spread=1.5)
    rng = np.random.default_rng(4)
    before = 40 * np.exp(math.log(1.5) / 1.2815515655446004 * rng.normal(size=200_000))
    after = before * np.exp((-2.0 + 0.5 * rng.normal(size=200_000)) * math.log(550 / 500))
    gains = after * 250 - before * 200
    band = compare_price(one, 550).profit
    low, high = np.quantile(gains, [0.1, 0.9])
    assert (band.p10, band.p90) == pytest.approx((low, high), abs=0.15 * (high - low))


def test_keeping_the_price_changes_nothing():
    against = compare_price(make_item(), 500)
    for name in fields(against):
        band = getattr(against, name.name)
        assert (band.p10, band.p50, band.p90) == (0, 0, 0)


def test_an_item_of_little_evidence_keeps_its_price():
    result = optimise_prices([make_item(grade=grade) for grade in "CD"], FREE)
    assert result.suggestions == ()
    assert sum(result.kept.values()) == 2 and all(
        reason.startswith("evidence grade") for reason in result.kept
    )
    assert (
        len(
            optimise_prices(
                [make_item(grade=grade) for grade in "ABCD"], replace(FREE, min_grade="C")
            ).suggestions
        )
        == 3
    )


def test_the_waterfall_leads_from_the_current_price_to_the_suggested_one():
    rules = PricingRules(max_change=0.1, endings=(99,), min_margin=0.0)
    suggestion = only([make_item(current=619, cost=300.0, elasticity=-3.0)], rules)
    steps = suggestion.waterfall
    assert (
        steps[0].before_minor == 619
        and steps[-1].after_minor == suggestion.suggested_price_minor == 599
    )
    assert all(first.after_minor == second.before_minor for first, second in pairwise(steps))
    assert [step.rule for step in steps] == ["optimum", "maximum change", "ending"]
    assert suggestion.binding_rule == "maximum change"


def test_a_soft_rule_that_is_broken_stands_in_the_waterfall():
    rules = PricingRules(max_change=0.1, endings=(), soft={"maximum change": 50})
    under_cost = make_item(current=500, cost=600.0, list_price=700, lowest=450, highest=700)
    assert optimise_prices([under_cost], replace(rules, soft={})).kept == {
        "no price satisfies all rules": 1
    }
    suggestion = only([under_cost], rules)
    assert suggestion.suggested_price_minor >= 632
    broken = [step for step in suggestion.waterfall if step.note.startswith("given up")]
    assert [(step.rule, step.hard) for step in broken] == [("maximum change", False)]


def test_an_assumed_cost_is_said_with_the_suggestion():
    suggestion = only([make_item(source="assumed", elasticity=-4.0)], FREE)
    assert suggestion.cost_source == "assumed"
    # The best price, 480 * 15 / 14 = 514, lies below the floor of 480 / 0.9 = 533.
    tight = only(
        [make_item(source="assumed", current=500, cost=480.0, elasticity=-15.0)],
        replace(FREE, min_margin=0.1),
    )
    assert tight.binding_rule == "margin floor"
    assert any("assumed cost" in step.note for step in tight.waterfall)


PRICES = st.integers(50, 5_000)
ITEMS = st.builds(
    make_item,
    current=PRICES,
    list_price=PRICES,
    cost=st.floats(1, 5_000),
    tax=st.sampled_from([1.0, 1.07, 1.25]),
    units=st.floats(0.01, 1e4),
    spread=st.floats(1, 10),
    elasticity=st.floats(-8, 1),
    error=st.floats(0, 1),
    grade=st.sampled_from("ABCD"),
    lowest=st.integers(50, 1_000),
    highest=st.integers(1_000, 6_000),
)
RULES = st.builds(
    PricingRules,
    objective=st.sampled_from([Objective.PROFIT, Objective.REVENUE, Objective.UNITS]),
    max_change=st.floats(0.01, 0.6),
    min_margin=st.floats(0, 0.6),
    tried_margin=st.floats(0, 0.5),
    max_over_list=st.floats(0, 0.5),
    endings=st.lists(st.integers(0, 99), max_size=3).map(tuple),
    min_grade=st.sampled_from("ABC"),
    min_gain=st.sampled_from([0.0, 0.01]),
)


def satisfies(one, rules, price):
    """The rules written once more, as whoever wrote them would check a price."""
    change = abs(price / one.current_price_minor - 1) <= rules.max_change + 1e-9
    margin = price / one.tax_divisor * (1 - rules.min_margin) >= one.unit_cost_minor - 1e-6
    ceiling = (
        price
        <= max(one.list_price_minor, one.current_price_minor) * (1 + rules.max_over_list) + 1e-6
    )
    low = min(one.lowest_tried_minor, one.current_price_minor) * (1 - rules.tried_margin)
    high = max(one.highest_tried_minor, one.current_price_minor) * (1 + rules.tried_margin)
    text = f"{price:02}"
    ending = not rules.endings or any(
        text.endswith(str(ending)) if ending < 10 else text[-2:] == str(ending)
        for ending in rules.endings
    )
    return change and margin and ceiling and low - 1e-6 <= price <= high + 1e-6 and ending


def objective_value(one, rules, price):
    units = one.units_mean * (price / one.current_price_minor) ** one.elasticity
    net = price / one.tax_divisor
    return {"units": units, "revenue": units * net, "profit": units * (net - one.unit_cost_minor)}[
        rules.objective
    ]


@settings(max_examples=300)
@given(ITEMS, RULES)
def test_no_suggestion_lies_outside_its_rules_and_none_is_better(one, rules):
    result = optimise_prices([one], rules)
    every = [
        price for price in range(1, one.current_price_minor * 2) if satisfies(one, rules, price)
    ]
    if "no price satisfies all rules" in result.kept:
        assert every == []
    if "the current price is the best allowed" in result.kept:
        now = objective_value(one, rules, one.current_price_minor)
        assert now == pytest.approx(
            max(objective_value(one, rules, price) for price in every), rel=1e-9, abs=1e-9
        )
    for suggestion in result.suggestions:
        price = suggestion.suggested_price_minor
        assert satisfies(one, rules, price)
        assert suggestion.evidence_grade <= rules.min_grade
        assert (
            suggestion.waterfall[0].before_minor == one.current_price_minor
            and suggestion.waterfall[-1].after_minor == price
        )
        best = max(objective_value(one, rules, p) for p in every)
        assert objective_value(one, rules, price) == pytest.approx(best, rel=1e-9, abs=1e-9)
        for name in fields(suggestion.expected):
            for band in (
                getattr(suggestion.expected, name.name),
                getattr(suggestion.against_keeping, name.name),
            ):
                assert band.p10 <= band.p50 <= band.p90


@settings(max_examples=100)
@given(ITEMS, RULES, st.lists(st.sampled_from(SOFT_RULES), max_size=3, unique=True))
def test_only_soft_rules_are_ever_broken(one, rules, soft):
    for suggestion in optimise_prices(
        [one], replace(rules, soft=dict.fromkeys(soft, 50))
    ).suggestions:
        given_up = {step.rule for step in suggestion.waterfall if step.note.startswith("given up")}
        assert given_up <= set(soft)
        if not given_up:
            assert satisfies(one, rules, suggestion.suggested_price_minor)


def test_repeating_gives_the_same_and_other_items_do_not_matter():
    rng = np.random.default_rng(8)
    items = [
        make_item(
            f"i{k}",
            current=int(rng.integers(100, 900)),
            cost=float(rng.uniform(50, 500)),
            elasticity=-rng.gamma(3, 1),
        )
        for k in range(200)
    ]
    rules = PricingRules()
    first = optimise_prices(items, rules)
    assert optimise_prices(items[::-1], rules) == first
    alone = {
        suggestion.item_id: suggestion
        for one in items
        for suggestion in optimise_prices([one], rules).suggestions
    }
    assert alone == {suggestion.item_id: suggestion for suggestion in first.suggestions}
    gains = [suggestion.against_keeping.profit.p50 for suggestion in first.suggestions]
    assert gains == sorted(gains, reverse=True)


@pytest.mark.slow
def test_fifteen_thousand_items_take_seconds():
    items = [
        make_item(f"i{k}", current=200 + k % 700, cost=100.0, elasticity=-1.5 - k % 5)
        for k in range(15_000)
    ]
    start = time.process_time()
    assert len(optimise_prices(items, PricingRules()).suggestions) > 10_000
    assert time.process_time() - start < 15
