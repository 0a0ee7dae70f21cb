"""Weekly prices, units and promotions of every item in every zone: the data of a price response."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from features.contracts.arrays import BoolArray, Float64Array, ObjectArray


@dataclass(frozen=True)
class PricePanel:
    """S series (an item in a zone) over W weeks, K kinds of promotion.

    item_ids, zones, category   (S,)
    family      (S,) items that replace each other for shoppers; "" for none
    units       (S, W) sold
    log_price   (S, W) of minor units; NaN where the price is unknown, and where the item sold out:
                such a week is no observation
    listed      (S,) prices come from a price list, so weeks without a sale have a price as well
    kinds       K names
    reach       (K, S, W) share of shops or visitors that a promotion reached, 0..1
    log_cost    (S, W), NaN where the cost is unknown; None without any costs
    """

    item_ids: ObjectArray
    zones: ObjectArray
    category: ObjectArray
    family: ObjectArray
    units: Float64Array
    log_price: Float64Array
    listed: BoolArray
    kinds: tuple[str, ...]
    reach: Float64Array
    log_cost: Float64Array | None = None

    @property
    def n_weeks(self) -> int:
        """W."""
        return int(self.units.shape[1])

    @property
    def observed(self) -> BoolArray:
        """(S, W) weeks that are an observation: a price, and a sale unless the price is listed."""
        return np.isfinite(self.log_price) & ((self.units > 0) | self.listed[:, None])

    @property
    def sold(self) -> BoolArray:
        """(S, W) weeks with a price and a sale."""
        return np.isfinite(self.log_price) & (self.units > 0)

    def select_first_weeks(self, n_weeks: int) -> PricePanel:
        """Return all series in the first `n_weeks` weeks."""
        log_cost = None if self.log_cost is None else self.log_cost[:, :n_weeks]
        return replace(
            self,
            units=self.units[:, :n_weeks],
            log_price=self.log_price[:, :n_weeks],
            reach=self.reach[:, :, :n_weeks],
            log_cost=log_cost,
        )

    def select_series(self, mask: BoolArray) -> PricePanel:
        """Return the series where `mask` (S,) is true, in all weeks."""
        return replace(
            self,
            item_ids=self.item_ids[mask],
            zones=self.zones[mask],
            category=self.category[mask],
            family=self.family[mask],
            units=self.units[mask],
            log_price=self.log_price[mask],
            listed=self.listed[mask],
            reach=self.reach[:, mask],
            log_cost=None if self.log_cost is None else self.log_cost[mask],
        )
