"""Replenishment from forecasts: when to order, how much, and how long the stock lasts.

Demand over a time is the sum of its weeks. Weeks of one item err together, so the sum varies more
than independent weeks would: its quantiles are those of sums over one to eight weeks in backtests.
Arrays are over N items. Reference: Silver, Pyke & Thomas (2017), Inventory and Production
Management in Supply Chains, (R, s, S) policies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import BoolArray, Float64Array, StringArray
from models.demand.outlook import Outlook

DAYS = 7.0
A_SHARE, B_SHARE = 0.8, 0.95  # of revenue, accumulated from the largest item
X_SPREAD, Y_SPREAD = 0.5, 1.0  # standard deviation over mean of a week's units
SLOW_UNITS, SLOW_DAYS = 1.0, 180.0  # fewer units in four weeks, or stock for longer


@dataclass(frozen=True)
class Policy:
    """Terms of replenishment, N each.

    lead_time_days   from the order until the goods are on the shelf
    review_days      between two reviews of the stock
    service_level    share of cycles without a stock-out
    """

    lead_time_days: Float64Array
    review_days: Float64Array
    service_level: Float64Array


@dataclass(frozen=True)
class Replenishment:
    """Replenishment of N items.

    The inventory position is what is on hand and on order. Orders depend on it; cover depends on
    what is on hand.

    expected        units expected over lead time and review
    reorder_point   position at or below which to order: it lasts over lead time and review at the
                    service level
    safety_stock    reorder point less the expected units
    order_up_to     reorder point and the units expected until the next review
    days_of_cover   NaN where no stock is known, inf where nothing sells
    order           order_up_to less the position if that is at the reorder point or below, else 0;
                    NaN where no stock is known
    """

    expected: Float64Array
    reorder_point: Float64Array
    safety_stock: Float64Array
    order_up_to: Float64Array
    days_of_cover: Float64Array
    order: Float64Array


def replenish(
    outlook: Outlook, policy: Policy, on_hand: Float64Array, on_order: Float64Array
) -> Replenishment:
    """Return the replenishment of each item.

    on_hand, on_order   N, NaN where not known; an unknown order counts as 0
    """
    position = on_hand + np.nan_to_num(on_order)
    days = policy.lead_time_days + policy.review_days
    expected = expect_units(outlook.mean, days)
    point = np.where(
        expected > 0, _demand_quantiles(outlook, expected, days, policy.service_level), 0.0
    )
    up_to = point + np.ceil(expect_units(outlook.mean, days + policy.review_days) - expected)
    order = np.where(position <= point, np.maximum(up_to - position, 0.0), 0.0)
    order = np.where(np.isnan(position), np.nan, np.ceil(order))
    cover = days_of_cover(outlook.mean, on_hand)
    return Replenishment(expected, point, np.maximum(point - expected, 0.0), up_to, cover, order)


def expect_units(mean: Float64Array, days: Float64Array) -> Float64Array:
    """Return units expected within `days`, N; weeks beyond the forecast are like its last open one.

    >>> expect_units(np.array([[7.0, 14.0]]), np.array([10.5])).tolist()
    [14.0]
    """
    weeks = days / DAYS
    parts = np.clip(weeks[:, None] - np.arange(mean.shape[1]), 0.0, 1.0)
    beyond = np.maximum(weeks - mean.shape[1], 0.0)
    return np.asarray((mean * parts).sum(axis=1) + beyond * _find_last_open(mean), np.float64)


def _find_last_open(mean: Float64Array) -> Float64Array:
    """Return N: units of the last week in which any item sells; in a closed week none does."""
    week = np.flatnonzero(mean.any(axis=0)).max(initial=0)
    return np.asarray(mean[:, week], np.float64)


def days_of_cover(mean: Float64Array, on_hand: Float64Array) -> Float64Array:
    """Return days until the units on hand are expected to be sold.

    They are inf where nothing sells and NaN where no stock is known. Weeks beyond the forecast are
    like its last open one.

    >>> days_of_cover(np.array([[7.0, 14.0]]), np.array([14.0])).tolist()
    [10.5]
    """
    sold, last = np.cumsum(mean, axis=1), _find_last_open(mean)
    before = np.concatenate([np.zeros((len(mean), 1)), sold[:, :-1]], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.clip((on_hand[:, None] - before) / mean, 0.0, 1.0)
        share = np.where(mean > 0, share, (on_hand[:, None] >= before) * 1.0)
        beyond = np.maximum(on_hand - sold[:, -1], 0.0) / last
    beyond = np.where(on_hand > sold[:, -1], beyond, 0.0)
    endless = (last <= 0) & (on_hand >= sold[:, -1])
    days = np.where(endless, np.inf, (share.sum(axis=1) + beyond) * DAYS)
    return np.asarray(np.where(np.isnan(on_hand), np.nan, days), np.float64)


def classify_abc(revenue: Float64Array) -> StringArray:
    """Return A for the largest items, up to 80 % of the revenue, B up to 95 %, C for the rest.

    >>> classify_abc(np.array([5.0, 80.0, 15.0])).tolist()
    ['C', 'A', 'B']
    """
    order = np.argsort(-revenue, kind="stable")
    total = max(float(revenue.sum()), 1e-12)
    before = np.cumsum(revenue[order]) - revenue[order]
    classes = np.empty(len(revenue), "U1")
    classes[order] = np.select(
        [before < (A_SHARE - 1e-9) * total, before < (B_SHARE - 1e-9) * total], ["A", "B"], "C"
    )
    return np.where(revenue > 0, classes, "C").astype("U1")


def classify_xyz(outlook: Outlook) -> StringArray:
    """Return X if a week's units stay near their mean, Y if they vary by up to it, Z if by more.

    They vary as the forecast says.
    """
    mean = np.maximum(outlook.mean.mean(axis=1), 1e-9)
    spread = np.sqrt(1.0 / mean + outlook.alpha)
    return np.select([spread <= X_SPREAD, spread <= Y_SPREAD], ["X", "Y"], "Z").astype("U1")


def find_slow_movers(outlook: Outlook, cover: Float64Array) -> BoolArray:
    """Return the items that hardly sell, or whose stock lasts half a year."""
    month = expect_units(outlook.mean, np.full(len(outlook.mean), 4 * DAYS))
    return np.asarray(
        (month < SLOW_UNITS) | (np.nan_to_num(cover, nan=0.0, posinf=np.inf) > SLOW_DAYS)
    )


def _demand_quantiles(
    outlook: Outlook, expected: Float64Array, days: Float64Array, level: Float64Array
) -> Float64Array:
    """Return the quantile of units within `days` at the service level of each item.

    Items with the same terms are looked up together.
    """
    quantiles = np.zeros(len(expected))
    terms, inverse = np.unique(np.stack([days, level], axis=1), axis=0, return_inverse=True)
    for number, (n_days, service_level) in enumerate(terms):
        rows = inverse.ravel() == number
        quantiles[rows] = outlook.aggregates.quantiles(
            expected[rows], outlook.dense[rows], n_days / DAYS, (service_level,)
        )[:, 0]
    return quantiles
