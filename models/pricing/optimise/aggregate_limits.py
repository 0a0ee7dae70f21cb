"""Rules of many items as limits on sums over the selected choices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float64Array
from features.contracts.categories import codes
from features.contracts.pricing import PricingItem
from models.pricing.optimise.objective import ItemColumns, predict_units
from models.pricing.optimise.problem import Choices, Limit
from models.pricing.rules import CHANGES, GROUP_MARGIN, IMAGE, REVENUE, GroupMargin, PricingRules


@dataclass(frozen=True)
class _Money:
    """Expected net revenue and profit over the horizon, minor units.

    revenue, profit                   (N,) of each choice
    current_revenue, current_profit   (n,) of each item at its current price
    """

    revenue: Float64Array
    profit: Float64Array
    current_revenue: Float64Array
    current_profit: Float64Array

    @classmethod
    def from_choices(cls, columns: ItemColumns, choices: Choices) -> _Money:
        """Predict the money of all choices."""
        item, prices = choices.item, choices.prices.astype(np.float64)
        units = predict_units(columns, item, prices)
        revenue = units * prices / columns.tax[item]
        current_revenue = columns.units * columns.current / columns.tax
        return cls(
            revenue=revenue,
            profit=revenue - units * columns.cost[item],
            current_revenue=current_revenue,
            current_profit=current_revenue - columns.units * columns.cost,
        )


def build_limits(
    items: Sequence[PricingItem], columns: ItemColumns, choices: Choices, rules: PricingRules
) -> tuple[Limit, ...]:
    """Return the limits that the rules set; items and columns are in the order of the choices."""
    n = len(items)
    limits = []
    max_changes = count_allowed_changes(rules, n)
    if max_changes is not None:
        is_change = choices.prices.astype(np.float64) != columns.current[choices.item]
        limits.append(limit_changes(CHANGES, is_change.astype(np.float64), n, max_changes))
    if rules.price_image is not None:
        limits += _limit_price_image(items, columns, choices, rules.price_image)
    if rules.revenue_floor is None and rules.group_margin is None:
        return tuple(limits)
    money = _Money.from_choices(columns, choices)
    if rules.group_margin is not None:
        limits.append(_limit_group_margin(items, choices, money, rules.group_margin))
    if rules.revenue_floor is not None:
        floor = np.array([rules.revenue_floor * float(money.current_revenue.sum())])
        limits.append(Limit(REVENUE, np.zeros(n, np.int64), money.revenue, floor))
    return tuple(limits)


def count_allowed_changes(rules: PricingRules, n_items: int) -> int | None:
    """Return how many of `n_items` prices the rules allow to change; None for any number."""
    caps = [] if rules.max_changes is None else [rules.max_changes]
    if rules.max_changes_share is not None:
        caps.append(int(rules.max_changes_share * n_items + 1e-9))
    return min(caps, default=None)


def limit_changes(rule: str, is_change: Float64Array, n_items: int, max_changes: int) -> Limit:
    """Return a limit on the number of changes; `is_change` (N,) is 1 for choices that are one."""
    return Limit(rule, np.zeros(n_items, np.int64), -is_change, np.array([-float(max_changes)]))


def _limit_group_margin(
    items: Sequence[PricingItem], choices: Choices, money: _Money, rule: GroupMargin
) -> Limit:
    """Return the limit that each category's profit less its share of revenue is at least 0."""
    group = codes([item.category for item in items], rule.depth)
    n_groups = int(group.max(initial=-1)) + 1
    if rule.least is None:
        revenue_of = np.bincount(group, money.current_revenue, n_groups)
        profit_of = np.bincount(group, money.current_profit, n_groups)
        shares = profit_of / np.maximum(revenue_of, 1e-9)
    else:
        shares = np.full(n_groups, rule.least)
    amount = money.profit - shares[group][choices.item] * money.revenue
    return Limit(GROUP_MARGIN, group, amount, np.zeros(n_groups))


def _limit_price_image(
    items: Sequence[PricingItem], columns: ItemColumns, choices: Choices, max_increase: float
) -> list[Limit]:
    """Return the limit on each price image group: the cost of the units sold at current prices.

    It may rise by the share `max_increase`. No limit where no item is in a price image group.
    """
    names = sorted({item.price_image for item in items if item.price_image})
    if not names:
        return []
    group_of = {name: number for number, name in enumerate(names)}
    group = np.array([group_of.get(item.price_image or "", -1) for item in items], np.int64)
    units = np.where(group >= 0, columns.units, 0.0)
    current_cost: Float64Array = np.bincount(
        np.maximum(group, 0), units * columns.current, len(names)
    ).astype(np.float64)
    cost: Float64Array = units[choices.item] * choices.prices.astype(np.float64)
    return [Limit(IMAGE, group, -cost, -(1 + max_increase) * current_cost)]
