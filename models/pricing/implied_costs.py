"""Costs that nobody knows, from the prices that a shop has and the response to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from features.contracts.arrays import Float64Array
from features.contracts.categories import codes
from features.contracts.pricing import PricingItem

CATEGORY_DEPTH = 2  # levels of the category path within which prices are right on average
_LEAST_MARGIN, _LARGEST_MARGIN = 0.05, 0.9
_NORMAL_OVER_MEDIAN = 1.4826  # standard deviation over the median distance of a normal
_MIN_KNOWN = 10  # items with a known cost that show how far implied ones are off


def imply_costs(items: Sequence[PricingItem]) -> list[PricingItem]:
    """Return the items with costs at which the prices of a category are right on average.

    For items whose cost is assumed and whose response is known. A margin that is assumed for all
    goods says that all prices are too low, or all too high; nothing in the data does. So what is
    assumed is that a category's prices are right on average: margin = -1 / response (Lerner, The
    concept of monopoly, 1934), where the response is the mean over the category, weighted by
    revenue, of an item's own and what its family gains. An item is then suggested another price for
    what sets it apart from its category. Cross effects are counted by revenue, as if all margins of
    a family were the same. How far such costs are off is measured on the items whose cost is known.
    """
    assumed = np.array([item.cost_source == "assumed" for item in items], bool)
    if not assumed.any():
        return list(items)
    net_price = np.array([_find_own_list_price(item) / item.tax_divisor for item in items])
    response = _measure_responses(items)
    revenue = net_price * np.array([item.units_mean for item in items])
    category = codes(np.array([item.category for item in items], object), CATEGORY_DEPTH)
    weight = np.where(np.isfinite(response) & (revenue > 0), revenue, 0.0)
    total = np.bincount(category, weight)
    mean = np.bincount(category, weight * np.nan_to_num(response)) / np.where(total > 0, total, 1.0)
    margin = np.clip(-1 / np.minimum(mean, -1.0), _LEAST_MARGIN, _LARGEST_MARGIN)
    is_implied = (total > 0)[category]
    implied = net_price * (1 - margin[category])
    known = np.flatnonzero(~assumed & is_implied & (net_price > 0))
    costs = np.array([items[row].unit_cost_minor for row in known.tolist()])
    off = (costs - implied[known]) / net_price[known]
    # The median: one cost in another unit says nothing of the others.
    share_off = (
        _NORMAL_OVER_MEDIAN * float(np.median(np.abs(off))) if len(off) >= _MIN_KNOWN else 0.0
    )
    return [
        replace(
            item,
            unit_cost_minor=float(implied[row]),
            unit_cost_error_minor=share_off * float(net_price[row]),
        )
        if assumed[row] and is_implied[row]
        else item
        for row, item in enumerate(items)
    ]


def _find_own_list_price(item: PricingItem) -> int:
    """Return the list price before any that was suggested: approved prices raise no cost."""
    return item.opening_list_price_minor or item.list_price_minor


def _measure_responses(items: Sequence[PricingItem]) -> Float64Array:
    """Return each item's elasticity (n,) with what its family gains, a share of its revenue."""
    own = np.array([item.elasticity for item in items], np.float64)
    revenue = np.array(
        [item.units_mean * item.current_price_minor / item.tax_divisor for item in items]
    )
    gained = np.array([item.cross_revenue_minor for item in items], np.float64)
    return own + gained / np.where(revenue > 0, revenue, np.inf)
