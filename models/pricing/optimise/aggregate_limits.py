"""Rules of many items as limits on sums over the choices taken."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array
from features.contracts.categories import codes
from features.contracts.pricing import PricingItem
from models.pricing.optimise.objective import Columns, units_at
from models.pricing.optimise.problem import Choices, Limit
from models.pricing.optimise.solver import fewest
from models.pricing.rules import CHANGES, GROUP_MARGIN, IMAGE, REVENUE, PricingRules


def limits(
    items: Sequence[PricingItem], columns: Columns, choices: Choices, rules: PricingRules
) -> tuple[Limit, ...]:
    """The limits that the rules set; items and columns are in the order of the choices."""
    n, item = len(items), choices.item
    prices = choices.prices.astype(np.float64)
    everyone = np.zeros(n, np.int64)
    found = []
    most = most_changes(rules, n)
    if most is not None:
        changed = (prices != columns.current[item]).astype(np.float64)
        found.append(fewest(CHANGES, changed, n, most))
    if rules.price_image is not None:
        found += _image(items, columns, choices, rules.price_image)
    if rules.revenue_floor is None and rules.group_margin is None:
        return tuple(found)
    units = units_at(columns, item, prices)
    revenue = units * prices / columns.tax[item]
    present = columns.units * columns.current / columns.tax
    if rules.group_margin is not None:
        group = codes([each.category for each in items], rules.group_margin.depth)
        profit, now = revenue - units * columns.cost[item], present - columns.units * columns.cost
        found.append(_margin(group, revenue, profit, present, now, item, rules.group_margin.least))
    if rules.revenue_floor is not None:
        found.append(
            Limit(
                REVENUE, everyone, revenue, np.array([rules.revenue_floor * float(present.sum())])
            )
        )
    return tuple(found)


def most_changes(rules: PricingRules, n_items: int) -> int | None:
    """The most changes that the rules allow among `n_items`; None where they allow any number."""
    caps = [] if rules.max_changes is None else [rules.max_changes]
    if rules.max_changes_share is not None:
        caps.append(int(rules.max_changes_share * n_items + 1e-9))
    return min(caps, default=None)


def _margin(
    group: Int64Array,
    revenue: Float64Array,
    profit: Float64Array,
    present: Float64Array,
    profit_now: Float64Array,
    item: Int64Array,
    least: float | None,
) -> Limit:
    """Of each group, profit less its share of revenue is at least 0."""
    n_groups = int(group.max(initial=-1)) + 1
    base = np.bincount(group, present, n_groups)
    shares = (
        np.bincount(group, profit_now, n_groups) / np.maximum(base, 1e-9)
        if least is None
        else np.full(n_groups, least)
    )
    return Limit(GROUP_MARGIN, group, profit - shares[group][item] * revenue, np.zeros(n_groups))


def _image(
    items: Sequence[PricingItem], columns: Columns, choices: Choices, most: float
) -> list[Limit]:
    """What the units of today would cost may rise by a share `most` in each price image group."""
    names = sorted({each.price_image for each in items if each.price_image})
    if not names:
        return []
    number = {name: place for place, name in enumerate(names)}
    group = np.array([number.get(each.price_image or "", -1) for each in items], np.int64)
    inside = np.where(group >= 0, columns.units, 0.0)
    basket: Float64Array = np.bincount(
        np.maximum(group, 0), inside * columns.current, len(names)
    ).astype(np.float64)
    cost: Float64Array = inside[choices.item] * choices.prices.astype(np.float64)
    return [Limit(IMAGE, group, -cost, -(1 + most) * basket)]
