"""What an item's price does to the sales of the rest of its family, as the optimiser counts it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from features.contracts.arrays import Float64Array
from features.contracts.pricing import PricingItem
from models.pricing.response.elasticity import CrossElasticities


def add_cross_effects(items: Sequence[PricingItem], cross: CrossElasticities) -> list[PricingItem]:
    """Return the items with what the rest of their family gains per unit of the log of their price.

    Units, net revenue and net profit over the horizon. `cross` numbers the items by their index in
    `items`. First order: the prices of the rest of the family are taken to stay.
    """
    units = np.array([item.units_mean for item in items])
    net_price = np.array([item.current_price_minor / item.tax_divisor for item in items])
    margin = net_price - np.array([item.unit_cost_minor for item in items])
    gained_units = cross.move_units(units)
    cross_units, cross_revenue, cross_profit = (
        np.bincount(cross.price_of, gained_units * amount[cross.units_of], len(items)).tolist()
        for amount in (np.ones(len(items)), net_price, margin)
    )
    weights = np.abs(gained_units)
    total = np.bincount(cross.price_of, weights, len(items))
    total = np.where(total > 0, total, 1.0)

    def average(values: Float64Array) -> list[float]:
        return list((np.bincount(cross.price_of, weights * values, len(items)) / total).tolist())

    error = average(cross.error)
    no_correlation = np.zeros(len(weights))
    correlation = average(no_correlation if cross.correlation is None else cross.correlation)
    return [
        replace(
            item,
            cross_units=cross_units[index],
            cross_revenue_minor=cross_revenue[index],
            cross_profit_minor=cross_profit[index],
            cross_error=error[index],
            cross_correlation=correlation[index],
        )
        for index, item in enumerate(items)
    ]
