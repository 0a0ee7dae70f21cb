"""What a promotion would do: units, revenue and profit of its items, and what it takes from their
families.

A promotion is judged by the mean price that it makes buyers pay; units follow the item's price
response to it, and the lift of what supports it (`support`). Everybody gets the same terms: a
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
from models.pricing.optimise.objective import Columns, differences, effects

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

    percent             percent_off: the share taken off
    amount_minor        taken off (price_off, spend_save, coupon), or the price of a bundle
    threshold_minor     spend_save: what must be spent
    mean_basket_minor   spend_save: mean spend on the items of an order that holds any of them
    repeats             spend_save: the saving is given for every threshold reached, not once
    take_up             share of the units that are bought in a bundle, or with the coupon
    switching           share of the additional units that buyers would else have bought within the
                        family; counts where
                        no effect of the item's price on its family was learnt, and for units that a
                        support brings
    support             kinds of promotion that come with it beside its price, as display or mailer
    reach               share of shops or visitors that the support meets
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
        """How long it runs."""
        return (self.ends_at - self.starts_at) / _WEEK


@dataclass(frozen=True)
class PromotedItem:
    """One item: what is paid on average, and the effect against not promoting it.

    price_minor     mean price paid
    expected        over the promotion
    against_none    less what the item would do without it
    cannibalised    what its family loses to it; profit and revenue below 0
    known           whether the item's price response is; else the price adds no units
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
    """A promotion's items and their sums: `net` is against no promotion, with what the families
    lose."""

    campaign: Campaign
    items: tuple[PromotedItem, ...]
    expected: Effect
    against_none: Effect
    cannibalised: Effect
    net: Effect


def what_if(
    campaign: Campaign,
    items: Sequence[PricingItem],
    families: Sequence[PricingItem],
    horizon_weeks: int,
    lift: Float64Array | None = None,
) -> WhatIf:
    """The effect of a promotion of `items`.

    `families` are the other items of their families; forecasts of all cover `horizon_weeks` and are
    taken as even over the weeks. `lift` (n,) is what the campaign's support adds to log units, none
    without it. Sums of quantiles are quantiles of the sum only when all move together: the
    intervals are wide ones.
    """
    if not items:
        raise BadInput("a promotion needs items with a price and a forecast", where="item_ids")
    paid = np.maximum(np.round(paid_prices(campaign, items)), 1.0)
    columns = Columns.of(items)
    columns = replace(columns, units=columns.units * campaign.weeks / horizon_weeks)
    every = np.arange(len(items))
    nobody = np.zeros(len(items))  # what the families lose stands apart
    own = replace(columns, cross_units=nobody, cross_revenue=nobody, cross_profit=nobody)
    lift = nobody if lift is None else lift
    expected = effects(replace(own, units=own.units * np.exp(lift)), every, paid)
    against, by_price = differences(own, every, paid, lift), differences(own, every, paid)
    neighbours: dict[str, list[PricingItem]] = {}
    for other in families:
        neighbours.setdefault(other.family_id or "", []).append(other)
    promoted = []
    for n, (item, price) in enumerate(zip(items, paid.tolist(), strict=True)):
        near = neighbours.get(item.family_id or "", []) if item.family_id else []
        gained = against[n].units
        if learnt := _learnt(item, price, campaign.weeks / horizon_weeks):
            by_support = _cannibalised(
                _less(gained, by_price[n].units), near, campaign, horizon_weeks
            )
            lost = _total([learnt, by_support])
        else:
            lost = _cannibalised(gained, near, campaign, horizon_weeks)
        promoted.append(
            PromotedItem(
                item_id=item.item_id,
                current_price_minor=item.current_price_minor,
                price_minor=int(price),
                expected=expected[n],
                against_none=against[n],
                cannibalised=lost,
                known=not math.isnan(item.elasticity),
                lift=math.exp(lift[n]),
            )
        )
    total = _total([each.expected for each in promoted])
    more, less = (
        _total([each.against_none for each in promoted]),
        _total([each.cannibalised for each in promoted]),
    )
    return WhatIf(campaign, tuple(promoted), total, more, less, _total([more, less]))


