import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.contracts.pricing import EvidenceGrade
from models.pricing.price_tests import NO_ROOM, TOO_SLOW, propose_tests
from models.pricing.rules import PricingRules
from tests.shops.priced_items import make_item

RULES = PricingRules(endings=(), max_change=0.1, horizon_weeks=4)


def test_an_item_of_little_evidence_gets_a_test_between_the_ends_of_its_rules():
    # 400 units in four weeks: weekly noise 4 / 400 + .1. Prices 450 and 550: spread (ln(550 / 450)
    # / 2)².
    (proposals,) = propose_tests([make_item("a", grade="D", units=400.0, error=0.8)], RULES).tests
    assert (proposals.lower_price_minor, proposals.higher_price_minor) == (450, 550)
    noise, spread, before = 4 / 400 + 0.1, (math.log(550 / 450) / 2) ** 2, 1 / 0.8**2
    weeks = 2 * math.ceil(noise / spread * (1 / 0.6**2 - before) / 2)
    assert proposals.weeks == weeks
    assert proposals.error_after == pytest.approx(1 / math.sqrt(before + weeks * spread / noise))
    assert proposals.error_after <= 0.6


def test_items_with_evidence_get_none_and_others_that_cannot_be_tested_say_why():
    slow = make_item("slow", grade="D", units=1.0, error=2.0)  # would take years
    held = replace(
        make_item("held", grade="D", units=400.0, error=0.8), hold="a promotion is running"
    )
    fixed = make_item(
        "fixed", grade="D", units=400.0, error=0.8, cost=600.0
    )  # no price satisfies the margin floor
    dead = make_item("dead", grade="D", units=0.0, error=0.8)
    proposals = propose_tests([make_item("a"), slow, held, fixed, dead], RULES)
    assert (proposals.tests, proposals.n_known) == ((), 1)
    assert {untestable.item_id: untestable.reason for untestable in proposals.untestable} == {
        "held": "a promotion is running",
        "fixed": NO_ROOM,
        "slow": TOO_SLOW,
        "dead": TOO_SLOW,
    }
    assert proposals.reasons == {TOO_SLOW: 2, "a promotion is running": 1, NO_ROOM: 1}
    assert NO_ROOM == "the rules leave no two prices 3% apart"


def test_what_nothing_is_known_of_is_tested_too_and_fast_sellers_come_first():
    unknown = make_item(
        "unknown",
        grade="D",
        units=4000.0,
        elasticity=math.nan,
        error=math.nan,
        lowest=None,
        highest=None,
    )
    some = make_item("some", grade="C", units=400.0, error=0.8)
    proposals = propose_tests([some, unknown], RULES).tests
    assert [test.item_id for test in proposals] == ["unknown", "some"]
    assert all(test.error_after <= 0.6 for test in proposals)


@given(
    grades=st.lists(st.sampled_from("ABCD"), max_size=8),
    units=st.floats(0, 5_000),
    cost=st.floats(0, 700),
    min_grade=st.sampled_from("BC"),
)
def test_every_item_is_known_or_tested_or_told_why_not(grades, units, cost, min_grade):
    items = [
        make_item(f"i{n}", grade=grade, units=units, cost=cost, error=0.8)
        for n, grade in enumerate(grades)
    ]
    proposals = propose_tests(items, replace(RULES, min_grade=EvidenceGrade(min_grade)))
    assert proposals.n_known == sum(grade <= min_grade for grade in grades)
    item_ids = [result.item_id for result in (*proposals.tests, *proposals.untestable)]
    assert len(item_ids) == len(set(item_ids)) == len(items) - proposals.n_known
    assert sum(proposals.reasons.values()) == len(proposals.untestable)
