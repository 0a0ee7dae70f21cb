"""The JSON of a simulated promotion, over HTTP and on the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from features.contracts.money import to_major, to_minor
from features.contracts.pricing import Effect
from features.contracts.tables import DEFAULT_ZONE
from models.pricing.promotions.mechanics import Campaign, Mechanic
from models.pricing.promotions.what_if import MAX_ITEMS, ThresholdResult
from serving.field_types import Id, Money, Text, Time
from serving.what_if.effect_documents import (
    EffectResponse,
    MoneyResponse,
    UnitsResponse,
    describe_effect,
    describe_money,
    describe_units,
)

if TYPE_CHECKING:
    from serving.what_if.simulation import PromotionSimulation


class PromotionRequest(BaseModel):
    """A promotion to look at; its mechanic says which fields it needs. Shares are 0 to 1, money in
    major units."""

    model_config = ConfigDict(extra="forbid")

    name: Text = "what-if"
    item_ids: list[Id] = Field(min_length=1, max_length=MAX_ITEMS)
    zone: Text = DEFAULT_ZONE
    starts_at: Time
    ends_at: Time
    mechanic: Mechanic
    percent: float | None = Field(
        None, ge=0, le=1, description="percent_off, coupon: share taken off"
    )
    amount: Money | None = Field(
        None, description="price_off, spend_save, coupon: taken off; bundle: its price"
    )
    threshold: Money | None = Field(None, description="spend_save: what must be spent")
    mean_basket: Money | None = Field(
        None,
        description="spend_save: mean spend on these items of an order with any; "
        "that of the last weeks if absent",
    )
    repeats: bool = Field(False, description="spend_save: given for every threshold reached")
    stretch: float | None = Field(
        None,
        ge=0,
        le=20,
        description="spend_save: mean gap to the threshold that orders close, as a multiple of the "
        "saving; learnt from past campaigns if absent, else assumed",
    )
    take_up: float | None = Field(
        None,
        ge=0,
        le=1,
        description="bundle, buy_get: share of the units bought that way; coupon: share of the "
        "units of those who got one, estimated from past coupons if absent, else assumed",
    )
    coupon_reach: float | None = Field(
        None,
        ge=0,
        le=1,
        description="coupon: share of the demand whose buyers get one; that of past coupons if "
        "absent, else everybody",
    )
    buy: int = Field(1, ge=1, le=100, description="buy_get: units that are paid, ...")
    free: int = Field(1, ge=1, le=100, description="... and units that come free with them")
    switching: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Share of the additional units taken from the family, where the model has no "
        "effects within families; .25 is assumed if absent",
    )
    support: list[Text] = Field(
        [], max_length=20, description="Kinds of promotion beside the price: display, mailer"
    )
    reach: float = Field(
        1.0, ge=0, le=1, description="Share of shops or visitors that the support meets"
    )

    def to_campaign(self, currency: str, values: Mapping[str, float | int | None]) -> Campaign:
        """Return the campaign, money in minor units of `currency`.

        `values` are fields of the campaign that the request may lack.
        """

        def minor(value: str | None) -> int | None:
            return None if value is None else to_minor(value, currency)

        return Campaign(
            name=self.name,
            zone=self.zone,
            starts_at=self.starts_at,
            ends_at=self.ends_at,
            mechanic=self.mechanic,
            percent=self.percent,
            amount_minor=minor(self.amount),
            threshold_minor=minor(self.threshold),
            repeats=self.repeats,
            buy=self.buy,
            free=self.free,
            support=tuple(self.support),
            reach=self.reach,
            **values,  # type: ignore[arg-type]
        )


class PromotedItemResponse(BaseModel):
    """One item of a promotion."""

    item_id: str
    current_price: str
    price: str = Field(description="What is paid on average")
    expected: EffectResponse
    without: EffectResponse = Field(description="What it would do without the promotion")
    against_none: EffectResponse
    lost_to_others: EffectResponse = Field(
        description="Part of against_none: what the other promoted items take from it"
    )
    cannibalised: EffectResponse
    after: EffectResponse = Field(description="What the week after loses: buyers stocked up")
    response_known: bool = Field(description="When false, the price brings no additional units")
    lift: float = Field(
        description="What the support multiplies units by, beyond what the forecast contains of it"
    )
    unlawful: str | None = Field(description="Why the reduction may not be announced")


class CampaignConflictResponse(BaseModel):
    """Another promotion that gets in the way."""

    item_id: str
    other: str
    other_item_id: str
    starts_at: datetime
    ends_at: datetime
    why: str


class CampaignInput(BaseModel):
    """A number that the what-if rests on, and where it comes from."""

    name: str
    value: float
    low: float | None = Field(description="p10, where it is uncertain")
    high: float | None = Field(description="p90")
    source: Literal["given", "estimated", "assumed"]
    note: str


class SpendSaveResponse(BaseModel):
    """Orders over the promotion, and money with tax as decimals in major units."""

    orders: UnitsResponse = Field(description="Orders that hold any of the items")
    qualifying: UnitsResponse = Field(description="Of them, those that reach the threshold")
    stretching: UnitsResponse = Field(description="Of these, those that spend more to reach it")
    spend_added: MoneyResponse = Field(description="Spend that is added to reach the threshold")
    discount: MoneyResponse = Field(description="What is given away")
    net_profit: MoneyResponse = Field(description="Net of tax, against none")


class PromotionSimulationResponse(BaseModel):
    """A promotion's effect over its time: `net` is against none, with what the items' families
    and the week after lose."""

    name: str
    zone: str
    currency: str
    expected: EffectResponse
    without: EffectResponse = Field(description="What they would do without the promotion")
    against_none: EffectResponse
    cannibalised: EffectResponse
    after: EffectResponse = Field(description="What the week after loses: buyers stocked up")
    net: EffectResponse
    items: list[PromotedItemResponse]
    conflicts: list[CampaignConflictResponse]
    missing: list[str] = Field(description="Items without a price or a forecast")
    mean_basket: str | None = Field(description="spend_save: the mean spend that was used")
    spend_save: SpendSaveResponse | None
    redeemed: UnitsResponse | None = Field(description="coupon: units bought with it")
    inputs: list[CampaignInput] = Field(description="Numbers that the request did not give")
    notes: list[str] = Field(description="What was assumed")


def describe_promotion(
    simulation: PromotionSimulation, currency: str, inputs: Sequence[CampaignInput]
) -> PromotionSimulationResponse:
    """Return the document of a promotion; `inputs` are what it rests on beside the request."""
    effect = simulation.what_if
    mean = effect.campaign.mean_basket_minor
    return PromotionSimulationResponse(
        name=effect.campaign.name,
        zone=effect.campaign.zone,
        currency=currency,
        expected=describe_effect(effect.expected, currency),
        without=describe_effect(effect.without, currency),
        against_none=describe_effect(effect.against_none, currency),
        cannibalised=describe_effect(effect.cannibalised, currency),
        after=describe_effect(effect.after, currency),
        net=describe_effect(effect.net, currency),
        items=_describe_items(simulation, currency),
        conflicts=[CampaignConflictResponse(**asdict(clash)) for clash in simulation.conflicts],
        missing=list(simulation.missing),
        mean_basket=None if mean is None else to_major(mean, currency),
        spend_save=_describe_threshold(effect.threshold, effect.net, currency),
        redeemed=None
        if effect.redeemed is None
        else UnitsResponse(**describe_units(effect.redeemed)),
        inputs=list(inputs),
        notes=[*simulation.notes, *effect.notes],
    )


def _describe_threshold(
    result: ThresholdResult | None, net: Effect, currency: str
) -> SpendSaveResponse | None:
    if result is None:
        return None
    return SpendSaveResponse(
        orders=UnitsResponse(**describe_units(result.orders)),
        qualifying=UnitsResponse(**describe_units(result.qualifying)),
        stretching=UnitsResponse(**describe_units(result.stretching)),
        spend_added=MoneyResponse(**describe_money(result.added, currency)),
        discount=MoneyResponse(**describe_money(result.saved, currency)),
        net_profit=MoneyResponse(**describe_money(net.profit, currency)),
    )


def _describe_items(simulation: PromotionSimulation, currency: str) -> list[PromotedItemResponse]:
    return [
        PromotedItemResponse(
            item_id=item.item_id,
            current_price=to_major(item.current_price_minor, currency),
            price=to_major(item.price_minor, currency),
            expected=describe_effect(item.expected, currency),
            without=describe_effect(item.without, currency),
            against_none=describe_effect(item.against_none, currency),
            lost_to_others=describe_effect(item.lost_to_others, currency),
            cannibalised=describe_effect(item.cannibalised, currency),
            after=describe_effect(item.after, currency),
            response_known=item.known,
            lift=item.lift,
            unlawful=simulation.unlawful.get(item.item_id),
        )
        for item in simulation.what_if.items
    ]
