"""Switchbacks and roll-outs that somebody requests: their units, prices, cost and errors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from experiments.designs.decision_value import PriceDecisions
from experiments.designs.portfolio import KnownItems, PlannedTest, ProgrammeLimits
from experiments.designs.price_designs import Periods
from experiments.designs.price_test import PriceTest, assign_prices
from experiments.designs.requested_tests import (
    NEW_PRICE_FORBIDDEN,
    NOT_EVERYWHERE,
    SHARED_NOISE,
    TOO_MANY,
    choose_category_units,
    choose_zone_units,
    expect_costs,
    expect_error,
)
from experiments.designs.tested_units import PriceUnit
from features.contracts.pricing import PriceTestDesign, PricingItem
from models.pricing.rules import PricingRules
from tests.shops.priced_items import make_item

RULES = PricingRules(endings=(), max_change=0.1, horizon_weeks=4, max_losing_share=0.07)
PERIODS = Periods(4, 3)


def make_open_item(item_id: str, **changes: object) -> PricingItem:
    """Return an item at 5.00 that costs 3.00, with a slope known to ±0.7."""
    item = make_item(item_id, units=800.0, elasticity=-2.5, error=0.7, grade="C")
    return replace(item, **changes)


def expect(
    items: Sequence[PricingItem], test: PriceTest, units: Sequence[PriceUnit]
) -> tuple[PlannedTest, ...]:
    n = len(items)
    known = KnownItems(items, np.full(n, 0.1), np.full(n, 0.1))
    return expect_costs(known, PriceDecisions.build(items, RULES), test, units, ProgrammeLimits())


def test_a_switchback_has_the_families_that_every_zone_can_test_and_that_sell_for_most():
    items = [
        make_open_item(name, zone=zone, units_mean=units)
        for zone in ("north", "south")
        for name, units in (("a", 900.0), ("b", 800.0), ("c", 700.0), ("held", 2000.0))
    ]
    items[-1] = replace(items[-1], hold="it is off sale")
    chosen = choose_zone_units(items, RULES, {}, max_items=2)
    assert [unit.name for unit in chosen.units] == ["north", "south"]
    assert [[p.item_id for p in unit.prices] for unit in chosen.units] == [["a", "b"]] * 2
    # Half of the way to 4.50 and 5.50.
    assert {(p.lower_minor, p.higher_minor) for p in chosen.units[0].prices} == {(475, 525)}
    assert chosen.untested == {
        "north/c": TOO_MANY,
        "south/c": TOO_MANY,
        "north/held": NOT_EVERYWHERE,
        "south/held": "it is off sale",
    }


def test_a_switchback_costs_more_the_longer_it_is_and_teaches_more():
    items = [make_open_item("a", zone=zone) for zone in ("north", "south")]
    units = choose_zone_units(items, RULES, {}, max_items=5).units
    planned, errors = [], []
    for periods in (Periods(4, 3), Periods(12, 3)):
        test = assign_prices(PriceTestDesign.SWITCHBACK, units, periods, {}, seed=1)
        planned.append(expect(items, test, units)[0])
        errors.append(expect_error(items, np.full(2, 200.0), test, noise=0.1))
    assert 0 < planned[0].cost < planned[1].cost
    assert planned[0].error_now == pytest.approx(0.7)
    # Two zones at 4.75 and 5.25 in turn. In 1.5 usable weeks of a period a zone's log units have a
    # variance of (1 / 200 + .1) / 1.5 and .01 that it shares; both count half as to their mean.
    distance = np.log(5.25 / 4.75)
    variance = (1 / 200 + 0.1) / 1.5 + SHARED_NOISE
    assert errors[0] == pytest.approx(np.sqrt(2 * variance / 4) / distance, rel=1e-6)
    assert errors[1] == pytest.approx(errors[0] / np.sqrt(3), rel=1e-6)


def test_a_roll_out_gives_each_category_its_new_prices_once_and_keeps_whole_families():
    items = [
        make_open_item("a", category="Food > Tea > Green", family_id="f"),
        make_open_item("b", category="Food > Coffee", family_id="f"),
        make_open_item("c", category="Food > Milk"),
        make_open_item("d", category="Food > Milk"),
        make_open_item("e", category="Food > Eggs", hold="it is off sale"),
    ]
    items.append(make_open_item("g", category="Food > Tea"))
    new = {"a": 530, "b": 480, "c": 520, "d": 500, "e": 510, "g": 900}
    chosen = choose_category_units(items, new, {"g": "maximum change"})
    assert [unit.name for unit in chosen.units] == ["Food > Milk", "Food > Tea"]
    zone = items[4].zone
    assert chosen.untested == {
        f"{zone}/e": "it is off sale",
        f"{zone}/g": f"{NEW_PRICE_FORBIDDEN}: maximum change",
    }
    periods = Periods(3, 3)
    test = assign_prices(PriceTestDesign.ROLLOUT, chosen.units, periods, {}, seed=2)
    assert test.find_prices(0) == test.find_prices_before()
    brought = {item_id: new[item_id] for item_id in ("a", "b", "c")}
    assert {item_id: price for (item_id, _), price in test.find_prices(2).items()} == brought
    assert test.find_prices(periods.n_periods) == test.find_prices(2)  # it keeps them
    changes = [test.find_prices(k).items() - test.find_prices(k - 1).items() for k in (1, 2)]
    assert sorted(map(len, changes)) == [1, 2]


def test_a_roll_out_costs_what_its_new_prices_would_have_brought_meanwhile():
    items = [make_open_item(name, category=f"Food > {name}") for name in ("a", "b")]
    items[1] = replace(items[1], elasticity=np.nan, elasticity_error=np.nan)
    # At a slope of -1.5 a higher price earns more; of the second item nothing is known.
    items[0] = replace(items[0], elasticity=-1.5)
    units = choose_category_units(items, {"a": 550, "b": 550}, {}).units
    test = assign_prices(PriceTestDesign.ROLLOUT, units, Periods(3, 3), {}, seed=1)
    first, second = expect(items, test, units)
    weeks_without = 3 * test.units[0].has_test_price.count(False)
    gain = 200 * (1.1**-1.5 * 250 - 200) * ProgrammeLimits().credit
    assert first.cost == pytest.approx(weeks_without * gain, rel=1e-6)
    assert (second.cost, np.isnan(second.error_now)) == (0.0, True)
    # Two categories are too few to estimate an error from.
    assert expect_error(items, np.full(2, 200.0), test, noise=0.1) is None


@pytest.mark.parametrize("kind", list(PriceTestDesign))
def test_a_stored_test_comes_back_with_its_design(kind):
    items = [
        make_open_item(name, zone=zone, category=f"Food > {name}")
        for zone in ("north", "south")
        for name in ("a", "b")
    ]
    units = choose_zone_units(items, RULES, {}, max_items=2).units
    if kind is PriceTestDesign.ROLLOUT:
        units = choose_category_units(items[:2], {"a": 510, "b": 490}, {}).units
    periods = Periods(3, 3) if kind is PriceTestDesign.ROLLOUT else PERIODS
    test = assign_prices(kind, units, periods, {("a", "north"): 0.2}, seed=3)
    stored = json.loads(json.dumps(test.to_document()))
    assert PriceTest.from_document(stored) == test
    if kind is PriceTestDesign.CROSSOVER:  # as the first versions stored it
        del stored["design"]
        for unit in stored["units"]:
            unit["is_higher"] = unit.pop("has_test_price")
        assert PriceTest.from_document(stored | {"zone": "north"}) == test