def paid_prices(campaign: Campaign, items: Sequence[PricingItem]) -> Float64Array:
    """The mean price paid for each item under the campaign, minor units (n,).

    Spend-and-save: spend on the items is taken as exponential around its mean m, so that a share
    exp(-x / m) of the orders reaches x. Nobody is taken to buy more in order to reach it.
    """
    prices = np.array([each.current_price_minor for each in items], np.float64)
    amount, take_up = float(campaign.amount_minor or 0), campaign.take_up or 0.0
    if campaign.mechanic is Mechanic.PERCENT_OFF:
        return np.asarray(prices * (1 - (campaign.percent or 0.0)))
    if campaign.mechanic is Mechanic.PRICE_OFF:
        return prices - np.minimum(amount, prices)
    if campaign.mechanic is Mechanic.COUPON:
        return prices - take_up * np.minimum(amount, prices)
    if campaign.mechanic is Mechanic.BUNDLE:
        off = max(1 - amount / float(prices.sum()), 0.0)
        return np.asarray(prices * (1 - take_up * off))
    mean = float(campaign.mean_basket_minor or 1)
    reached = math.exp(-float(campaign.threshold_minor or 0) / mean)
    times = reached / (1 - reached) if campaign.repeats else reached
    return np.asarray(prices * (1 - min(amount * times / mean, 1.0)))


def _learnt(item: PricingItem, price: float, share: float) -> Effect | None:
    """What the family loses to the price by the cross effects that were learnt; None where none
    were."""
    if not item.cross_units:
        return None
    move = math.log(price / item.current_price_minor) * share
    gains = (item.cross_units, item.cross_revenue_minor, item.cross_profit_minor)
    return Effect(*(Band(gain * move, gain * move, gain * move) for gain in gains))


def _cannibalised(
    gained: Band, near: Sequence[PricingItem], campaign: Campaign, horizon_weeks: int
) -> Effect:
    """What the neighbours lose to an item that gains units: the switching share of them, at most
    all that they sell."""
    share = campaign.weeks / horizon_weeks
    sold = np.array([each.units_mean * share for each in near])
    total = float(sold.sum())
    nothing = Band(0.0, 0.0, 0.0)
    if total <= 0:
        return Effect(nothing, nothing, nothing)
    net = np.array([each.current_price_minor / each.tax_divisor for each in near])
    margin = net - np.array([each.unit_cost_minor for each in near])
    weights = sold / total
    lost = [
        -min(max(units, 0.0) * campaign.switching, total)
        for units in (gained.p10, gained.p50, gained.p90)
    ]
    values = [
        [units * float(weights @ each) for units in lost]
        for each in (np.ones(len(near)), net, margin)
    ]
    return Effect(*(Band(min(row[0], row[2]), row[1], max(row[0], row[2])) for row in values))


def _less(band: Band, other: Band) -> Band:
    return Band(band.p10 - other.p10, band.p50 - other.p50, band.p90 - other.p90)


def _total(effects_: Sequence[Effect]) -> Effect:
    bands = []
    for name in ("units", "revenue", "profit"):
        each = [getattr(effect, name) for effect in effects_]
        bands.append(
            Band(sum(b.p10 for b in each), sum(b.p50 for b in each), sum(b.p90 for b in each))
        )
    return Effect(*bands)


@dataclass(frozen=True)
class PromotionRun:
    """A promotion of one item that is planned already."""

    name: str
    item_id: str
    starts_at: datetime
    ends_at: datetime | None


@dataclass(frozen=True)
class CampaignConflict:
    """Two promotions that get in each other's way, and for how long."""

    item_id: str
    other: str
    other_item_id: str
    starts_at: datetime
    ends_at: datetime
    why: str


def conflicts(
    campaign: Campaign,
    item_ids: Sequence[str],
    runs: Sequence[PromotionRun],
    family_of: Mapping[str, str | None],
) -> list[CampaignConflict]:
    """Promotions that run at the same time on the same item, or on another item of its family."""
    found = []
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
            found.append(CampaignConflict(item_id, run.name, run.item_id, starts_at, ends_at, why))
    return sorted(
        found, key=lambda each: (each.item_id, each.starts_at, each.other, each.other_item_id)
    )
