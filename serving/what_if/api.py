"""What would happen: `POST /v1/prices/simulate` and `POST /v1/promotions/simulate`. Nothing is
written.

The tables' reader is imported by the first request: a server should be ready before that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from configs.loading import load
from features.contracts.money import to_major, to_minor
from features.contracts.pricing import Effect
from features.contracts.tables import DEFAULT_ZONE
from models.pricing.promotions.what_if import MAX_ITEMS, MAX_PRICES, Campaign, Mechanic
from models.pricing.rules import PricingRules
from serving.http.auth import Caller, require
from serving.http.parameters import only, readable
from serving.http.types import Text, Time
from serving.server import Server, server

if TYPE_CHECKING:
    from features.facts.facts import Facts
    from serving.pricing_inputs.items import PricingInputs
    from serving.what_if.baskets import Basket
    from serving.what_if.service import PromotionSimulation, Simulation

router = APIRouter(tags=["prices"], dependencies=[Depends(readable), Depends(only())])
Reader = Annotated[Caller, Depends(require("pricing.read"))]
Money = Annotated[Text, Field(max_length=32, description="A decimal in major units")]


class PricesRequest(BaseModel):
    """An item and the prices to look at, in major units."""

    model_config = ConfigDict(extra="forbid")

    item_id: Text
    prices: list[Money] = Field(min_length=1, max_length=MAX_PRICES)
    zone: Text = DEFAULT_ZONE


class PricePointResponse(BaseModel):
    """One price. Units, revenue and profit have p10, p50, p90 over the horizon, and the same
    against keeping."""

    price: str
    expected: dict[str, Any]
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
        description="spend_save: mean spend on these items of an order with any; that of the last weeks if absent",
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


class PromotedItemResponse(BaseModel):
    """One item of a promotion."""

    item_id: str
    current_price: str
    price: str = Field(description="What is paid on average")
    expected: dict[str, Any]
    against_none: dict[str, Any]
    cannibalised: dict[str, Any]
    response_known: bool = Field(description="When false, the price brings no additional units")
    lift: float = Field(
        description="What the support multiplies units by, beyond what the forecast holds of it"
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
    expected: dict[str, Any]
    against_none: dict[str, Any]
    cannibalised: dict[str, Any]
    net: dict[str, Any]
    items: list[PromotedItemResponse]
    conflicts: list[CampaignConflictResponse]
    missing: list[str] = Field(description="Items without a price or a forecast")
    mean_basket: str | None = Field(description="spend_save: the mean spend that was reckoned with")
    notes: list[str] = Field(description="What was assumed")


@router.post("/v1/prices/simulate")
def post_prices(request: Request, _caller: Reader, body: PricesRequest) -> PriceSimulationResponse:
    """Expected units, revenue and profit of an item at each price, with intervals."""
    from serving.what_if.service import simulate_prices

    here = server(request)
    currency = here.settings.zone(body.zone).currency
    prices = [to_minor(price, currency) for price in body.prices]
    found = simulate_prices(
        _inputs(here, body.zone, [body.item_id]), body.item_id, prices, body.zone
    )
    return PriceSimulationResponse(**price_document(found))


@router.post("/v1/promotions/simulate")
def post_promotion(
    request: Request, _caller: Reader, body: PromotionRequest
) -> PromotionSimulationResponse:
    """What a promotion would do, what it collides with, and where the law forbids to announce
    it."""
    from features.facts.facts import Facts
    from serving.pricing_inputs.inputs import with_families
    from serving.what_if.service import simulate_promotion

    here = server(request)
    currency = here.settings.zone(body.zone).currency
    basket = basket_of(Facts(here.settings), body, here.clock.now())
    campaign = campaign_of(body, currency, basket)
    related = with_families(Facts(here.settings), body.item_ids)
    found = simulate_promotion(_inputs(here, body.zone, related), campaign, body.item_ids)
    return PromotionSimulationResponse(**promotion_document(found, currency, basket))


def basket_of(facts: Facts, body: PromotionRequest, now: datetime) -> Basket | None:
    """What orders spend on the items, where the promotion asks for it and the request does not
    say."""
    from serving.what_if.baskets import mean_basket

    if body.mechanic is not Mechanic.SPEND_SAVE or body.mean_basket is not None:
        return None
    return mean_basket(facts, body.item_ids, body.zone, now)


def campaign_of(body: PromotionRequest, currency: str, basket: Basket | None) -> Campaign:
    """The promotion that a request describes; `basket` as `basket_of` found it."""

    def minor(value: str | None) -> int | None:
        return None if value is None else to_minor(value, currency)

    return Campaign(
        name=body.name,
        zone=body.zone,
        starts_at=body.starts_at,
        ends_at=body.ends_at,
        mechanic=body.mechanic,
        percent=body.percent,
        amount_minor=minor(body.amount),
        threshold_minor=minor(body.threshold),
        mean_basket_minor=minor(body.mean_basket) if basket is None else basket.mean_minor,
        repeats=body.repeats,
        take_up=body.take_up,
        switching=body.switching,
        support=tuple(body.support),
        reach=body.reach,
    )


def price_document(found: Simulation) -> dict[str, Any]:
    """A simulation as the API and `prices simulate --json` tell it."""
    item = found.item
    return {
        "item_id": item.item_id,
        "zone": item.zone,
        "currency": item.currency,
        "current_price": to_major(item.current_price_minor, item.currency),
        "horizon_weeks": found.horizon_weeks,
        "evidence_grade": str(item.evidence_grade),
        "elasticity": item.elasticity,
        "elasticity_error": item.elasticity_error,
        "cost_source": item.cost_source,
        "items": [
            {
                "price": to_major(point.price_minor, item.currency),
                "expected": _told(point.expected, item.currency, point.against_keeping),
                "broken_rules": list(point.broken_rules),
            }
            for point in found.points
        ],
    }


def promotion_document(
    found: PromotionSimulation, currency: str, basket: Basket | None
) -> dict[str, Any]:
    """A promotion's effect as the API and `promotions simulate --json` tell it."""
    what_if = found.what_if
    mean = what_if.campaign.mean_basket_minor
    sums = {name: _told(getattr(what_if, name), currency) for name in (*_PARTS, "net")}
    return {
        "name": what_if.campaign.name,
        "zone": what_if.campaign.zone,
        "currency": currency,
        **sums,
        "items": [
            {
                "item_id": each.item_id,
                "current_price": to_major(each.current_price_minor, currency),
                "price": to_major(each.price_minor, currency),
                **{name: _told(getattr(each, name), currency) for name in _PARTS},
                "response_known": each.known,
                "lift": each.lift,
                "unlawful": found.unlawful.get(each.item_id),
            }
            for each in what_if.items
        ],
        "conflicts": [asdict(each) for each in found.conflicts],
        "missing": list(found.missing),
        "mean_basket": None if mean is None else to_major(mean, currency),
        "notes": [*found.notes, *([] if basket is None else [basket.told(currency)])],
    }


