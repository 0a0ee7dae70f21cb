"""What an item's price does to the rest of its family, as the optimiser counts it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from features.contracts.pricing import PricingItem
from models.pricing.response.elasticity import Cross


def with_neighbours(items: Sequence[PricingItem], cross: Cross) -> list[PricingItem]:
    """The items with what their neighbours sell more, over the horizon, per unit of the log of each
    item's price.

    `cross` numbers the items as they stand in `items`. First order: neighbours' prices are taken to
    stay.
    """
    units = np.array([item.units_mean for item in items])
    net = np.array([item.current_price_minor / item.tax_divisor for item in items])
    margin = net - np.array([item.unit_cost_minor for item in items])
    moved = cross.effect * units[cross.of]
    columns = [
        np.bincount(cross.by, moved * each[cross.of], len(items))
        for each in (np.ones(len(items)), net, margin)
    ]
    return [
        replace(
            item,
            neighbours_units=sold,
            neighbours_revenue_minor=revenue,
            neighbours_profit_minor=profit,
        )
        for item, sold, revenue, profit in zip(
            items, *(column.tolist() for column in columns), strict=True
        )
    ]
