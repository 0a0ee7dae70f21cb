"""Single orders and weeks that outweigh all others of an item, and what they count as.

One order of 4,000 where others are of 3 says nothing about the weeks to come, yet it moves a mean
for a year. Such units are limited as Huber's psi limits residuals: beyond a threshold they count as
the largest usual value. What recurs is the business of the shop and stays: an order is odd only
beside the orders of the item's other weeks and those that other items of the shop have.
Arrays are N series × T weeks. Reference: Huber & Ronchetti (2009), Robust Statistics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from features.contracts.arrays import BoolArray, Float64Array
from models.demand.features import PROMOTED_REACH
from models.demand.panel import DemandPanel

# An order or a week is odd that exceeds 5 × (the largest usual one + 2 units).
_TIMES, _UNITS = 5.0, 2.0
_TIMES_BESIDE_ODD = 2.0  # for what else was sold in the week of an odd order
_SHARE_OF_ITEMS = 0.1  # that had as large an order beside their typical one: then it is usual
_MIN_ITEMS = 2
_MIN_WEEKS = 6  # with a sale, that must be known of an item


@dataclass(frozen=True)
class OddSales:
    """N × T units that count, and where they are fewer than were sold."""

    units: Float64Array
    odd_orders: BoolArray
    odd_weeks: BoolArray

    @property
    def odd(self) -> BoolArray:
        """N × T, of either kind."""
        return self.odd_orders | self.odd_weeks


def limit_odd_sales(panel: DemandPanel, largest_order: Float64Array) -> OddSales:
    """Return the units of the panel with odd orders, and odd weeks that no plan explains, limited.

    A week with a bulk order as the shop has them is no odd week. One with an odd order is likely to
    have more of them, so it is odd sooner.

    largest_order   N × n_known, units of the largest order of each week
    """
    sold, orders = panel.units.astype(np.float64), _compare_orders(largest_order)
    units = np.maximum(sold - orders.excess, 0.0)
    usual = find_largest_of_others(units)
    times = np.where(orders.excess > 0, _TIMES_BESIDE_ODD, _TIMES)
    beside_bulk = units - np.where(orders.is_bulk, largest_order, 0.0)
    is_odd = (beside_bulk > times * (usual + _UNITS)) & _know_enough(units) & ~_find_planned(panel)
    return OddSales(np.where(is_odd, usual, units), orders.excess > 0, is_odd)


def limit_odd_orders(units: Float64Array, largest_order: Float64Array) -> Float64Array:
    """Return units in which the largest order of a week counts as much as is usual at most.

    >>> units = np.array([[3.0, 4, 2, 3, 4_003, 3, 4], [9, 9, 9, 9, 9, 9, 9]])
    >>> orders = np.array([[2.0, 3, 1, 2, 4_000, 2, 3], [2, 2, 2, 2, 2, 2, 2]])
    >>> limit_odd_orders(units, orders)[0].tolist()
    [3.0, 4.0, 2.0, 3.0, 6.0, 3.0, 4.0]
    """
    return np.asarray(np.maximum(units - _compare_orders(largest_order).excess, 0.0), np.float64)


class _Orders(NamedTuple):
    """N × T units of the largest order that are more than usual, and where it is a bulk order."""

    excess: Float64Array
    is_bulk: BoolArray


def _compare_orders(largest_order: Float64Array) -> _Orders:
    """Compare the largest order of each week with those of other weeks, and of other items."""
    of_item = find_largest_of_others(largest_order)
    usual = np.maximum(of_item, _find_usual_in_shop(largest_order)[:, None])
    known = _know_enough(largest_order)
    is_odd = (largest_order > _TIMES * (usual + _UNITS)) & known
    is_bulk = (largest_order > _TIMES * (of_item + _UNITS)) & ~is_odd
    return _Orders(np.where(is_odd, largest_order - usual, 0.0), np.asarray(is_bulk))


def find_largest_of_others(values: Float64Array) -> Float64Array:
    """Return for each week the largest value of the series' other weeks.

    >>> find_largest_of_others(np.array([[1.0, 7, 3]])).tolist()
    [[7.0, 3.0, 7.0]]
    """
    if values.shape[1] < 2:
        return np.zeros(values.shape)
    second, first = np.moveaxis(np.partition(values, -2, axis=1)[:, -2:], 1, 0)
    others = np.repeat(first[:, None], values.shape[1], axis=1)
    others[np.arange(len(values)), values.argmax(axis=1)] = second
    return others


def _find_usual_in_shop(largest_order: Float64Array) -> Float64Array:
    """Return N: the order that a tenth of the other items had, at the size of this item's orders.

    Orders of items are compared by how often they hold the item's typical largest one.
    """
    typical = np.array([_lower_median(row[row > 0]) for row in largest_order])
    times = largest_order.max(axis=1, initial=0.0) / typical
    n_items = max(_MIN_ITEMS, int(np.ceil(_SHARE_OF_ITEMS * len(times))))
    if len(times) <= n_items:
        return np.zeros(len(times))
    descending = np.sort(times)[::-1]
    in_shop = np.where(
        times >= descending[n_items - 1], descending[n_items], descending[n_items - 1]
    )
    return np.asarray(in_shop * typical, np.float64)


def _lower_median(values: Float64Array) -> float:
    return float(np.sort(values)[(len(values) - 1) // 2]) if len(values) else 1.0


def _know_enough(values: Float64Array) -> BoolArray:
    """Return N × 1: series with enough weeks of a sale."""
    return np.asarray((values > 0).sum(axis=1, keepdims=True) >= _MIN_WEEKS)


def _find_planned(panel: DemandPanel) -> BoolArray:
    """Return N × n_known: weeks with a promotion or a reduced price."""
    weeks = slice(panel.n_known)
    planned = (np.nan_to_num(panel.reach[:, :, weeks]) >= PROMOTED_REACH).any(axis=0)
    if panel.offer_price is not None and panel.list_price is not None:
        planned |= panel.offer_price[:, weeks] < panel.list_price[:, weeks]
    return np.asarray(planned)
