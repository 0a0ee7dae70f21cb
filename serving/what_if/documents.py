"""The JSON of a simulated price and a simulated promotion, over HTTP and on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field

from features.contracts.money import to_major, to_minor
from features.contracts.pricing import Band, Effect
from features.contracts.tables import DEFAULT_ZONE
from models.pricing.promotions.what_if import MAX_ITEMS, Campaign, Mechanic
from serving.field_types import Text, Time

if TYPE_CHECKING:
    from serving.what_if.baskets import Basket
    from serving.what_if.simulation import PriceSimulation, PromotionSimulation

Money = Annotated[Text, Field(max_length=32, description="A decimal in major units")]


class UnitsResponse(BaseModel):
    """Units."""

    p10: float
    p50: float
    p90: float


class MoneyResponse(BaseModel):
    """Decimals in major units."""

    p10: str
    p50: str
    p90: str


class EffectResponse(BaseModel):
    """Units, revenue and profit; revenue and profit net of tax."""

    units: UnitsResponse
    revenue: MoneyResponse
    profit: MoneyResponse


class ComparedUnitsResponse(UnitsResponse):
    """Units, and the difference to keeping the present price."""

    against_keeping: UnitsResponse


class ComparedMoneyResponse(MoneyResponse):
    """Decimals in major units, and the difference to keeping the present price."""

    against_keeping: MoneyResponse


class ComparedEffectResponse(BaseModel):
    """Units, revenue and profit, each with the difference to keeping the present price."""

    units: ComparedUnitsResponse
    revenue: ComparedMoneyResponse
    profit: ComparedMoneyResponse


class PricePointResponse(BaseModel):
    """One price. Units, revenue and profit have p10, p50, p90 over the horizon, and the same
    against keeping."""

    price: str
    expected: ComparedEffectResponse
    broken_rules: list[str] = Field(
        description="Pricing rules that forbid this price; endings aside"
    )


class PriceSimulationResponse(BaseModel):
    """An item at several prices; money is a decimal in major units, revenue and profit net of
    tax."""

    item_id: str
    zone: str
    currency: str
    current_price: str
    horizon_weeks: int
    evidence_grade: str
    elasticity: float
    elasticity_error: float
    cost_source: str
    items: list[PricePointResponse]


class PromotionRequest(BaseModel):
    """A promotion to look at; its mechanic says which fields it needs. Shares are 0 to 1, money in
    major units."""

    model_config = ConfigDict(extra="forbid")

    name: Text = "what-if"
    item_ids: list[Text] = Field(min_length=1, max_length=MAX_ITEMS)
    zone: Text = DEFAULT_ZONE
    starts_at: Time
    ends_at: Time
    mechanic: Mechanic
    percent: float | None = Field(None, ge=0, le=1, description="percent_off: share taken off")
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
    take_up: float | None = Field(
        None, ge=0, le=1, description="bundle, coupon: share of the units bought that way"
    )
    switching: float = Field(
        0.25, ge=0, le=1, description="Share of the additional units taken from the family"
    )
    support: list[Text] = Field(
        [], max_length=20, description="Kinds of promotion beside the price: display, mailer"
    )
    reach: float = Field(
        1.0, ge=0, le=1, description="Share of shops or visitors that the support meets"
    )

    @property
    def lacks_basket(self) -> bool:
        """Whether the mechanic needs a mean basket and none is given."""
        return self.mechanic is Mechanic.SPEND_SAVE and self.mean_basket is None

    def to_campaign(self, currency: str, basket: Basket | None) -> Campaign:
        """Return the campaign, money in minor units of `currency`.

        `basket` is the mean basket of recent orders, where the request lacks one.
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
            mean_basket_minor=minor(self.mean_basket) if basket is None else basket.mean_minor,
            repeats=self.repeats,
            take_up=self.take_up,
            switching=self.switching,
            support=tuple(self.support),
            reach=self.reach,
        )


class PromotedItemResponse(BaseModel):
    """One item of a promotion."""

    item_id: str
    current_price: str
    price: str = Field(description="What is paid on average")
    expected: EffectResponse
    against_none: EffectResponse
    cannibalised: EffectResponse
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


