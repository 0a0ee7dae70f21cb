import math
from dataclasses import replace

import pytest

from models.pricing.price_tests import propose_tests
from models.pricing.rules import PricingRules
from tests.models.pricing.priced import item

RULES = PricingRules(endings=(), max_change=0.1, horizon_weeks=4)


def test_an_item_of_little_evidence_gets_a_test_between_the_ends_of_its_rules():
    # 400 units in four weeks: weekly noise 4 / 400 + .1. Prices 450 and 550: spread (ln(550 / 450) / 2)².
    (found,) = propose_tests([item("a", grade="D", units=400.0, error=0.8)], RULES)
    assert (found.lower_price_minor, found.higher_price_minor) == (450, 550)
    noise, spread, before = 4 / 400 + 0.1, (math.log(550 / 450) / 2) ** 2, 1 / 0.8**2
    weeks = 2 * math.ceil(noise / spread * (1 / 0.6**2 - before) / 2)
    assert found.weeks == weeks
    assert found.error_after == pytest.approx(1 / math.sqrt(before + weeks * spread / noise))
    assert found.error_after <= 0.6


def test_items_with_evidence_that_are_held_or_do_not_sell_get_none():
    slow = item("slow", grade="D", units=1.0, error=2.0)  # would take years
    held = replace(item("held", grade="D", units=400.0, error=0.8), hold="a promotion is running")
    fixed = item("fixed", grade="D", units=400.0, error=0.8, cost=600.0)  # no price satisfies the margin floor
    assert propose_tests([item("a"), slow, held, fixed], RULES) == []


def test_what_nothing_is_known_of_is_tested_too_and_fast_sellers_come_first():
    unknown = item("unknown", grade="D", units=4000.0, elasticity=math.nan, error=math.nan, lowest=None, highest=None)
    some = item("some", grade="C", units=400.0, error=0.8)
    found = propose_tests([some, unknown], RULES)
    assert [each.item_id for each in found] == ["unknown", "some"]
    assert all(each.error_after <= 0.6 for each in found)
