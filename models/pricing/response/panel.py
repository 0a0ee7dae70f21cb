"""Weekly prices, units and promotions of every item in every zone: all that a price response is
learnt from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from features.contracts.arrays import BoolArray, Float64Array, ObjectArray


@dataclass(frozen=True)
class PricePanel:
    """S series (an item in a zone) over W weeks, K kinds of promotion.

    item_ids, zones, category   (S,)
    family      (S,) items that take the place of each other; "" for none
    units       (S, W) sold
    log_price   (S, W) of minor units; NaN where none is known, and where the item sold out: such a
                week says nothing
    listed      (S,) prices come from a price list, so weeks without a sale are known as well
    kinds       K names
    reach       (K, S, W) share of shops or visitors that a promotion met, 0..1
    log_cost    (S, W), NaN where none is known; None without any
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
    def seen(self) -> BoolArray:
        """(S, W) weeks that say something: a price, and a sale unless the price is listed."""
        return np.isfinite(self.log_price) & ((self.units > 0) | self.listed[:, None])

    @property
    def sold(self) -> BoolArray:
        """(S, W) weeks with a price and a sale."""
        return np.isfinite(self.log_price) & (self.units > 0)

    def before(self, week: int) -> PricePanel:
        """The first `week` weeks."""
        cost = None if self.log_cost is None else self.log_cost[:, :week]
        return replace(
            self,
            units=self.units[:, :week],
            log_price=self.log_price[:, :week],
            reach=self.reach[:, :, :week],
            log_cost=cost,
        )

    def series(self, chosen: BoolArray) -> PricePanel:
        """Some of the series, all weeks."""
        return replace(
            self,
            item_ids=self.item_ids[chosen],
            zones=self.zones[chosen],
            category=self.category[chosen],
            family=self.family[chosen],
            units=self.units[chosen],
            log_price=self.log_price[chosen],
            listed=self.listed[chosen],
            reach=self.reach[:, chosen],
            log_cost=None if self.log_cost is None else self.log_cost[chosen],
        )
