"""What-if of a promotion: units, revenue and profit of its items, and the losses of their families.

A promotion is evaluated by the mean price that buyers pay under it; units follow the item's price
response to it, and the lift of what supports it (`support_lift`). Everybody gets the same terms: a
coupon is a public one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

import numpy as np

from features.contracts.arrays import Float64Array
from features.contracts.errors import BadInput
from features.contracts.pricing import Band, Effect, PricingItem
from models.pricing.optimise.objective import (
    ItemColumns,
    compare_with_current,
    predict_effects,
)

MAX_PRICES = 100  # of one item, in one simulation
MAX_ITEMS = 1_000  # of one promotion
_WEEK = timedelta(weeks=1)


class Mechanic(StrEnum):
    """How a promotion lowers what is paid."""

    PERCENT_OFF = "percent_off"
    PRICE_OFF = "price_off"
    BUNDLE = "bundle"  # one of each item for one price
    SPEND_SAVE = "spend_save"  # whoever spends x on the items saves y
    COUPON = "coupon"  # a share of the buyers hands in a public coupon


_NEEDS = {
    Mechanic.PERCENT_OFF: ("percent",),
    Mechanic.PRICE_OFF: ("amount_minor",),
    Mechanic.BUNDLE: ("amount_minor", "take_up"),
    Mechanic.SPEND_SAVE: ("amount_minor", "threshold_minor", "mean_basket_minor"),
    Mechanic.COUPON: ("amount_minor", "take_up"),
}


@dataclass(frozen=True)
class Campaign:
    """A promotion of some items in one zone from `starts_at` until `ends_at`.

    Raises BadInput where a value that the mechanic needs is missing or out of range.

    percent             percent_off: the share taken off
    amount_minor        taken off (price_off, spend_save, coupon), or the price of a bundle
    threshold_minor     spend_save: what must be spent
    mean_basket_minor   spend_save: mean spend on the items of an order that holds any of them
    repeats             spend_save: the saving is given once for every multiple of the threshold
    take_up             share of the units that are bought in a bundle, or with the coupon
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
    repeats: bool = False
    take_up: float | None = None
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
        for name in ("percent", "take_up", "switching", "reach"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise BadInput(f"{name} is a share, 0 to 1", where="promotion")
        for name in ("amount_minor", "threshold_minor", "mean_basket_minor"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise BadInput(f"{name.removesuffix('_minor')} is above 0", where="promotion")
        if len(set(self.support)) < len(self.support):
            raise BadInput("name each kind of support once", where="support")

    @property
    def weeks(self) -> float:
        """How many weeks it runs."""
        return (self.ends_at - self.starts_at) / _WEEK


@dataclass(frozen=True)
class PromotedItem:
    """One item: what is paid on average, and the effect against not promoting it.

    price_minor     mean price paid
    expected        over the promotion
    against_none    less what the item would do without it
    cannibalised    what its family loses to it; profit and revenue below 0
    known           whether the item's price response is known; else the price adds no units
    lift            what the support multiplies units by
    """

    item_id: str
    current_price_minor: int
    price_minor: int
    expected: Effect
    against_none: Effect
    cannibalised: Effect
    known: bool
    lift: float = 1.0


@dataclass(frozen=True)
class WhatIf:
    """A promotion's items and their sums.

    `net` is the effect against no promotion, with what the families lose.
    """

    campaign: Campaign
    items: tuple[PromotedItem, ...]
    expected: Effect
    against_none: Effect
    cannibalised: Effect
    net: Effect


def evaluate_campaign(
    campaign: Campaign,
    items: Sequence[PricingItem],
    families: Sequence[PricingItem],
    horizon_weeks: int,
    lift: Float64Array | None = None,
) -> WhatIf:
    """Return the effect of a promotion of `items`.

    `families` are the other items of their families; forecasts of all cover `horizon_weeks` and are
    taken as even over the weeks. `lift` (n,) is what the campaign's support adds to log units, none
    without it. Sums of quantiles are quantiles of the sum only when all move together: the
    intervals are wide ones.
    """
    if not items:
        raise BadInput("a promotion needs items with a price and a forecast", where="item_ids")
    paid = np.maximum(np.round(compute_paid_prices(campaign, items)), 1.0)
    share_of_horizon = campaign.weeks / horizon_weeks
    columns = ItemColumns.from_items(items)
    indices = np.arange(len(items))
    zeros = np.zeros(len(items))
    own = replace(  # what the families lose is reported apart
        columns,
        units=columns.units * campaign.weeks / horizon_weeks,
        cross_units=zeros,
        cross_revenue=zeros,
        cross_profit=zeros,
    )
    lift = zeros if lift is None else lift
    expected = predict_effects(replace(own, units=own.units * np.exp(lift)), indices, paid)
    against_none = compare_with_current(own, indices, paid, lift)
    by_price = compare_with_current(own, indices, paid)
    members_of = _group_by_family(families)
    promoted = []
    for n, (item, price) in enumerate(zip(items, paid.tolist(), strict=True)):
        family = _Family.from_items(members_of.get(item.family_id or "", ()), share_of_horizon)
        gained = against_none[n].units
        by_cross_effects = _predict_family_loss(item, price, share_of_horizon)
        if by_cross_effects is None:
            lost = family.estimate_loss(gained, campaign.switching)
        else:
            by_support = _subtract_bands(gained, by_price[n].units)
            lost = _sum_effects(
                [by_cross_effects, family.estimate_loss(by_support, campaign.switching)]
            )
        promoted.append(
            PromotedItem(
                item_id=item.item_id,
                current_price_minor=item.current_price_minor,
                price_minor=int(price),
                expected=expected[n],
                against_none=against_none[n],
                cannibalised=lost,
                known=not math.isnan(item.elasticity),
                lift=math.exp(lift[n]),
            )
        )
    return _sum_up(campaign, promoted)


def _sum_up(campaign: Campaign, promoted: Sequence[PromotedItem]) -> WhatIf:
    """Return the items with the sums of their effects."""
    against_none = _sum_effects([item.against_none for item in promoted])
    cannibalised = _sum_effects([item.cannibalised for item in promoted])
    return WhatIf(
        campaign=campaign,
        items=tuple(promoted),
        expected=_sum_effects([item.expected for item in promoted]),
        against_none=against_none,
        cannibalised=cannibalised,
        net=_sum_effects([against_none, cannibalised]),
    )


def compute_paid_prices(campaign: Campaign, items: Sequence[PricingItem]) -> Float64Array:
    """Return the mean price paid for each item under the campaign, minor units (n,).

    Spend-and-save: spend on the items is taken as exponential around its mean m, so that a share
    exp(-x / m) of the orders reaches x. Nobody is taken to buy more in order to reach it.
    """
    prices = np.array([item.current_price_minor for item in items], np.float64)
    amount, take_up = float(campaign.amount_minor or 0), campaign.take_up or 0.0
    if campaign.mechanic is Mechanic.PERCENT_OFF:
        return np.asarray(prices * (1 - (campaign.percent or 0.0)))
    if campaign.mechanic is Mechanic.PRICE_OFF:
        return prices - np.minimum(amount, prices)
    if campaign.mechanic is Mechanic.COUPON:
        return prices - take_up * np.minimum(amount, prices)
    if campaign.mechanic is Mechanic.BUNDLE:
        share_off = max(1 - amount / float(prices.sum()), 0.0)
        return np.asarray(prices * (1 - take_up * share_off))
    mean = float(campaign.mean_basket_minor or 1)
    share_reaching = math.exp(-float(campaign.threshold_minor or 0) / mean)
    n_savings = share_reaching / (1 - share_reaching) if campaign.repeats else share_reaching
    return np.asarray(prices * (1 - min(amount * n_savings / mean, 1.0)))


def _group_by_family(items: Sequence[PricingItem]) -> dict[str, list[PricingItem]]:
    """Return the items of each family; those without a family are left out."""
    members_of: dict[str, list[PricingItem]] = {}
    for item in items:
        if item.family_id:
            members_of.setdefault(item.family_id, []).append(item)
    return members_of


def _predict_family_loss(item: PricingItem, price: float, share_of_horizon: float) -> Effect | None:
    """Return what the family loses to the price by the model's cross effects; None without any."""
    if not item.cross_units:
        return None
    move = math.log(price / item.current_price_minor) * share_of_horizon
    gains = (item.cross_units, item.cross_revenue_minor, item.cross_profit_minor)
    return Effect(*(Band(gain * move, gain * move, gain * move) for gain in gains))


@dataclass(frozen=True)
class _Family:
    """The other items of a family (n,): units over the campaign, net price and net margin."""

    units: Float64Array
    net_price: Float64Array
    margin: Float64Array

    @classmethod
    def from_items(cls, items: Sequence[PricingItem], share_of_horizon: float) -> _Family:
        """Forecasts of `items` cover the horizon, of which the campaign is a share."""
        net_price = np.array([item.current_price_minor / item.tax_divisor for item in items])
        return cls(
            units=np.array([item.units_mean * share_of_horizon for item in items]),
            net_price=net_price,
            margin=net_price - np.array([item.unit_cost_minor for item in items]),
        )

    def estimate_loss(self, gained: Band, switching: float) -> Effect:
        """Return what the family loses to an item that gains units.

        The `switching` share of them, at most all that the family sells.
        """
        total = float(self.units.sum())
        if total <= 0:
            zero = Band(0.0, 0.0, 0.0)
            return Effect(zero, zero, zero)
        weights = self.units / total
        lost = [
            -min(max(units, 0.0) * switching, total)
            for units in (gained.p10, gained.p50, gained.p90)
        ]
        bands = []
        for per_unit in (np.ones(len(self.units)), self.net_price, self.margin):
            low, middle, high = (units * float(weights @ per_unit) for units in lost)
            bands.append(Band(min(low, high), middle, max(low, high)))
        return Effect(*bands)


def _subtract_bands(band: Band, other: Band) -> Band:
    return Band(band.p10 - other.p10, band.p50 - other.p50, band.p90 - other.p90)


def _sum_effects(effects: Sequence[Effect]) -> Effect:
    return Effect(
        units=_sum_bands([effect.units for effect in effects]),
        revenue=_sum_bands([effect.revenue for effect in effects]),
        profit=_sum_bands([effect.profit for effect in effects]),
    )


def _sum_bands(bands: Sequence[Band]) -> Band:
    return Band(
        p10=sum(band.p10 for band in bands),
        p50=sum(band.p50 for band in bands),
        p90=sum(band.p90 for band in bands),
    )


@dataclass(frozen=True)
class PromotionRun:
    """A planned promotion of one item."""

    name: str
    item_id: str
    starts_at: datetime
    ends_at: datetime | None


@dataclass(frozen=True)
class CampaignConflict:
    """Two promotions that affect the same items, and the time in which both run."""

    item_id: str
    other: str
    other_item_id: str
    starts_at: datetime
    ends_at: datetime
    why: str


def find_conflicts(
    campaign: Campaign,
    item_ids: Sequence[str],
    runs: Sequence[PromotionRun],
    family_of: Mapping[str, str | None],
) -> list[CampaignConflict]:
    """Return promotions that run at the same time on the same item or one of its family."""
    conflicts = []
    for item_id in item_ids:
        family = family_of.get(item_id)
        for run in runs:
            starts_at = max(run.starts_at, campaign.starts_at)
            ends_at = min(run.ends_at or campaign.ends_at, campaign.ends_at)
            if starts_at >= ends_at or run.name == campaign.name:
                continue
            if run.item_id == item_id:
                why = "both lower the price of this item"
            elif family and family_of.get(run.item_id) == family and run.item_id not in item_ids:
                why = "two items of one family take buyers from each other"
            else:
                continue
            conflicts.append(
                CampaignConflict(
                    item_id=item_id,
                    other=run.name,
                    other_item_id=run.item_id,
                    starts_at=starts_at,
                    ends_at=ends_at,
                    why=why,
                )
            )
    return sorted(
        conflicts,
        key=lambda conflict: (
            conflict.item_id,
            conflict.starts_at,
            conflict.other,
            conflict.other_item_id,
        ),
    )
