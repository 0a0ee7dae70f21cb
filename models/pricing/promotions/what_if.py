"""What-if of a promotion: units, revenue and profit of its items, and the losses of their families.

All promoted items are evaluated together, in the same possible futures: what one takes from another
is counted once, and the weeks after lose what buyers stocked up.

n   promoted items; N: those and the others of their families, the promoted ones first
F   possible futures, the last of which is the middle
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np

from features.contracts.arrays import Float64Array
from features.contracts.errors import BadInput
from features.contracts.pricing import Band, Effect, PricingItem
from models.pricing.optimise.objective import ItemColumns
from models.pricing.promotions.family_switching import share_family_units
from models.pricing.promotions.future_money import Money, build_band
from models.pricing.promotions.mechanics import Campaign, Mechanic, compute_paid_prices
from models.pricing.promotions.promotion_response import PromotionResponse

MAX_PRICES = 100  # of one item, in one simulation
MAX_ITEMS = 1_000  # of one promotion
_N_POINTS = 9  # equally likely values of each source of error
_NORMAL = np.array([NormalDist().inv_cdf((k + 0.5) / _N_POINTS) for k in range(_N_POINTS)])


class NoForecast(BadInput):
    """None of the items of a promotion has a price and a forecast."""


@dataclass(frozen=True)
class PromotedItem:
    """One item: what is paid on average, and the effect against not promoting it.

    price_minor     mean price paid
    expected        over the promotion
    without         what the item would do without it
    against_none    the difference of the two
    lost_to_others  part of `against_none`: what the other promoted items take from it
    cannibalised    what the rest of its family loses to it; profit and revenue below 0
    after           what the week after loses, since buyers stocked up
    known           whether the item's price response is known; else the price adds no units
    lift            what the support multiplies units by
    """

    item_id: str
    current_price_minor: int
    price_minor: int
    expected: Effect
    without: Effect
    against_none: Effect
    lost_to_others: Effect
    cannibalised: Effect
    after: Effect
    known: bool
    lift: float = 1.0


@dataclass(frozen=True)
class ThresholdResult:
    """Orders under spend-and-save over the campaign; money in minor units, tax included.

    orders          that hold any of the items
    qualifying      of them, those that reach the threshold
    stretching      of these, those that spend more in order to reach it
    added           spend that is added to reach it
    saved           what is given away
    """

    orders: Band
    qualifying: Band
    stretching: Band
    added: Band
    saved: Band


@dataclass(frozen=True)
class WhatIf:
    """A promotion's items and their sums.

    `net` is the effect against no promotion, with what the families and the week after lose. Bands
    of sums are those of the sum in each possible future, in which all items err alike: wide ones.
    """

    campaign: Campaign
    items: tuple[PromotedItem, ...]
    expected: Effect
    without: Effect
    against_none: Effect
    cannibalised: Effect
    after: Effect
    net: Effect
    threshold: ThresholdResult | None = None
    redeemed: Band | None = None
    notes: tuple[str, ...] = ()


def evaluate_campaign(
    campaign: Campaign,
    items: Sequence[PricingItem],
    families: Sequence[PricingItem],
    horizon_weeks: int,
    response: PromotionResponse | None = None,
    lift: Float64Array | None = None,
) -> WhatIf:
    """Return the effect of a promotion of `items`.

    `families` are the other items of their families; forecasts of all cover `horizon_weeks` and are
    taken as even over the weeks. `response` is that of the items and then the others, in this
    order; the elasticities of the items without it. `lift` (n,) is what the campaign's support adds
    to log units, none without it.
    """
    if not items:
        raise NoForecast("a promotion needs items with a price and a forecast", where="item_ids")
    everything = [*items, *families]
    lift = np.zeros(len(items)) if lift is None else lift
    if response is None:
        response = PromotionResponse.from_items(everything)
    evaluation = _Evaluation(
        campaign, everything, len(items), horizon_weeks, response, np.asarray(lift)
    )
    return evaluation.summarise()


@dataclass(frozen=True)
class _Evaluation:
    """The arrays behind one what-if; see the module for the letters of shapes."""

    campaign: Campaign
    items: Sequence[PricingItem]
    n_promoted: int
    horizon_weeks: int
    response: PromotionResponse
    lift: Float64Array

    @cached_property
    def columns(self) -> ItemColumns:
        return ItemColumns.from_items(self.items)

    @cached_property
    def futures(self) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Errors of forecast, response and terms in each future (F,), in standard errors; last the
        middle, without any."""
        campaign = self.campaign
        uncertain_terms = campaign.take_up_error > 0 or campaign.mechanic is Mechanic.SPEND_SAVE
        terms = _NORMAL if uncertain_terms else np.zeros(1)
        axes = np.meshgrid(_NORMAL, _NORMAL, terms, indexing="ij")
        scale, slope, term = (np.append(axis.ravel(), 0.0) for axis in axes)
        return scale, slope, term

    @cached_property
    def base_units(self) -> Float64Array:
        """Units over the campaign without it (N, F)."""
        scale, _, _ = self.futures
        units = self.columns.units * self.campaign.weeks / self.horizon_weeks
        return np.asarray(units[:, None] * np.exp(self.columns.spread[:, None] * scale))

    @cached_property
    def threshold(self) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array] | None:
        """Per order in each future (F,): qualifying and stretching shares, spend added and
        saved."""
        if self.campaign.mechanic is not Mechanic.SPEND_SAVE:
            return None
        _, _, term = self.futures
        stretch = self.campaign.stretch * np.exp(self.campaign.stretch_log_error * term)
        values, index = np.unique(stretch, return_inverse=True)
        outcome = self.campaign.spend_orders.apply_offer(self.campaign.spend_offer, values)
        return (
            outcome.qualifying[index],
            outcome.stretching[index],
            outcome.added[index],
            outcome.saved[index],
        )

    @cached_property
    def response_prices(self) -> Float64Array:
        """Mean price to which demand responds, of the share that the terms apply to (N, F)."""
        campaign, n = self.campaign, self.n_promoted
        _, _, term = self.futures
        prices = self.columns.current
        take_ups = np.clip((campaign.take_up or 0.0) + campaign.take_up_error * term, 0, 1)
        values, index = np.unique(take_ups, return_inverse=True)
        table = np.tile(prices[:, None], (1, len(values)))
        for column, take_up in enumerate(values.tolist()):
            table[:n, column] = compute_paid_prices(campaign, prices[:n], take_up)
        if campaign.mechanic in (Mechanic.PERCENT_OFF, Mechanic.PRICE_OFF):
            table = np.round(table)  # a price that is announced is a whole one
        return np.asarray(np.maximum(table, 1.0)[:, index])

    @cached_property
    def log_moves(self) -> Float64Array:
        """Log of the price that demand responds to over the current one (N, F)."""
        return np.asarray(np.log(self.response_prices / self.columns.current[:, None]))

    @cached_property
    def own_log(self) -> Float64Array:
        """What price and announcement add to the log units of the share they apply to (N, F)."""
        _, slope_z, _ = self.futures
        response, moved = self.response, np.zeros((len(self.items), 1))
        moved[: self.n_promoted] = 1.0 if self.campaign.is_reduction else 0.0
        slopes = np.nan_to_num(response.slope)[:, None]
        slopes = slopes + np.nan_to_num(response.slope_error)[:, None] * slope_z
        # Both errors raise units in the same futures: a wide interval.
        steps = np.nan_to_num(response.step)[:, None]
        steps = steps - np.nan_to_num(response.step_error)[:, None] * slope_z
        return np.asarray(slopes * self.log_moves + steps * moved)

    @cached_property
    def own_factor(self) -> Float64Array:
        """What price, announcement and stocking up multiply the units by (N, F)."""
        share, weeks = self.campaign.demand_share, self.campaign.weeks
        mixed = 1 - share + share * np.exp(self.own_log)
        first = min(weeks, 1.0)
        return np.asarray(mixed * (first + (weeks - first) * self.dip_factor) / weeks)

    @cached_property
    def dip_factor(self) -> Float64Array:
        """What a week of the campaign multiplies the units of the week after it by (N, F)."""
        share, first = self.campaign.demand_share, min(self.campaign.weeks, 1.0)
        log_dip = -np.nan_to_num(self.response.dip)[:, None] * self.log_moves * share
        for kind in self.campaign.support:
            effect = self.response.kind_dips.get(kind)
            if effect is not None:
                promoted = np.arange(len(self.items)) < self.n_promoted
                log_dip += (np.nan_to_num(effect) * promoted * self.campaign.reach)[:, None]
        return np.asarray(np.exp(log_dip * first))

    @cached_property
    def lift_log(self) -> Float64Array:
        """What support and stretching to a threshold add to log units (N, F)."""
        scale, _, _ = self.futures
        log_units = np.zeros((len(self.items), len(scale)))
        log_units[: self.n_promoted] += self.lift[:, None]
        if self.threshold is not None:
            added = self.threshold[2]
            log_units[: self.n_promoted] += np.log1p(added / self.campaign.spend_orders.mean)
        return log_units

    @cached_property
    def family_log(self) -> Float64Array:
        """What the promotion of other items adds to log units by learnt effects (N, F)."""
        family = self.response.family
        log_units = np.zeros(self.log_moves.shape)
        if family is None:
            return log_units
        promoted = family.price_of < self.n_promoted
        units_of, price_of = family.units_of[promoted], family.price_of[promoted]
        moves = self.log_moves[price_of] * self.campaign.demand_share
        effects = family.price[promoted][:, None] * moves
        if self.campaign.is_reduction:
            effects += (family.announced[promoted] * self.campaign.demand_share)[:, None]
        for kind in self.campaign.support:
            if kind in family.kinds:
                effects += (family.kinds[kind][promoted] * self.campaign.reach)[:, None]
        np.add.at(log_units, units_of, effects)
        return log_units

    @cached_property
    def units_alone(self) -> Float64Array:
        """Units of each item if no other was promoted (N, F)."""
        return np.asarray(self.base_units * self.own_factor * np.exp(self.lift_log))

    @cached_property
    def units(self) -> Float64Array:
        """Units of each item under the campaign (N, F)."""
        learnt = np.exp(self.family_log)
        known_kinds = self.response.family is not None and all(
            kind in self.response.family.kinds for kind in self.campaign.support
        )
        units = self.units_alone * learnt
        if known_kinds and self.threshold is None:
            return np.asarray(units)
        # Where effects within the family are learnt, switching counts for the lift alone.
        without = self.base_units * learnt
        if self.response.family is not None:
            without = without * self.own_factor
        for members in self._list_families():
            units[members] = share_family_units(
                without[members], units[members], self.campaign.switching
            )
        return np.asarray(units)

    def _list_families(self) -> list[list[int]]:
        members_of: dict[str, list[int]] = {}
        for index, item in enumerate(self.items):
            if item.family_id:
                members_of.setdefault(item.family_id, []).append(index)
        return list(members_of.values())

    @cached_property
    def paid(self) -> Float64Array:
        """Mean price paid per unit (N, F)."""
        share, current = self.campaign.demand_share, self.columns.current[:, None]
        if self.threshold is not None:
            _, _, added, saved = self.threshold
            paid = np.tile(current, (1, len(added)))
            spend = self.campaign.spend_orders.mean + added
            paid[: self.n_promoted] *= np.maximum(1 - saved / spend, 0.0)
            return np.asarray(paid)
        if share == 1:
            return self.response_prices
        reduced = share * np.exp(self.own_log)
        reduced = reduced / (1 - share + reduced)
        return np.asarray(current * (1 - reduced) + self.response_prices * reduced)

    def _count_money(self, units: Float64Array, paid: Float64Array) -> Money:
        """Return units, revenue and profit of the items (N, F) at mean prices paid (N, F or 1)."""
        net_price = paid / self.columns.tax[:, None]
        revenue = units * net_price
        return Money(units, revenue, revenue - units * self.columns.cost[:, None])

    @cached_property
    def after(self) -> Money:
        """What the week after the campaign loses (N, F)."""
        week = self.base_units / self.campaign.weeks
        lost = week * (self.dip_factor - 1)
        lost[self.n_promoted :] = 0.0
        return self._count_money(lost, self.columns.current[:, None])

    def summarise(self) -> WhatIf:
        """Return the what-if."""
        n, current = self.n_promoted, self.columns.current[:, None]
        expected = self._count_money(self.units, self.paid)
        base = self._count_money(self.base_units, current)
        against = expected.subtract(base)
        alone = self._count_money(self.units_alone, self.paid)
        lost = expected.subtract(alone)
        cannibalised = self._share_out_losses(against.select(slice(n, None)))
        promoted = []
        for index, item in enumerate(self.items[:n]):
            promoted.append(
                PromotedItem(
                    item_id=item.item_id,
                    current_price_minor=item.current_price_minor,
                    price_minor=round(float(self.paid[index, -1])),
                    expected=expected.select(index).to_effect(),
                    without=base.select(index).to_effect(),
                    against_none=against.select(index).to_effect(),
                    lost_to_others=lost.select(index).to_effect(),
                    cannibalised=cannibalised.select(index).to_effect(),
                    after=self.after.select(index).to_effect(),
                    known=not math.isnan(self.response.slope[index]),
                    lift=math.exp(self.lift[index]),
                )
            )
        totals = [
            money.select(slice(0, n)).sum_items()
            for money in (expected, against, cannibalised, self.after, base)
        ]
        return WhatIf(
            campaign=self.campaign,
            items=tuple(promoted),
            expected=totals[0].to_effect(),
            against_none=totals[1].to_effect(),
            cannibalised=totals[2].to_effect(),
            after=totals[3].to_effect(),
            without=totals[4].to_effect(),
            net=totals[1].add(totals[2]).add(totals[3]).to_effect(),
            threshold=self._summarise_threshold(),
            redeemed=self._count_redeemed(),
            notes=self._list_notes(),
        )

    def _share_out_losses(self, others: Money) -> Money:
        """Return what the rest of the families loses, by the promoted item it loses to (n, F).

        Of a family in which several items are promoted, in proportion to what each gains alone.
        """
        n = self.n_promoted
        gained = np.maximum(self.units_alone[:n] - self.base_units[:n], 0.0) + 1e-12
        shares = {name: np.zeros(gained.shape) for name in ("units", "revenue", "profit")}
        for members in self._list_families():
            promoted = [member for member in members if member < n]
            rest = [member - n for member in members if member >= n]
            if not promoted or not rest:
                continue
            weights = gained[promoted] / gained[promoted].sum(0)
            for name, values in shares.items():
                values[promoted] = weights * getattr(others, name)[rest].sum(0)
        return Money(**shares)

    def _summarise_threshold(self) -> ThresholdResult | None:
        if self.threshold is None:
            return None
        n = self.n_promoted
        qualifying, stretching, added, saved = self.threshold
        spend = (self.base_units * self.own_factor * self.columns.current[:, None])[:n].sum(0)
        orders = spend / self.campaign.spend_orders.mean
        bands = (orders, *(orders * value for value in (qualifying, stretching, added, saved)))
        return ThresholdResult(*(build_band(band) for band in bands))

    def _count_redeemed(self) -> Band | None:
        """Return the units bought with the coupon; None without one."""
        campaign, n = self.campaign, self.n_promoted
        if campaign.mechanic is not Mechanic.COUPON:
            return None
        _, _, term = self.futures
        take_up = np.clip((campaign.take_up or 0.0) + campaign.take_up_error * term, 0, 1)
        share = campaign.demand_share * np.exp(self.own_log[:n])
        share = share / (1 - campaign.demand_share + share)
        return build_band((self.units[:n] * share).sum(0) * take_up)

    def _list_notes(self) -> tuple[str, ...]:
        notes = []
        n_without = int(np.isnan(self.response.dip[: self.n_promoted]).sum())
        if n_without:
            notes.append(
                f"no dip after promotions was estimated for {n_without:,} of "
                f"{self.n_promoted:,} items: the week after loses nothing there"
            )
        if len(self.items) > 1 and self.response.family is None and self._list_families():
            notes.append(
                "no effects within families were estimated: of additional units "
                f"{self.campaign.switching:.0%} are assumed to come from the family"
            )
        return tuple(notes)
