"""The JSON of a simulated price and a simulated promotion, over HTTP and on the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from features.contracts.money import to_major, to_minor
from features.contracts.pricing import Band, Effect
from features.contracts.tables import DEFAULT_ZONE
from models.pricing.promotions.mechanics import Campaign, Mechanic
from models.pricing.promotions.weekly_plan import MAX_WEEKS, PlanLimits
from models.pricing.promotions.what_if import MAX_ITEMS, ThresholdResult
from models.pricing.rules import PricingRules
from serving.field_types import Text, Time

if TYPE_CHECKING:
    from serving.what_if.promotion_plan import SuggestedPromotions
    from serving.what_if.simulation import PriceSimulation, PromotionSimulation

MAX_PLANNED_ITEMS = 200  # of one plan over HTTP
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


class PlanRequest(BaseModel):
    """Items to plan promotions of, and the limits; shares are 0 to 1."""

    model_config = ConfigDict(extra="forbid")

    item_ids: list[Text] = Field(min_length=1, max_length=MAX_PLANNED_ITEMS)
    zone: Text = DEFAULT_ZONE
    weeks: int = Field(8, ge=1, le=MAX_WEEKS, description="Weeks to plan")
    depths: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        [0.1, 0.2, 0.3], min_length=1, max_length=9, description="Shares off that are tried"
    )
    max_per_week: int = Field(20, ge=1, description="Promotions in one week")
    max_per_item: int = Field(2, ge=1, description="Promotions of one item")
    spacing_weeks: int = Field(5, ge=0, description="Weeks between two promotions of one item")
    one_per_family: bool = Field(True, description="At most one item of a family in a week")
    risk_aversion: float = Field(
        0.5, ge=0, le=1, description="0: by the mean gain; 1: by the worse end of its interval"
    )

    def to_limits(self, rules: PricingRules) -> PlanLimits:
        """Return the limits; minimum margin and gain are those of the pricing rules."""
        return PlanLimits(
            depths=tuple(self.depths),
            max_per_week=self.max_per_week,
            max_per_item=self.max_per_item,
            spacing_weeks=self.spacing_weeks,
            one_per_family=self.one_per_family,
            min_margin=rules.min_margin,
            min_gain_minor=rules.min_gain_minor,
            risk_aversion=self.risk_aversion,
        )


class PlannedPromotionResponse(BaseModel):
    """One suggested promotion: a price for everybody for one week."""

    item_id: str
    starts_at: datetime
    ends_at: datetime
    depth: float
    current_price: str
    price: str
    net: EffectResponse = Field(
        description="Against none, with what its family and the week after lose"
    )
    evidence_grade: str
    reasons: list[str]


class PromotionPlanResponse(BaseModel):
    """Suggested promotions, the most valuable first; nothing is written."""

    zone: str
    currency: str
    n_items: int = Field(description="Candidates with a price and a forecast")
    items: list[PlannedPromotionResponse]
    net_profit: MoneyResponse = Field(description="Of all together")
    left_out: dict[str, int] = Field(description="Items without a promotion, by reason")
    missing: list[str] = Field(description="Items without a price or a forecast")
    notes: list[str]


def describe_plan(suggested: SuggestedPromotions) -> PromotionPlanResponse:
    """Return the document of a plan of promotions."""
    currency, plan = suggested.currency, suggested.plan
    return PromotionPlanResponse(
        zone=suggested.zone,
        currency=currency,
        n_items=suggested.n_items,
        items=[
            PlannedPromotionResponse(
                item_id=suggestion.item_id,
                starts_at=suggestion.starts_at,
                ends_at=suggestion.ends_at,
                depth=suggestion.depth,
                current_price=to_major(suggestion.current_price_minor, currency),
                price=to_major(suggestion.price_minor, currency),
                net=_effect(suggestion.net, currency),
                evidence_grade=str(suggestion.evidence_grade),
                reasons=list(suggestion.reasons),
            )
            for suggestion in plan.suggestions
        ],
        net_profit=MoneyResponse(**_money(plan.net_profit, currency)),
        left_out=dict(sorted(plan.left_out.items(), key=lambda entry: (-entry[1], entry[0]))),
        missing=list(suggested.missing),
        notes=list(suggested.notes),
    )


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
    simulation: PromotionSimulation, currency: str, inputs: Sequence[CampaignInput]
) -> PromotionSimulationResponse:
    """Return the document of a promotion; `inputs` are what it rests on beside the request."""
    effect = simulation.what_if
    mean = effect.campaign.mean_basket_minor
    return PromotionSimulationResponse(
        name=effect.campaign.name,
        zone=effect.campaign.zone,
        currency=currency,
        expected=_effect(effect.expected, currency),
        against_none=_effect(effect.against_none, currency),
        cannibalised=_effect(effect.cannibalised, currency),
        after=_effect(effect.after, currency),
        net=_effect(effect.net, currency),
        items=_describe_items(simulation, currency),
        conflicts=[CampaignConflictResponse(**asdict(clash)) for clash in simulation.conflicts],
        missing=list(simulation.missing),
        mean_basket=None if mean is None else to_major(mean, currency),
        spend_save=_describe_threshold(effect.threshold, effect.net, currency),
        redeemed=None if effect.redeemed is None else UnitsResponse(**_units(effect.redeemed)),
        inputs=list(inputs),
        notes=[*simulation.notes, *effect.notes],
    )


def _describe_threshold(
    result: ThresholdResult | None, net: Effect, currency: str
) -> SpendSaveResponse | None:
    if result is None:
        return None
    return SpendSaveResponse(
        orders=UnitsResponse(**_units(result.orders)),
        qualifying=UnitsResponse(**_units(result.qualifying)),
        stretching=UnitsResponse(**_units(result.stretching)),
        spend_added=MoneyResponse(**_money(result.added, currency)),
        discount=MoneyResponse(**_money(result.saved, currency)),
        net_profit=MoneyResponse(**_money(net.profit, currency)),
    )


def _describe_items(simulation: PromotionSimulation, currency: str) -> list[PromotedItemResponse]:
    return [
        PromotedItemResponse(
            item_id=item.item_id,
            current_price=to_major(item.current_price_minor, currency),
            price=to_major(item.price_minor, currency),
            expected=_effect(item.expected, currency),
            against_none=_effect(item.against_none, currency),
            lost_to_others=_effect(item.lost_to_others, currency),
            cannibalised=_effect(item.cannibalised, currency),
            after=_effect(item.after, currency),
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
