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
    log_list    (S, W) of the regular price; NaN where unknown
    log_ratio   (S, W) of the offer price over the regular price of the same week, 0 or below; NaN
                where unknown
    announced   (S, W) share of the week in which the price was announced as reduced, 0..1
    listed      (S,) prices come from a price list, so weeks without a sale have a price as well
    kinds       K names
    reach       (K, S, W) share of shops or visitors that a promotion reached, 0..1
    log_cost    (S, W), NaN where the cost is unknown; None without any costs
    margin      (S,) usual margin of the regular price, a share of the net price; NaN where the cost
                is unknown, None without any costs
    guessed_list   (S,) the list price is guessed from the weeks around; None where no series' is
    brand       (S,) "" for none; None without any brands
    """

    item_ids: ObjectArray
    zones: ObjectArray
    category: ObjectArray
    family: ObjectArray
    units: Float64Array
    log_price: Float64Array
    log_list: Float64Array
    log_ratio: Float64Array
    announced: Float64Array
    listed: BoolArray
    kinds: tuple[str, ...]
    reach: Float64Array
    log_cost: Float64Array | None = None
    margin: Float64Array | None = None
    guessed_list: BoolArray | None = None
    brand: ObjectArray | None = None

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
            log_list=self.log_list[:, :n_weeks],
            log_ratio=self.log_ratio[:, :n_weeks],
            announced=self.announced[:, :n_weeks],
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
            log_list=self.log_list[mask],
            log_ratio=self.log_ratio[mask],
            announced=self.announced[mask],
            listed=self.listed[mask],
            reach=self.reach[:, mask],
            log_cost=None if self.log_cost is None else self.log_cost[mask],
            margin=None if self.margin is None else self.margin[mask],
            guessed_list=None if self.guessed_list is None else self.guessed_list[mask],
            brand=None if self.brand is None else self.brand[mask],
        )


_USUAL_WEEKS = 4  # the usual price is the median of so many weeks before and after
_MIN_REDUCTION = 0.01  # a smaller distance from the usual price is no reduction


def infer_list_prices(log_price: Float64Array) -> Float64Array:
    """Return log list prices (S, W) where none are recorded: the usual price of the weeks around.

    The usual price, or the price itself where that is higher or hardly lower; NaN where the price
    is unknown.

    >>> prices = np.log([[2.0, 2.0, 1.0, 2.0, 2.5]])
    >>> np.exp(infer_list_prices(prices)).round(4).tolist()
    [[2.0, 2.0, 2.0, 2.0, 2.5]]
    """
    usual_prices = find_usual_prices(log_price)
    is_reduced = log_price < usual_prices - _MIN_REDUCTION
    return np.where(is_reduced, usual_prices, log_price)


def find_usual_prices(log_price: Float64Array) -> Float64Array:
    """Return the median of the known prices of the weeks around (S, W); NaN where there are none.

    >>> np.exp(find_usual_prices(np.log([[2.0, 2.0, 1.0, 2.0, 2.5]]))).round(4).tolist()
    [[2.0, 2.0, 2.0, 2.0, 2.0]]
    """
    usual_prices = np.empty(log_price.shape)
    # In blocks of series, since the windows need nine times the memory of the prices.
    for rows in np.array_split(np.arange(len(log_price)), len(log_price) // 20_000 + 1):
        padded = np.pad(
            log_price[rows], ((0, 0), (_USUAL_WEEKS, _USUAL_WEEKS)), constant_values=np.nan
        )
        windows = np.sort(
            np.lib.stride_tricks.sliding_window_view(padded, 2 * _USUAL_WEEKS + 1, axis=1), axis=2
        )
        counts = np.isfinite(windows).sum(2)
        middle = np.maximum(counts // 2, 0)[:, :, None]
        usual_prices[rows] = np.take_along_axis(windows, middle, axis=2)[:, :, 0]
    return usual_prices


def hold_prices(panel: PricePanel) -> PricePanel:
    """Return the panel as if no price had ever changed: its responses are those of the prior."""

    def hold(values: Float64Array) -> Float64Array:
        known = np.isfinite(values)
        mean = np.where(known, values, 0.0).sum(1) / np.maximum(known.sum(1), 1)
        return np.where(known, mean[:, None], np.nan)

    return replace(
        panel,
        log_price=hold(panel.log_price),
        log_list=hold(panel.log_list),
        log_ratio=np.where(np.isfinite(panel.log_ratio), 0.0, np.nan),
        announced=np.zeros(panel.announced.shape),
    )
