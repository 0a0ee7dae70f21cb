"""The result of a price test counts only weeks at the planned prices."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from experiments.analysis.price_test_results import PriceTestResult, analyse_price_test
from experiments.designs.price_designs import Periods
from experiments.designs.price_test import AssignedUnit, PriceTest
from experiments.designs.tested_units import ItemPrices
from features.contracts.pricing import PriceTestDesign
from tests.shops.price_panels import make_price_panel

SLOPE = -2.0
BEFORE = 4  # weeks before the test
ITEMS = ("a", "b", "c", "d")


def make_switchback() -> PriceTest:
    """Return a switchback of the four items in two zones."""
    units = tuple(
        AssignedUnit(
            name=zone,
            stratum="",
            prices=tuple(ItemPrices(item, zone, 1000, 900, 1100, ()) for item in ITEMS),
            has_test_price=order,
            cross=(0.0,) * 4,
        )
        for zone, order in (
            ("north", (True, False, False, True)),
            ("south", (False, True, True, False)),
        )
    )
    return PriceTest(Periods(4, 3), units, PriceTestDesign.SWITCHBACK)


def make_test(n_periods: int = 2) -> PriceTest:
    """Return a test of four items, two of which begin with the higher price."""
    units = tuple(
        AssignedUnit(
            name=item_id,
            stratum="",
            prices=(ItemPrices(item_id, "default", 1000, 900, 1100, (900, 1000, 1100)),),
            has_test_price=tuple((row + period) % 2 == 0 for period in range(n_periods)),
            cross=(0.0,),
        )
        for row, item_id in enumerate(ITEMS)
    )
    return PriceTest(Periods(n_periods, 3), units)


def plan_prices(test: PriceTest, n: int = 4) -> np.ndarray:
    """Return the prices (n, W) of the weeks before a test and of its own."""
    weeks = [list(test.find_prices(int(p)).values()) for p in test.periods.period_of_week]
    return np.array([[1000] * n] * BEFORE + weeks, float).T


def analyse(test: PriceTest, prices: np.ndarray, refused: tuple[str, ...] = ()) -> PriceTestResult:
    """Return the result where units follow the prices that were charged."""
    units = 1e6 * (prices / 1000) ** SLOPE
    panel = make_price_panel(prices, units, listed=True, list_price=prices)
    panel = replace(panel, item_ids=np.array(ITEMS, object))
    return analyse_price_test(panel, test, BEFORE, refused=refused, n_draws=19)


def test_prices_as_planned_give_the_slope_and_leave_nothing_out():
    test = make_test()
    result = analyse(test, plan_prices(test))
    assert [item.slope for item in result.items] == pytest.approx([SLOPE] * 4, abs=0.01)
    assert result.common.slope == pytest.approx(SLOPE, abs=0.01)
    assert (result.n_weeks_left_out, result.carry_over) == (0, None)


def test_a_period_that_was_never_charged_is_no_evidence_of_no_effect():
    test = make_test()
    prices = plan_prices(test)
    prices[:, BEFORE + 3 :] = prices[:, BEFORE + 2 : BEFORE + 3]
    result = analyse(test, prices)
    assert result.items == ()
    # Two analysed weeks of the second period, four items.
    assert result.n_weeks_left_out == 2 * 4
    document = json.loads(json.dumps(result.to_document(), allow_nan=False))
    assert document["common"] == {"slope": None, "error": None, "n_units": 0, "margin": None}


def test_one_item_that_kept_its_price_is_left_out_of_the_common_slope():
    test = make_test()
    prices = plan_prices(test)
    prices[3] = 1000
    result = analyse(test, prices)
    assert [item.item_id for item in result.items] == ["a", "b", "c"]
    assert result.common.slope == pytest.approx(SLOPE, abs=0.01)
    assert (result.common.n_units, result.n_weeks_left_out) == (3, 4)


def test_a_refused_item_is_left_out_whatever_its_prices():
    test = make_test()
    result = analyse(test, plan_prices(test), refused=("b",))
    assert [item.item_id for item in result.items] == ["a", "c", "d"]
    assert (result.common.n_units, result.n_weeks_left_out) == (3, 4)


def test_after_a_late_change_a_burn_in_is_left_out_too():
    test = make_test()
    prices = plan_prices(test)
    prices[0, BEFORE + 3] = prices[0, BEFORE + 2]
    # The first week of the second period is burn-in anyway; the second one follows the change.
    assert analyse(test, prices).n_weeks_left_out == 1


def test_a_planned_price_below_those_of_the_weeks_around_is_no_promotion():
    test = make_test(n_periods=6)
    prices = plan_prices(test)
    units = 1e6 * (prices / 1000) ** SLOPE
    # Nothing records a list price: the middle week of each lower period looks reduced.
    panel = make_price_panel(prices, units, listed=True)
    panel = replace(panel, item_ids=np.array(ITEMS, object), announced=(panel.log_ratio < 0) * 1.0)
    assert (panel.log_ratio < -0.1).any()
    guessed = replace(panel, guessed_list=np.ones(4, bool))
    result = analyse_price_test(guessed, test, BEFORE, n_draws=19)
    assert [item.slope for item in result.items] == pytest.approx([SLOPE] * 4, abs=0.01)
    assert analyse_price_test(panel, test, BEFORE, n_draws=19).items == ()
    promoted = replace(guessed, kinds=("display",), reach=np.ones((1, *prices.shape)))
    assert analyse_price_test(promoted, test, BEFORE, n_draws=19).items == ()


def test_a_switchback_measures_its_zones_and_no_single_item():
    test = make_switchback()
    prices = plan_prices(test, n=8)
    zone = np.repeat([0, 1], 4)
    movement = 0.2 * np.random.default_rng(1).normal(size=(2, prices.shape[1]))[zone]
    units = 1e6 * (prices / 1000) ** SLOPE * np.exp(movement)
    zones = [("north", "south")[k] for k in zone]
    panel = make_price_panel(prices, units, listed=True, list_price=prices, zones=zones)
    panel = replace(panel, item_ids=np.array(ITEMS * 2, object))
    result = analyse_price_test(panel, test, BEFORE, n_draws=19)
    assert result.items == ()  # all items of a zone move together: no slope is of one alone
    assert result.common.n_units == 4
    # Two degrees of freedom: the 97.5 % point of t is 4.303.
    assert result.common.margin == pytest.approx(4.303 * result.common.error, rel=1e-3)
    assert abs(result.common.slope - SLOPE) < result.common.margin
    assert result.carry_over is None
    assert {period.error for period in result.by_period} == {np.inf}


def test_rounding_is_no_other_price():
    test = make_test()
    result = analyse(test, plan_prices(test) + 0.4)
    assert (len(result.items), result.n_weeks_left_out) == (4, 0)
