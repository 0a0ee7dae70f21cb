"""Single orders and weeks far beyond all others count as usual ones; what recurs counts in full."""

from dataclasses import replace

import numpy as np

from models.demand.odd_sales import limit_odd_orders, limit_odd_sales
from tests.shops.demand_panels import make_panel

N_ITEMS, N_WEEKS = 20, 30


def orders() -> tuple[np.ndarray, np.ndarray]:
    """Units and largest orders of a shop in which one order holds up to three units."""
    rng = np.random.default_rng(5)
    return rng.poisson(8.0, (N_ITEMS, N_WEEKS)) + 3.0, rng.integers(1, 4, (N_ITEMS, N_WEEKS)) * 1.0


def place_order(units: np.ndarray, largest: np.ndarray, item: int, week: int, size: float) -> None:
    units[item, week] += size
    largest[item, week] = size


def test_one_order_of_thousands_counts_as_a_usual_one() -> None:
    units, largest = orders()
    before = units.copy()
    place_order(units, largest, 4, 26, 4_000)
    limited = limit_odd_orders(units, largest)
    assert limited[4, 26] <= before[4, 26] + 3
    limited[4, 26] = before[4, 26]
    assert np.array_equal(limited, before)


def test_bulk_orders_of_an_item_that_recur_stay() -> None:
    units, largest = orders()
    place_order(units, largest, 4, 12, 900)
    place_order(units, largest, 4, 26, 1_200)
    assert np.array_equal(limit_odd_orders(units, largest), units)


def test_bulk_orders_that_many_items_of_the_shop_have_stay() -> None:
    units, largest = orders()
    for item, size in enumerate((60, 90, 75, 120, 80)):
        place_order(units, largest, item, 3 * item + 5, size)
    assert np.array_equal(limit_odd_orders(units, largest), units)


def test_a_bulk_order_as_the_shop_has_them_makes_no_odd_week() -> None:
    units, largest = orders()
    for item, size in enumerate((160, 190, 175, 220, 180)):
        place_order(units, largest, item, 3 * item + 5, size)
    panel = make_panel(n_series=N_ITEMS, n_known=N_WEEKS)
    panel = replace(panel, units=units.astype(np.float32), reach=np.zeros_like(panel.reach))
    assert not limit_odd_sales(panel, largest).odd.any()


def test_the_other_orders_of_a_slip_are_lowered_with_the_largest() -> None:
    units, largest = orders()
    panel = make_panel(n_series=N_ITEMS, n_known=N_WEEKS)
    usual = np.delete(units[5], 15).max()
    units[5, 15], largest[5, 15] = 3 * 60 + 5, 60
    panel = replace(panel, units=units.astype(np.float32), reach=np.zeros_like(panel.reach))
    odd = limit_odd_sales(panel, largest)
    assert odd.units[5, 15] == usual
    assert odd.odd_orders[5, 15] and odd.odd_weeks[5, 15]


def test_an_item_of_few_weeks_keeps_its_orders() -> None:
    units, largest = np.zeros((1, 12)), np.zeros((1, 12))
    units[0, 7:] = largest[0, 7:] = [1, 2, 1, 300, 2]
    assert np.array_equal(limit_odd_orders(units, largest), units)


def test_a_week_of_many_small_orders_is_lowered_unless_a_plan_explains_it() -> None:
    panel = make_panel(n_series=6)
    units = np.full((6, 30), 10.0, np.float32)
    units[:2, 9] = 500.0
    reach = np.zeros((1, 6, 43), np.float32)
    reach[0, 0, 9] = 1.0
    odd = limit_odd_sales(replace(panel, units=units, reach=reach), np.full((6, 30), 2.0))
    assert odd.units[:2, 9].tolist() == [500.0, 10.0]
    assert np.argwhere(odd.odd).tolist() == [[1, 9]]
    assert odd.odd_weeks.sum() == 1 and not odd.odd_orders.any()