_PARTS = ("expected", "against_none", "cannibalised")


def _told(effect: Effect, currency: str, against: Effect | None = None) -> dict[str, Any]:
    """units, revenue and profit with their bands; money as decimals."""
    as_told: Mapping[str, Callable[[float], Any]] = {
        "units": float,
        "revenue": lambda minor: to_major(round(minor), currency),
        "profit": lambda minor: to_major(round(minor), currency),
    }
    told = {}
    for name, show in as_told.items():
        told[name] = {key: show(value) for key, value in asdict(getattr(effect, name)).items()}
        if against is not None:
            told[name]["against_keeping"] = {
                key: show(value) for key, value in asdict(getattr(against, name)).items()
            }
    return told


def _inputs(here: Server, zone: str, item_ids: list[str]) -> PricingInputs:
    from features.facts.facts import Facts
    from serving.pricing_inputs.items import PricingInputs
    from serving.what_if.service import ServedDemand

    rules = load("pricing/default", PricingRules, overlay=here.settings.config_dir)
    forecasts, pricing = here.served_models.forecasts(), here.served_models.pricing()
    now = here.clock.now()
    return PricingInputs(
        facts=Facts(here.settings),
        engine=here.engine,
        settings=here.settings,
        demand_model=ServedDemand(forecasts.table, item_ids, zone, rules.horizon_weeks, now),
        pricing_model=pricing.model,
        rules=rules,
        now=now,
        presets={},
        versions={"demand": forecasts.version.version, "pricing": pricing.version.version},
    )
