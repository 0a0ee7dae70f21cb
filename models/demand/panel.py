"""The panel a demand model learns from: series × weeks, as arrays.

N series (item × zone), T weeks of which the first `n_known` are over, K kinds of promotion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property

import numpy as np
import numpy.typing as npt

from features.contracts.arrays import Float32Array, Float64Array, Int64Array, ObjectArray
from features.contracts.categories import prefix

PRICE_MEMORY = 8  # weeks whose planned prices are what an item usually costs


@dataclass(frozen=True)
class DemandPanel:
    """Weekly units and plans. Nothing in it was read off a sale but the units themselves.

    units N × n_known; reach K × N × T (share of shops or visitors); depth N × T, offer_price and
    list_price N × T (NaN where nothing is known, None when no series has any); item_ids, zones,
    categories, brands N; week_starts T. signals, signal_names × signal_zones × T, are what is known
    of whole weeks (holidays, weather, events). in_stock, N × n_known, is the share of a week in
    which something was on hand (None: no stock is known). listed_week N is the place of the week in
    which the catalogue says that an item comes, -inf where it does not say.
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
    brands: ObjectArray = field(default_factory=lambda: np.zeros(0, object))
    listed_week: Float64Array = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        if len(self.brands) != len(self.item_ids):
            object.__setattr__(self, "brands", np.full(len(self.item_ids), "", object))
        if len(self.listed_week) != len(self.item_ids):
            object.__setattr__(self, "listed_week", np.full(len(self.item_ids), -np.inf))

    @property
    def n_series(self) -> int:
        return len(self.item_ids)

    def known_until(self, n_known: int) -> DemandPanel:
        """The panel as it stood after `n_known` weeks: later units are gone, plans stay."""
        in_stock = None if self.in_stock is None else self.in_stock[:, :n_known]
        return replace(self, n_known=n_known, units=self.units[:, :n_known], in_stock=in_stock)

    def divided_by(self, factors: Float32Array) -> DemandPanel:
        """The panel with the units of each week over the N × T `factors`."""
        return replace(self, units=self.units / factors[:, : self.n_known])

    def assumed_prices(self, n_steps: int) -> Float64Array:
        """N × n_steps: the offer price, minor units, that a forecast of the weeks after the known
        ones assumes.

        It is the planned price where one stands in at least half of the last eight weeks: then the
        series' level and the model's answer to a planned price come from weeks with known prices.
        NaN elsewhere: no plan says what the item cost while it sold, and from a price decided since
        then the model has learnt nothing.
        """
        assumed = np.full((self.n_series, n_steps), np.nan)
        if self.offer_price is None:
            return assumed
        recent = np.isfinite(
            self.offer_price[:, max(self.n_known - PRICE_MEMORY, 0) : self.n_known]
        )
        learnt = 2 * recent.sum(axis=1) >= max(recent.shape[1], 1)
        assumed[learnt] = self.offer_price[learnt, self.n_known : self.n_known + n_steps]
        return assumed

    def take(self, series: npt.NDArray[np.integer]) -> DemandPanel:
        """The panel of some series."""

        def some(array: Float32Array | None) -> Float32Array | None:
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
            depth=some(self.depth),
            list_price=some(self.list_price),
            offer_price=some(self.offer_price),
            in_stock=some(self.in_stock),
        )

    @cached_property
    def groups(self) -> tuple[Int64Array, Int64Array]:
        """Codes of two levels per zone: the first level of the category, and the whole category."""
        tops = [prefix(category, 1) for category in self.categories]
        keys = (
            [f"{zone}\x1f{top}" for zone, top in zip(self.zones, tops, strict=True)],
            [
                f"{zone}\x1f{category}"
                for zone, category in zip(self.zones, self.categories, strict=True)
            ],
        )
        first, second = (
            np.unique(np.array(each, str), return_inverse=True)[1].astype(np.int64) for each in keys
        )
        return first, second


def group_sums(values: Float32Array, codes: Int64Array) -> Float32Array:
    """Per series, the sum of `values` over its group."""
    sums = np.bincount(codes, weights=values)
    return np.asarray(sums[codes], np.float32)


def rolling_origins(
    n_weeks: int, *, horizon: int, step: int, count: int, skip_last: int, earliest: int
) -> Sequence[int]:
    """Origins (weeks known before the first one foretold), oldest first, `step` apart, each with
    `horizon` weeks after.

    The last ends `skip_last` weeks before the data; fewer than `count` where the first would lie
    before `earliest`.

    >>> rolling_origins(53, horizon=4, step=4, count=3, skip_last=1, earliest=10)
    [40, 44, 48]
    """
    last = n_weeks - skip_last - horizon
    return [
        origin for origin in (last - step * k for k in reversed(range(count))) if origin >= earliest
    ]
