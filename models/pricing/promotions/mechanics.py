"""The mechanics of promotions: what a campaign needs, and what is paid under it.

Everybody gets the same terms: a coupon is a public one, whoever gets it may use it.

n   items
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import numpy as np

from features.contracts.arrays import Float64Array
from features.contracts.errors import BadInput
from models.pricing.promotions.spend_threshold import PRIOR_STRETCH, SpendOffer, SpendOrders

_WEEK = timedelta(weeks=1)


class Mechanic(StrEnum):
    """How a promotion lowers what is paid."""

    PERCENT_OFF = "percent_off"
    PRICE_OFF = "price_off"
    BUNDLE = "bundle"  # one of each item for one price
    SPEND_SAVE = "spend_save"  # whoever spends x on the items saves y
    COUPON = "coupon"  # whoever hands in a public coupon pays less
    BUY_GET = "buy_get"  # of every so many units some are free: buy one get one


# What lowers the price of the item itself for everybody: an announced reduction, by law.
REDUCTIONS = (Mechanic.PERCENT_OFF, Mechanic.PRICE_OFF, Mechanic.COUPON)
_NEEDS = {
    Mechanic.PERCENT_OFF: ("percent",),
    Mechanic.PRICE_OFF: ("amount_minor",),
    Mechanic.BUNDLE: ("amount_minor", "take_up"),
    Mechanic.SPEND_SAVE: ("amount_minor", "threshold_minor", "mean_basket_minor"),
    Mechanic.COUPON: ("take_up",),
    Mechanic.BUY_GET: ("take_up",),
}
_SHARES = ("percent", "take_up", "switching", "reach", "coupon_reach")
_AMOUNTS = ("amount_minor", "threshold_minor", "mean_basket_minor", "buy", "free")
DEFAULT_LOG_SD = 0.8  # of the spend of orders, where no orders are known


@dataclass(frozen=True)
class Campaign:
    """A promotion of some items in one zone from `starts_at` until `ends_at`.

    Raises BadInput where a value that the mechanic needs is missing or out of range.

    percent             percent_off, coupon: the share taken off
    amount_minor        taken off (price_off, spend_save, coupon), or the price of a bundle
    threshold_minor     spend_save: what must be spent
    mean_basket_minor   spend_save: mean spend on the items of an order that holds any of them
    basket_log_sd       spend_save: standard deviation of the log of that spend
    stretch, stretch_log_error   spend_save: `PRIOR_STRETCH` and its error, or what was learnt
    repeats             spend_save: the saving is given once for every multiple of the threshold
    take_up             share of the units that are bought in a bundle, in the buy-get offer, or
                        with the coupon by those who got one
    take_up_error       its standard error
    coupon_reach        coupon: share of the demand whose buyers get the coupon
    buy, free           buy_get: of every `buy` + `free` units, `free` cost nothing
    switching           share of the additional units that buyers would else have bought within the
                        family; counts where the model has no effect of the item's price on its
                        family, and for units that a support brings
    support             kinds of promotion that come with it beside its price, as display or mailer
    reach               share of shops or visitors that the support reaches
    """

    name: str
    zone: str
    starts_at: datetime
    ends_at: datetime
    mechanic: Mechanic
    percent: float | None = None
    amount_minor: int | None = None
    threshold_minor: int | None = None
    mean_basket_minor: int | None = None
    basket_log_sd: float = DEFAULT_LOG_SD
    stretch: float = PRIOR_STRETCH.value
    stretch_log_error: float = PRIOR_STRETCH.log_error
    repeats: bool = False
    take_up: float | None = None
    take_up_error: float = 0.0
    coupon_reach: float = 1.0
    buy: int = 1
    free: int = 1
    switching: float = 0.25
    support: tuple[str, ...] = ()
    reach: float = 1.0

    def __post_init__(self) -> None:
        if self.ends_at <= self.starts_at:
            raise BadInput("a promotion ends after it starts", where="ends_at")
        for name in _NEEDS[self.mechanic]:
            if getattr(self, name) is None:
                raise BadInput(
                    f"{self.mechanic} needs {name.removesuffix('_minor')}", where="promotion"
                )
        if self.mechanic is Mechanic.COUPON and (self.percent is None) == (
            self.amount_minor is None
        ):
            raise BadInput("coupon needs amount or percent, one of the two", where="promotion")
        for name in _SHARES:
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise BadInput(f"{name} is a share, 0 to 1", where="promotion")
        for name in _AMOUNTS:
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise BadInput(f"{name.removesuffix('_minor')} is above 0", where="promotion")
        if len(set(self.support)) < len(self.support):
            raise BadInput("name each kind of support once", where="support")

    @property
    def weeks(self) -> float:
        """How many weeks it runs."""
        return (self.ends_at - self.starts_at) / _WEEK

    @property
    def is_reduction(self) -> bool:
        """Whether the law counts it as an announced reduction of its items."""
        return self.mechanic in REDUCTIONS

    @property
    def demand_share(self) -> float:
        """Share of the demand to which its terms apply."""
        return self.coupon_reach if self.mechanic is Mechanic.COUPON else 1.0

    @property
    def spend_offer(self) -> SpendOffer:
        """What a spend-and-save campaign asks and gives."""
        return SpendOffer(
            float(self.threshold_minor or 1), float(self.amount_minor or 0), self.repeats
        )

    @property
    def spend_orders(self) -> SpendOrders:
        """The spend of the orders of a spend-and-save campaign without it."""
        return SpendOrders.from_mean(float(self.mean_basket_minor or 1), self.basket_log_sd)


def compute_reduced_prices(campaign: Campaign, prices: Float64Array) -> Float64Array:
    """Return the price that a reduction announces for each item (n,), minor units.

    What a buyer pays who uses it: with a coupon, less than the mean price paid.
    """
    if campaign.percent is not None:
        return np.asarray(prices * (1 - campaign.percent))
    return prices - np.minimum(float(campaign.amount_minor or 0), prices)


def compute_paid_prices(
    campaign: Campaign, prices: Float64Array, take_up: float | None = None
) -> Float64Array:
    """Return the mean price paid per unit of each item (n,) by the demand it applies to.

    `prices` (n,) minor units; `take_up` in place of the campaign's. Spend-and-save: what those pay
    who reach the threshold anyway; what others spend more to reach it comes from `spend_threshold`.

    >>> from datetime import UTC
    >>> day = datetime(2024, 1, 1, tzinfo=UTC)
    >>> week = ("buy 2 get 1", "default", day, day + timedelta(weeks=1), Mechanic.BUY_GET)
    >>> offer = Campaign(*week, buy=2, free=1, take_up=0.6)
    >>> compute_paid_prices(offer, np.array([300.0])).tolist()  # a third off for six in ten
    [240.0]
    """
    take_up = (campaign.take_up or 0.0) if take_up is None else take_up
    if campaign.mechanic in (Mechanic.PERCENT_OFF, Mechanic.PRICE_OFF):
        return compute_reduced_prices(campaign, prices)
    if campaign.mechanic is Mechanic.COUPON:
        return np.asarray(prices - take_up * (prices - compute_reduced_prices(campaign, prices)))
    if campaign.mechanic is Mechanic.BUNDLE:
        share_off = max(1 - float(campaign.amount_minor or 0) / float(prices.sum()), 0.0)
        return np.asarray(prices * (1 - take_up * share_off))
    if campaign.mechanic is Mechanic.BUY_GET:
        return np.asarray(prices * (1 - take_up * campaign.free / (campaign.buy + campaign.free)))
    offer, orders = campaign.spend_offer, campaign.spend_orders
    saved = offer.saving * orders.count_thresholds(offer)
    return np.asarray(prices * (1 - min(saved / orders.mean, 1.0)))
