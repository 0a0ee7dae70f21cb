"""The portfolio of price tests: open decisions, whole families, nothing that brings too little."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from experiments.designs.decision_value import PriceDecisions
from experiments.designs.portfolio import (
    NO_BUDGET,
    NO_DECISION,
    KnownItems,
    Portfolio,
    ProgrammeLimits,
    plan_tests,
)
from experiments.designs.price_designs import Periods
from experiments.designs.tested_units import (
    NO_ROOM,
    build_units,
    compute_test_errors,
    sum_cross_effects,
)
from features.contracts.pricing import EvidenceGrade, PricingItem
from models.pricing.response.elasticity import CrossElasticities
from models.pricing.rules import PricingRules
from tests.shops.priced_items import make_item

RULES = PricingRules(endings=(), max_change=0.1, horizon_weeks=4, max_losing_share=0.07)
LIMITS = ProgrammeLimits(periods=(Periods(2, 6), Periods(2, 12)), value_weeks=104)


def make_open_item(item_id: str, **changes: object) -> PricingItem:
    """Return a fast seller whose price may be far from its best, with an error above grade B's.

    At a cost of 300 the price of 500 is right at a slope of -2.5.
    """
    item = make_item(item_id, units=800.0, elasticity=-1.8, error=0.7, grade="C")
    return replace(item, **changes)


def plan(items: list[PricingItem], limits: ProgrammeLimits = LIMITS) -> Portfolio:
    n = len(items)
    return plan_tests(KnownItems(items, np.full(n, 0.1), np.full(n, 0.1)), RULES, limits)


def test_open_decisions_on_fast_sellers_are_tested_and_bring_more_than_they_cost():
    portfolio = plan([make_open_item(f"i{k}") for k in range(10)])
    assert portfolio.n_items >= 2
    assert portfolio.value > portfolio.cost
    for test in portfolio.tests:
        assert test.error_after < test.error_now
        (prices,) = test.unit.prices
        assert 450 <= prices.lower_minor < prices.higher_minor <= 550


def test_what_no_result_would_change_is_not_tested():
    known = [
        replace(make_item(f"i{k}", units=800.0, elasticity=-2.5, error=0.05), n_regular_changes=9)
        for k in range(6)
    ]
    portfolio = plan(known)
    assert portfolio.tests == ()
    assert portfolio.reasons == {NO_DECISION: 6}


def test_slow_sellers_are_not_worth_a_test():
    portfolio = plan([make_open_item(f"i{k}", units_mean=0.4, units_p50=0.4) for k in range(6)])
    assert portfolio.tests == () and portfolio.net == 0
    assert sum(portfolio.reasons.values()) == 6


def test_results_that_come_too_late_are_not_worth_a_test():
    items = [make_open_item(f"i{k}") for k in range(10)]
    assert plan(items, replace(LIMITS, value_weeks=13)).net < plan(items).net
    assert plan(items, replace(LIMITS, value_weeks=12)).tests == ()


def test_families_are_tested_whole_or_not_at_all():
    items = [make_open_item(f"i{k}", family_id=f"f{k // 2}") for k in range(8)]
    portfolio = plan(items)
    assert portfolio.tests
    assert all(len(test.unit.prices) == 2 for test in portfolio.tests)
    held = [replace(items[0], hold="a promotion is running"), *items[1:]]
    assert plan(held).untested["default/f0"] == "a promotion is running"
    assert all(test.unit.name != "default/f0" for test in plan(held).tests)


def test_the_budget_of_items_is_kept():
    items = [make_open_item(f"i{k}", family_id=f"f{k // 3}") for k in range(30)]
    portfolio = plan(items, replace(LIMITS, max_items=8))
    assert 0 < portfolio.n_items <= 8
    assert portfolio.reasons.get(NO_BUDGET, 0) > 0


def test_items_that_the_rules_hold_at_one_price_cannot_be_tested():
    dear = make_open_item("i0", unit_cost_minor=600.0)
    assert plan([dear, *(make_open_item(f"i{k}") for k in range(1, 8))]).untested["default/i0"] == (
        NO_ROOM
    )


def test_the_same_input_gives_the_same_plan():
    items = [make_open_item(f"i{k}") for k in range(6)]
    assert plan(items) == plan(items)


def test_of_many_items_those_that_sell_for_most_are_considered():
    small = [make_open_item(f"s{k}", units_mean=20.0, units_p50=20.0) for k in range(4996)]
    large = [make_open_item(f"i{k}") for k in range(8)]
    portfolio = plan([*small, *large], replace(LIMITS, n_draws=8))
    names = {test.unit.name for test in portfolio.tests}
    assert names and names <= {f"default/i{k}" for k in range(8)}
    assert len(names) + sum(portfolio.reasons.values()) == 5000


def test_the_error_a_test_leaves_is_that_of_two_means():
    (unit,), _ = build_units([make_open_item("a")], RULES, {})
    weeks = 0.75 * 2 * 5  # of two periods of 6, less a burn-in of 1; a quarter is not usable
    distance = np.log(550 / 450)
    error = compute_test_errors([unit], np.array([200.0]), Periods(2, 6), 0.1)
    assert error[0] == pytest.approx(np.sqrt((1 / 200 + 0.1) / weeks) / (distance / 2))
    half = compute_test_errors([unit.scale(0.5)], np.array([200.0]), Periods(2, 6), 0.1)
    assert half[0] == pytest.approx(2 * error[0], rel=0.01)


def test_decisions_follow_the_evidence_that_the_rules_ask_for():
    items = [replace(make_open_item("a"), evidence_grade=EvidenceGrade.B, n_regular_changes=2)]
    decisions = PriceDecisions.build(items, RULES)
    slope, missing = np.array([[-1.2]]), np.array([False])
    sure = decisions.evaluate(slope, np.array([0.1]), missing)[0, 0]
    # At -1.2 the highest price is best: 200 a week at 550 less 300, against 500 less 300.
    assert sure == pytest.approx(200 * (1.1**-1.2 * 250 - 200), rel=1e-6)
    assert decisions.evaluate(slope, np.array([0.7]), missing)[0, 0] == 0
    assert decisions.evaluate(slope, np.array([0.1]), ~missing)[0, 0] == 0


def test_what_the_rest_of_a_unit_adds_to_a_slope_is_summed_within_the_unit():
    items = [make_open_item(f"i{k}", family_id=f"f{k // 2}") for k in range(4)]
    units, _ = build_units(items, RULES, {})
    effects = CrossElasticities(
        units_of=np.array([0, 0, 2]),
        price_of=np.array([1, 2, 3]),
        elasticity=np.array([0.3, 9.0, 0.1]),
        error=np.zeros(3),
    )
    # i1 is of i0's family, i2 is not.
    keys = [(f"i{k}", "default") for k in range(4)]
    sums = sum_cross_effects(effects, keys, units)
    assert [sums[key] for key in keys] == pytest.approx([0.3, 0.0, 0.1, 0.0])
