"""The panel that a demand model is fitted on: series × weeks, as arrays.

N series (item × zone), T weeks of which the first `n_known` are over, K kinds of promotion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property

import numpy as np

from features.contracts.arrays import Float32Array, Float64Array, Int64Array, ObjectArray
from features.contracts.categories import prefix

PRICE_MEMORY = 8  # weeks whose planned prices are what an item usually costs


@dataclass(frozen=True)
class DemandPanel:
    """Weekly units and plans; nothing in it was read off a sale but the units themselves.

    item_ids, zones, categories, brands   N
    week_starts     T
    units           N × n_known
    reach           K × N × T, the planned share of shops or visitors; NaN where no plan is known
    depth           N × T, of promotions
    list_price, offer_price   N × T, minor units
    signals         signal_names × signal_zones × T: holidays, weather, events of whole weeks
    in_stock        N × n_known, the share of a week in which something was on hand
    open_share      N × T, the share of a week's usual sales that falls on its open days
    listed_week     N, the week in which the catalogue lists the item, -inf where it has no date

    Depth and prices are NaN where nothing is known; they, `in_stock` and `open_share` are None when
    no series has any. An unknown offer price beside a known list price means that the list price is
    planned, and that it is not known yet whether it will be reduced (`plan_horizon`).
    """

    item_ids: ObjectArray
    zones: ObjectArray
    categories: ObjectArray
    week_starts: tuple[datetime, ...]
    n_known: int
    units: Float32Array
    kinds: tuple[str, ...]
    reach: Float32Array
    depth: Float32Array | None
    list_price: Float32Array | None
    offer_price: Float32Array | None
    signal_names: tuple[str, ...] = ()
    signal_zones: tuple[str, ...] = ()
    signals: Float32Array = field(default_factory=lambda: np.zeros((0, 0, 0), np.float32))
    in_stock: Float32Array | None = None
    open_share: Float32Array | None = None
    brands: ObjectArray = field(default_factory=lambda: np.zeros(0, object))
    listed_week: Float64Array = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        if len(self.brands) != len(self.item_ids):
            object.__setattr__(self, "brands", np.full(len(self.item_ids), "", object))
        if len(self.listed_week) != len(self.item_ids):
            object.__setattr__(self, "listed_week", np.full(len(self.item_ids), -np.inf))

    @property
    def n_series(self) -> int:
        """N."""
        return len(self.item_ids)

    def truncate(self, n_known: int) -> DemandPanel:
        """Return the panel as it was after `n_known` weeks: without later units, with all plans."""
        in_stock = None if self.in_stock is None else self.in_stock[:, :n_known]
        return replace(self, n_known=n_known, units=self.units[:, :n_known], in_stock=in_stock)

    def replace_plans(
        self, reach: Float32Array, depth: Float32Array | None, offer_price: Float32Array | None
    ) -> DemandPanel:
        """Return the panel of the same series with other plans."""
        panel = replace(self, reach=reach, depth=depth, offer_price=offer_price)
        vars(panel)["groups"] = self.groups  # encoding the categories of a large shop takes long
        return panel

    def divide_units(self, factors: Float32Array) -> DemandPanel:
        """Return the panel with units divided by the N × T `factors`."""
        return replace(self, units=self.units / factors[:, : self.n_known])

    def forecast_open_shares(self, n_steps: int) -> Float64Array:
        """Return N × n_steps shares of the usual sales that closed days leave to the next weeks."""
        if self.open_share is None:
            return np.ones((self.n_series, n_steps))
        return self.open_share[:, self.n_known : self.n_known + n_steps].astype(np.float64)

    def forecast_prices(self, n_steps: int) -> Float64Array:
        """Return N × n_steps: the offer prices, minor units, that forecasts assume.

        The price of a week is the planned one if prices of at least half of the last eight weeks
        are known too: then the series' level and the model's response to a planned price come from
        weeks with known prices. It is NaN otherwise: no plan gives the price at which the item
        sold, so the model could not learn the effect of a price that was decided later. Where a
        reduction may follow, the price is the list price.
        """
        prices = np.full((self.n_series, n_steps), np.nan)
        if self.offer_price is None:
            return prices
        recent = np.isfinite(
            self.offer_price[:, max(self.n_known - PRICE_MEMORY, 0) : self.n_known]
        )
        learnt = 2 * recent.sum(axis=1) >= max(recent.shape[1], 1)
        ahead = slice(self.n_known, self.n_known + n_steps)
        planned = self.offer_price[:, ahead]
        if self.list_price is not None:
            planned = np.where(np.isfinite(planned), planned, self.list_price[:, ahead])
        prices[learnt] = planned[learnt]
        return prices

    def take(self, series: Int64Array) -> DemandPanel:
        """Return the panel of some series."""

        def take_rows(array: Float32Array | None) -> Float32Array | None:
            return None if array is None else array[series]

        return replace(
            self,
            item_ids=self.item_ids[series],
            zones=self.zones[series],
            categories=self.categories[series],
            brands=self.brands[series],
            listed_week=self.listed_week[series],
            units=self.units[series],
            reach=self.reach[:, series],
            depth=take_rows(self.depth),
            list_price=take_rows(self.list_price),
            offer_price=take_rows(self.offer_price),
            in_stock=take_rows(self.in_stock),
            open_share=take_rows(self.open_share),
        )

    @cached_property
    def groups(self) -> tuple[Int64Array, Int64Array]:
        """Codes of each series' department and category within its zone, N each."""
        paths = list(zip(self.zones, self.categories, strict=True))
        departments = [f"{zone}\x1f{prefix(category, 1)}" for zone, category in paths]
        categories = [f"{zone}\x1f{category}" for zone, category in paths]
        return encode(departments), encode(categories)


def encode(labels: Sequence[str]) -> Int64Array:
    """Return the position of each label among the distinct ones, ascending."""
    return np.unique(np.array(labels, str), return_inverse=True)[1].astype(np.int64)


def sum_by_group(values: Float32Array, codes: Int64Array) -> Float32Array:
    """Return for each series the sum of `values` over its group."""
    sums = np.bincount(codes, weights=values)
    return np.asarray(sums[codes], np.float32)


def rolling_origins(
    n_weeks: int, *, horizon: int, step: int, count: int, skip_last: int, earliest: int
) -> Sequence[int]:
    """Return origins `step` weeks apart, oldest first; each has `horizon` weeks after it.

    An origin is the number of weeks known before the first one that is forecast. The weeks after
    the last origin end `skip_last` weeks before the data. There are fewer than `count` origins
    where the first would be before `earliest`.

    >>> rolling_origins(53, horizon=4, step=4, count=3, skip_last=1, earliest=10)
    [40, 44, 48]
    """
    last = n_weeks - skip_last - horizon
    origins = [last - step * steps_back for steps_back in reversed(range(count))]
    return [origin for origin in origins if origin >= earliest]