class PromotionSimulationResponse(BaseModel):
    """A promotion's effect over its time: `net` is against none, with what the items' families
    lose."""

    name: str
    zone: str
    currency: str
    expected: EffectResponse
    against_none: EffectResponse
    cannibalised: EffectResponse
    net: EffectResponse
    items: list[PromotedItemResponse]
    conflicts: list[CampaignConflictResponse]
    missing: list[str] = Field(description="Items without a price or a forecast")
    mean_basket: str | None = Field(description="spend_save: the mean spend that was assumed")
    notes: list[str] = Field(description="What was assumed")


def describe_prices(simulation: PriceSimulation) -> PriceSimulationResponse:
    """Return the document of an item at several prices."""
    item = simulation.item
    points = [
        PricePointResponse(
            price=to_major(point.price_minor, item.currency),
            expected=_compare_effect(point.expected, point.against_keeping, item.currency),
            broken_rules=list(point.broken_rules),
        )
        for point in simulation.points
    ]
    return PriceSimulationResponse(
        item_id=item.item_id,
        zone=item.zone,
        currency=item.currency,
        current_price=to_major(item.current_price_minor, item.currency),
        horizon_weeks=simulation.horizon_weeks,
        evidence_grade=str(item.evidence_grade),
        elasticity=item.elasticity,
        elasticity_error=item.elasticity_error,
        cost_source=item.cost_source,
        items=points,
    )


def describe_promotion(
    simulation: PromotionSimulation, currency: str, basket: Basket | None
) -> PromotionSimulationResponse:
    """Return the document of a promotion; `basket` is the mean basket that was assumed."""
    effect = simulation.what_if
    mean = effect.campaign.mean_basket_minor
    return PromotionSimulationResponse(
        name=effect.campaign.name,
        zone=effect.campaign.zone,
        currency=currency,
        expected=_effect(effect.expected, currency),
        against_none=_effect(effect.against_none, currency),
        cannibalised=_effect(effect.cannibalised, currency),
        net=_effect(effect.net, currency),
        items=_describe_items(simulation, currency),
        conflicts=[CampaignConflictResponse(**asdict(clash)) for clash in simulation.conflicts],
        missing=list(simulation.missing),
        mean_basket=None if mean is None else to_major(mean, currency),
        notes=[*simulation.notes, *([] if basket is None else [basket.describe(currency)])],
    )


def _describe_items(simulation: PromotionSimulation, currency: str) -> list[PromotedItemResponse]:
    return [
        PromotedItemResponse(
            item_id=item.item_id,
            current_price=to_major(item.current_price_minor, currency),
            price=to_major(item.price_minor, currency),
            expected=_effect(item.expected, currency),
            against_none=_effect(item.against_none, currency),
            cannibalised=_effect(item.cannibalised, currency),
            response_known=item.known,
            lift=item.lift,
            unlawful=simulation.unlawful.get(item.item_id),
        )
        for item in simulation.what_if.items
    ]


def _effect(effect: Effect, currency: str) -> EffectResponse:
    return EffectResponse(
        units=UnitsResponse(**_units(effect.units)),
        revenue=MoneyResponse(**_money(effect.revenue, currency)),
        profit=MoneyResponse(**_money(effect.profit, currency)),
    )


def _compare_effect(effect: Effect, against: Effect, currency: str) -> ComparedEffectResponse:
    """Return an effect with its difference to keeping the present price."""
    compared = _effect(against, currency)
    return ComparedEffectResponse(
        units=ComparedUnitsResponse(**_units(effect.units), against_keeping=compared.units),
        revenue=ComparedMoneyResponse(
            **_money(effect.revenue, currency), against_keeping=compared.revenue
        ),
        profit=ComparedMoneyResponse(
            **_money(effect.profit, currency), against_keeping=compared.profit
        ),
    )


def _units(band: Band) -> Mapping[str, float]:
    return {"p10": float(band.p10), "p50": float(band.p50), "p90": float(band.p90)}


def _money(band: Band, currency: str) -> Mapping[str, str]:
    return {name: to_major(round(value), currency) for name, value in asdict(band).items()}
