"""The price response that a shop's usual margins imply."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array
from models.pricing.response.nests import Nests
from models.pricing.response.panel import PricePanel

_LEAST_MARGIN, _LARGEST_MARGIN = 0.03, 0.95
_LEAST_KEPT = 0.2
_LARGEST_RATIO = 10.0  # of the profits of a nest to those of one item


@dataclass(frozen=True)
class UsualProfits:
    """(S,) each: usual margin, a share of the net price, and weekly revenue; 0 where unknown."""

    margin: Float64Array
    revenue: Float64Array

    @classmethod
    def measure(cls, panel: PricePanel, nests: Nests) -> UsualProfits | None:
        """Return the means over all weeks; None where no cost is known."""
        if panel.margin is None or not np.isfinite(panel.margin).any():
            return None
        known = np.isfinite(panel.margin)
        margin = np.clip(np.nan_to_num(panel.margin), _LEAST_MARGIN, _LARGEST_MARGIN)
        has_price = np.isfinite(panel.log_list)
        prices = np.where(has_price, np.exp(np.where(has_price, panel.log_list, 0.0)), 0.0)
        price = prices.sum(1) / np.maximum(has_price.sum(1), 1)
        return cls(np.where(known, margin, 0.0), np.where(known, nests.units * price, 0.0))

    def sum_of_others(self, received: Float64Array, nests: Nests) -> Float64Array:
        """Return profits of the rest of the nest, each times `received` (S,), over the own ones."""
        profit = self.margin * self.revenue
        weighted = received * profit
        others = nests.groups.sum_by_group(weighted)[nests.groups.codes] - weighted
        ratio = np.where(profit > 0, others / np.maximum(profit, 1e-12), 0.0)
        return np.where(nests.nested, np.clip(ratio, -_LARGEST_RATIO, _LARGEST_RATIO), 0.0)

    def imply_slopes(
        self, groups: Int64Array, kept: Float64Array, gained: Float64Array
    ) -> Float64Array:
        """Return the regular slope (G,) at which a group's usual prices earn the most.

        An item's profit has its maximum where margin × (slope × kept + gained) = -1: `kept` (S,) is
        the share of the slope's effect that the nest does not offset, `gained` (S,) what the nest
        gains beside it. Groups are means weighted by revenue; NaN where no cost is known.
        """
        n = int(groups.max()) + 1
        weight = np.bincount(groups, self.revenue, n)

        def average(values: Float64Array) -> Float64Array:
            return np.bincount(groups, self.revenue * values, n) / np.maximum(weight, 1e-12)

        share_kept = np.maximum(average(kept), _LEAST_KEPT)
        implied = -(1 / np.maximum(average(self.margin), 1e-9) + average(gained)) / share_kept
        return np.where(weight > 0, implied, np.nan)
