"""Rules that speak of many items, objectives beside the plain ones, presets and plain strategies:
known answers."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.loading import list_configs, load
from features.contracts.errors import BadInput
from features.contracts.pricing import Objective
from features.contracts.sizes import Size, parse_size
from models.pricing.optimise.objective import ItemColumns, ObjectiveColumns, evaluate_objective
from models.pricing.optimise.optimiser import optimise_prices
from models.pricing.rules import CompetitorRule, FamilyRule, GroupMargin, PricingRules
from tests.shops.priced_items import make_item

FREE = PricingRules(
    max_change=0.9, tried_margin=5.0, max_over_list=5.0, min_margin=0.0, endings=(), min_gain=0.0
)


def prices(optimised):
    return {
        suggestion.item_id: suggestion.suggested_price_minor for suggestion in optimised.suggestions
    }


def units(one, price):
    return one.units_mean * (price / one.current_price_minor) ** one.elasticity


def several(n=6, **values):
    return [
        make_item(
            f"i{k}", current=400 + 40 * k, cost=160.0 + 20 * k, elasticity=-2.0 - 0.3 * k, **values
        )
        for k in range(n)
    ]


def test_competitor_position_and_minimum_advertised_price_are_bounds():
    one = replace(
        make_item(current=500, cost=300.0, elasticity=-3.0), competitor_minor=480.0, map_minor=470
    )
    rules = replace(FREE, competitor=CompetitorRule(lowest=0.9, highest=0.95))
    assert (
        prices(optimise_prices([one], rules)) == {}
    )  # 432 to 456 beside competitors, 470 at least: nothing is left
    soft = replace(rules, soft={"competitor position": 30})
    (suggestion,) = optimise_prices([one], soft).suggestions
    assert suggestion.suggested_price_minor == 470  # Lerner's 450 is below the minimum
    assert suggestion.binding_rule == "minimum advertised price"
    assert [step.rule for step in suggestion.waterfall if step.note.startswith("given up")] == [
        "competitor position"
    ]


def test_a_price_that_changed_lately_rests():
    one = replace(make_item(current=500, cost=300.0, elasticity=-3.0), days_since_change=6.0)
    assert prices(optimise_prices([one], replace(FREE, min_days_between_changes=7))) == {}
    assert prices(optimise_prices([one], replace(FREE, min_days_between_changes=6))) == {
        "milk": 450
    }


def test_a_price_on_hold_stays_and_says_why():
    held = replace(make_item(), hold="a promotion is running")
    assert optimise_prices([held], FREE).kept == {"a promotion is running": 1}


def pack(name, grams, **values):
    return replace(make_item(name, **values), family_id="tea", size=Size(grams, "g"))


def test_a_larger_pack_is_not_cheaper_and_not_dearer_per_gram():
    # Alone the small one would cost 600 (300 * 2 / 1), the large one 450 (300 * 3 / 2): together
    # they meet.
    small = pack("small", 100.0, current=500, cost=300.0, elasticity=-2.0)
    large = pack("large", 150.0, current=500, cost=300.0, elasticity=-3.0)
    assert prices(optimise_prices([small, large], FREE)) == {"small": 600, "large": 450}
    optimised = optimise_prices([small, large], replace(FREE, family=FamilyRule(order=True)))
    # Both at one price p: maximise 40 (p / 500)^-2 (p - 300) + 40 (p / 500)^-3 (p - 300) over whole
    # prices.
    together = max(range(450, 601), key=lambda p: (units(small, p) + units(large, p)) * (p - 300))
    # A price of 500 is the present one of both: then nothing is suggested.
    expected = {} if together == 500 else {"small": together, "large": together}
    assert prices(optimised) == expected
    assert all(suggestion.binding_rule == "family order" for suggestion in optimised.suggestions)
    per_gram = optimise_prices(
        [
            pack("small", 100.0, elasticity=-3.0),
            pack("large", 150.0, current=700, cost=600.0, elasticity=-6.0),
        ],
        replace(FREE, family=FamilyRule(order=True, unit_price=True)),
    )
    cost = {"small": 500, "large": 700} | prices(per_gram)
    assert cost["small"] <= cost["large"] <= 1.5 * cost["small"]


def test_packs_of_one_size_cost_the_same():
    kinds = [pack("green", 100.0, elasticity=-2.0), pack("black", 100.0, elasticity=-4.0)]
    new_prices = prices(optimise_prices(kinds, replace(FREE, family=FamilyRule(order=True))))
    assert len({new_prices.get(name, 500) for name in ("green", "black")}) == 1
    apart = prices(
        optimise_prices(kinds, replace(FREE, family=FamilyRule(order=True, same_size=False)))
    )
    assert apart == {"green": 600, "black": 400}


def test_an_order_that_cannot_be_kept_is_given_up_where_it_is_soft():
    # The smaller pack rests at 900, the larger may not go above 550.
    small = replace(pack("small", 100.0, current=900, cost=300.0), hold="resting")
    large = pack("large", 150.0, current=500, cost=300.0, elasticity=-3.0)
    rules = replace(FREE, max_change=0.1, family=FamilyRule(order=True))
    hard = optimise_prices([small, large], rules)
    assert hard.kept == {"resting": 1, "no price satisfies the family order": 1}
    soft = optimise_prices([small, large], replace(rules, soft={"family order": 20}))
    (suggestion,) = soft.suggestions
    assert suggestion.suggested_price_minor == 450
    assert [step.note for step in suggestion.waterfall if step.rule == "family order"] == [
        "given up: no two prices of neighbours go together"
    ]


def test_the_number_of_changes_is_capped_and_the_most_valuable_are_made():
    items = several()
    free, capped = (
        optimise_prices(items, FREE),
        optimise_prices(items, replace(FREE, max_changes=2)),
    )
    assert len(free.suggestions) == 6
    assert [suggestion.item_id for suggestion in capped.suggestions] == [
        suggestion.item_id for suggestion in free.suggestions[:2]
    ]
    assert capped.kept == {"kept for the rule number of changes": 4}
    assert len(optimise_prices(items, replace(FREE, max_changes_share=0.5)).suggestions) == 3


def test_a_hard_cap_holds_even_where_more_prices_break_a_rule():
    under = [
        make_item(f"i{k}", current=500, cost=600.0 + k, list_price=800, elasticity=-3.0)
        for k in range(5)
    ]
    rules = replace(FREE, min_margin=0.05, max_changes=2)
    optimised = optimise_prices(under, rules)
    assert [
        suggestion.item_id
        for suggestion in sorted(optimised.suggestions, key=lambda suggestion: suggestion.item_id)
    ] == [
        "i3",
        "i4",
    ]
    eased = optimise_prices(under, replace(rules, soft={"number of changes": 10}))
    assert len(eased.suggestions) == 5
    (broken,) = eased.outcome.broken
    assert (broken.rule, broken.asked, broken.reached, broken.hard) == (
        "number of changes",
        -2,
        -5,
        False,
    )
    assert all(
        any(s.note.startswith("not kept") for s in suggestion.waterfall)
        for suggestion in eased.suggestions
    )


def test_a_revenue_floor_is_kept_at_the_least_loss_of_profit():
    items = several()

    def revenue(optimised):
        cost = {
            priced.item_id: prices(optimised).get(priced.item_id, priced.current_price_minor)
            for priced in items
        }
        return sum(units(priced, cost[priced.item_id]) * cost[priced.item_id] for priced in items)

    now = sum(priced.units_mean * priced.current_price_minor for priced in items)
    free = optimise_prices(items, FREE)
    floor = 1.05 * revenue(free) / now
    kept = optimise_prices(items, replace(FREE, revenue_floor=floor))
    assert revenue(kept) >= floor * now * (1 - 1e-9)
    assert kept.outcome.value < free.outcome.value and kept.outcome.gap < 1e-4
    assert "revenue floor" in {suggestion.binding_rule for suggestion in kept.suggestions}


def test_the_margin_of_every_group_and_its_price_image_are_kept():
    items = [
        replace(
            priced,
            category=f"{'Tea' if k % 2 else 'Milk'} > Any",
            price_image="key items" if k < 3 else None,
        )
        for k, priced in enumerate(several())
    ]
    rules = replace(
        FREE, objective=Objective.UNITS, group_margin=GroupMargin(depth=1), price_image=0.0
    )
    new_prices = prices(optimise_prices(items, rules))
    cost = {
        priced.item_id: new_prices.get(priced.item_id, priced.current_price_minor)
        for priced in items
    }
    for name in ("Tea", "Milk"):
        group = [priced for priced in items if priced.category.startswith(name)]
        before = sum(
            member.units_mean * (member.current_price_minor - member.unit_cost_minor)
            for member in group
        )
        before /= sum(member.units_mean * member.current_price_minor for member in group)
        sold = [
            (units(member, cost[member.item_id]), cost[member.item_id], member.unit_cost_minor)
            for member in group
        ]
        after = sum(n * (p - c) for n, p, c in sold) / sum(n * p for n, p, _ in sold)
        assert after >= before - 1e-9
    image = [priced for priced in items if priced.price_image]
    dearer = optimise_prices(items, replace(FREE, objective=Objective.REVENUE, price_image=0.02))
    asked = {
        priced.item_id: prices(dearer).get(priced.item_id, priced.current_price_minor)
        for priced in image
    }
    now = sum(priced.units_mean * priced.current_price_minor for priced in image)
    assert sum(priced.units_mean * asked[priced.item_id] for priced in image) <= 1.02 * now + 1e-6


def test_a_mix_is_the_weighted_sum_of_its_objectives():
    one = make_item(current=500, cost=300.0, elasticity=-3.0)
    rules = replace(
        FREE, objective=Objective.MIX, mix={Objective.PROFIT: 0.75, Objective.REVENUE: 0.25}
    )
    # .75 (p - 300) + .25 p = p - 225: the best price is 225 * 3 / 2 = 337.5.
    best = max(range(300, 950), key=lambda p: units(one, p) * (p - 225))
    assert prices(optimise_prices([one], rules)) == {"milk": best}
    with pytest.raises(BadInput, match="mix"):
        PricingRules(objective=Objective.MIX)


def test_risk_aversion_judges_a_price_by_the_worse_end_of_its_response():
    one = make_item(current=500, cost=300.0, elasticity=-3.0, error=0.4)
    columns, price = ItemColumns.from_items([one]), np.array([450.0])
    zero = np.zeros(1, np.int64)
    middle, worst = (
        evaluate_objective(
            columns, ObjectiveColumns.from_rules([replace(FREE, risk_aversion=risk)]), zero, price
        )[0]
        for risk in (0.0, 1.0)
    )
    assert middle == pytest.approx(40 * 0.9**-3 * 150)
    assert worst == pytest.approx(
        40 * 0.9 ** -(3 - 1.2815515655446004 * 0.4) * 150
    )  # buyers who answer less
    half = evaluate_objective(
        columns, ObjectiveColumns.from_rules([replace(FREE, risk_aversion=0.5)]), zero, price
    )[0]
    assert half == pytest.approx((middle + worst) / 2)
    bold, careful = (
        prices(optimise_prices([one], replace(FREE, risk_aversion=risk))) for risk in (0.0, 1.0)
    )
    assert bold == {"milk": 450} and careful.get("milk", 500) > 450


def test_sell_through_marks_down_until_the_stock_is_sold():
    sure = {"spread": 1.0, "error": 0.0, "units": 40.0}
    one = replace(make_item(current=500, cost=300.0, elasticity=-2.0, **sure), stock_units=62.5)
    rules = replace(FREE, objective=Objective.SELL_THROUGH, min_margin=-1.0)
    # 40 (p / 500)^-2 = 62.5 at p = 400: no more can be sold below it, and above it revenue falls.
    assert prices(optimise_prices([one], rules)) == {"milk": 400}
    # Twice the time sells twice as much: 80 at the present price, so that the stock suffices for a
    # raise.
    longer = replace(one, weeks_to_sell=8.0)
    assert prices(optimise_prices([longer], rules))["milk"] == round(500 * math.sqrt(80 / 62.5))
    assert optimise_prices([replace(one, stock_units=None)], rules).kept == {
        "no stock is known to sell off": 1
    }


def test_an_amount_of_money_is_no_gain_below_the_least_one():
    one = make_item(current=500, cost=300.0, elasticity=-3.0, units=1.0)
    (suggestion,) = optimise_prices([one], FREE).suggestions
    gained = suggestion.against_keeping.profit.p50
    assert prices(optimise_prices([one], replace(FREE, min_gain_minor=math.floor(gained)))) == {
        "milk": 450
    }
    kept = optimise_prices([one], replace(FREE, min_gain_minor=math.ceil(gained))).kept
    assert kept == {"the gain is too small": 1}


def test_a_raise_that_spoils_a_promotion_is_flagged_and_a_cut_below_it_is_not_made():
    promised = {"spoiled_above_minor": 500, "spoiled": "promotion easter", "law_floor_minor": 471}
    up = replace(make_item(current=500, cost=300.0, elasticity=-2.0), **promised)
    (suggestion,) = optimise_prices([up], FREE).suggestions
    assert (suggestion.suggested_price_minor, suggestion.flags) == (600, ("promotion easter",))
    down = replace(make_item(current=500, cost=300.0, elasticity=-3.0), **promised)
    (suggestion,) = optimise_prices([down], FREE).suggestions
    assert (suggestion.suggested_price_minor, suggestion.binding_rule, suggestion.flags) == (
        471,
        "law",
        (),
    )
    assert next(step for step in suggestion.waterfall if step.rule == "law").hard


def test_items_without_evidence_follow_a_plain_strategy():
    unknown = make_item(
        grade="D", cost=300.0, elasticity=math.nan, error=math.nan, lowest=None, highest=None
    )
    assert optimise_prices([unknown], FREE).kept == {"no price response is known": 1}
    (suggestion,) = optimise_prices(
        [unknown], replace(FREE, without_evidence="cost_plus", markup=0.5)
    ).suggestions
    assert (suggestion.suggested_price_minor, suggestion.strategy, suggestion.expected) == (
        450,
        "cost_plus",
        None,
    )
    beside = replace(
        FREE,
        without_evidence="competitor_index",
        competitor_index=0.98,
        competitor=CompetitorRule(),
    )
    (suggestion,) = optimise_prices([replace(unknown, competitor_minor=500.0)], beside).suggestions
    assert (suggestion.suggested_price_minor, suggestion.waterfall[0].rule) == (
        490,
        "competitor_index",
    )
    assert optimise_prices([unknown], beside).kept == {"no competitor's price is known": 1}


def test_plain_prices_take_their_share_of_a_cap_those_furthest_from_their_target_first():
    unknown = [
        make_item(
            f"u{k}",
            grade="D",
            cost=300.0 + 10 * k,
            elasticity=math.nan,
            error=math.nan,
            lowest=None,
            highest=None,
        )
        for k in range(6)
    ]
    rules = replace(FREE, without_evidence="cost_plus", markup=0.8, max_changes=4)
    new_prices = prices(
        optimise_prices([*several(), *unknown], rules)
    )  # 540, 558, ... beside 500: half of the four changes
    assert {name for name in new_prices if name.startswith("u")} == {"u4", "u5"}
    assert len(new_prices) == 4


def test_an_items_stage_decides_under_which_preset_it_is_priced():
    old, new = (
        make_item("old", elasticity=-3.0),
        replace(make_item("new", elasticity=-3.0), stage="introduction"),
    )
    presets = {"introduction": replace(FREE, objective=Objective.UNITS, max_change=0.2)}
    optimised = optimise_prices([old, new], FREE, presets)
    assert prices(optimised) == {"old": 450, "new": 400}
    assert {suggestion.item_id: suggestion.stage for suggestion in optimised.suggestions} == {
        "old": None,
        "new": "introduction",
    }


def test_shipped_presets_load_and_every_stage_has_one():
    known = list_configs("pricing")
    rules = {name: load(f"pricing/{name}", PricingRules) for name in known}
    assert set(rules["default"].stages.values()) <= set(known)
    assert rules["decline"].objective is Objective.SELL_THROUGH


@settings(max_examples=60)
@given(
    st.integers(0, 10**6),
    st.sampled_from([None, 1, 4]),
    st.sampled_from([None, 0.98, 1.01]),
    st.booleans(),
)
def test_all_rules_hold_for_every_price_of_a_run(seed, cap, floor, order):
    rng = np.random.default_rng(seed)
    items = [
        replace(
            make_item(
                f"i{k:02}",
                current=int(rng.integers(100, 900)),
                cost=float(rng.uniform(50, 500)),
                elasticity=-float(rng.gamma(4, 0.6)),
                units=float(rng.gamma(1, 40)) + 0.01,
            ),
            family_id=f"f{k % 4}",
            size=Size(100.0 * (1 + k // 4), "g"),
        )
        for k in range(12)
    ]
    rules = PricingRules(
        min_gain=0.0, max_changes=cap, revenue_floor=floor, family=FamilyRule(order=order)
    )
    optimised = optimise_prices(items, rules)
    assert optimise_prices(items[::-1], rules) == optimised
    assert optimised.outcome.value <= optimised.outcome.bound + 1e-6 * abs(optimised.outcome.bound)
    broken = {broken_rule.rule for broken_rule in optimised.outcome.broken}
    if cap is not None and "number of changes" not in broken:
        assert len(optimised.suggestions) <= cap
    if floor is not None and "revenue floor" not in broken:
        cost = {
            priced.item_id: prices(optimised).get(priced.item_id, priced.current_price_minor)
            for priced in items
        }
        asked = floor * sum(priced.units_mean * priced.current_price_minor for priced in items)
        assert sum(
            units(priced, cost[priced.item_id]) * cost[priced.item_id] for priced in items
        ) >= asked * (1 - 1e-9)


def test_sizes_are_read_as_catalogues_write_them():
    assert parse_size("14.5 OZ") == Size(round(14.5 * 28.349523125, 6), "g")
    assert parse_size("6 x 0,33 l") == parse_size("1980 ml") == Size(1980.0, "ml")
    assert parse_size("2 DZ") == Size(24.0, "count")
    assert [parse_size(text) for text in (None, "", "large", "0 g", "12 parsecs")] == [None] * 5
