"""Units, revenue and profit in each of several possible futures, and their bands.

n   items
F   possible futures, the last of which is the middle
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float64Array
from features.contracts.pricing import Band, Effect


@dataclass(frozen=True)
class Money:
    """Units, net revenue and net profit in each future, of items (n, F), or of one or a sum
    (F,)."""

    units: Float64Array
    revenue: Float64Array
    profit: Float64Array

    def to_effect(self) -> Effect:
        """Return the bands of one item or of a sum."""
        return Effect(build_band(self.units), build_band(self.revenue), build_band(self.profit))

    def add(self, other: Money) -> Money:
        """Return the sum."""
        return Money(
            self.units + other.units, self.revenue + other.revenue, self.profit + other.profit
        )

    def subtract(self, other: Money) -> Money:
        """Return the difference."""
        return Money(
            self.units - other.units, self.revenue - other.revenue, self.profit - other.profit
        )

    def select(self, items: int | slice) -> Money:
        """Return some of the items."""
        return Money(self.units[items], self.revenue[items], self.profit[items])

    def sum_items(self) -> Money:
        """Return the sum over the items in each future."""
        return Money(self.units.sum(0), self.revenue.sum(0), self.profit.sum(0))


def build_band(values: Float64Array) -> Band:
    """Return p10, p50, p90 of values (F,), the last of which is the middle.

    A band contains its middle, also where the value has its extreme within it.
    """
    middle = float(values[-1])
    futures = np.sort(values[:-1])
    low, high = futures[int(0.1 * len(futures))], futures[-1 - int(0.1 * len(futures))]
    return Band(min(float(low), middle), middle, max(float(high), middle))
