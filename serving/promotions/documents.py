"""The JSON of promotions, over HTTP and on the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from features.contracts.money import to_major
from features.contracts.tables import DEFAULT_ZONE
from features.prices.promotions import PromotedItem
from models.pricing.promotions.mechanics import Mechanic
from models.pricing.promotions.what_if import MAX_ITEMS
from serving.field_types import Id, Money, Name, ReasonRequest, Text
from serving.promotions.checks import CheckedPromotion
from serving.promotions.repository import ChangeGroup, Promotion, PromotionItem

# Where a promotion stands in the calendar.
PHASES = ("planned", "approved", "live", "ended", "dropped")


class FilePromotionRequest(ReasonRequest):
    """A promotion to file: the fields of a what-if, for items or for a category.

    Shares are 0 to 1, money in major units.
    """

    name: Name
    item_ids: list[Id] = Field([], max_length=MAX_ITEMS, description="Either these ...")
    category: Text | None = Field(None, description="... or the items of a category and below")
    zone: Text = DEFAULT_ZONE
    starts_at: Text = Field(
        description="A time; without an offset it is one of the zone's time zone",
        examples=["2018-01-08T00:00"],
    )
    ends_at: Text = Field(examples=["2018-01-22T00:00"])
    mechanic: Mechanic
    percent: float | None = Field(None, ge=0, le=1)
    amount: Money | None = None
    threshold: Money | None = None
    mean_basket: Money | None = None
    repeats: bool = False
    stretch: float | None = Field(None, ge=0, le=20)
    take_up: float | None = Field(None, ge=0, le=1)
    coupon_reach: float | None = Field(None, ge=0, le=1)
    buy: int = Field(1, ge=1, le=100)
    free: int = Field(1, ge=1, le=100)
    switching: float | None = Field(None, ge=0, le=1)
    support: list[Text] = Field([], max_length=20)
    reach: float = Field(1.0, ge=0, le=1)
    funding: Money = Field("0", description="What suppliers pay towards it, in total")
    cost: Money = Field("0", description="What it costs beside its discounts: print, displays")
    confirm_large_change: bool = Field(
        False, description="A price that moves by more than half is meant"
    )
    confirm: list[Literal["margin floor", "minimum advertised price"]] = Field(
        [], max_length=2, description="Pricing rules that are meant to be broken"
    )


class PromotionResponse(BaseModel):
    """A promotion. Times are UTC; amounts are decimals in major units."""

    id: str
    kind: str = "promotion"
    name: str
    zone: str
    currency: str
    mechanic: str
    terms: dict[str, Any] = Field(description="What everybody is offered")
    status: str
    phase: str = Field(description="planned, approved, live, ended or dropped")
    version: int
    starts_at: datetime
    ends_at: datetime
    ended_at: datetime | None = Field(description="When somebody ended it early")
    n_items: int
    support: list[str]
    funding: str
    cost: str
    warnings: list[str]
    confirmed_rules: list[str] = Field(description="Pricing rules that are meant to be broken")
    created_at: datetime
    updated_at: datetime
    proposed_by: str
    decided_by: str | None
    decided_at: datetime | None
    ended_by: str | None
    reason: str | None


class BandResponse(BaseModel):
    """A value with its interval; money in major units."""

    p10: float
    p50: float
    p90: float


class PromotionItemResponse(BaseModel):
    """An item of a promotion."""

    item_id: str
    title: str | None
    category: str
    list_price: str
    current_price: str = Field(description="The price beneath the promotion")
    promotion_price: str | None = Field(description="Null where the item keeps its price")
    price_id: str | None = Field(description="The row of the ledger that it became")
    expected: dict[str, Any] | None


class PromotionDetailResponse(PromotionResponse):
    """A promotion with its items and the what-if as it was filed."""

    items: list[PromotionItemResponse]
    expected: dict[str, Any] | None = Field(description="Null where nothing was forecast")


class PromotionProblemResponse(BaseModel):
    """What stands against a promotion of an item; "" for all of it."""

    item_id: str
    why: str
    rule: str | None = Field(description="A pricing rule; `confirm` means it, the rest refuse it")


class CheckedPromotionResponse(BaseModel):
    """A promotion as it would be filed, and what stands against it: nothing is written.

    `problems` refuse it (law, other promotions, planned prices, locks, pricing rules);
    `large_moves` are prices that need `confirm_large_change`."""

    terms: dict[str, Any]
    currency: str
    problems: list[PromotionProblemResponse]
    large_moves: list[PromotionProblemResponse]
    warnings: list[str]
    items: list[PromotionItemResponse]
    expected: dict[str, Any] | None = Field(description="Null where nothing was forecast")


class PriceChangesOfTime(BaseModel):
    """Prices of a zone that begin at one time; promotions aside."""

    starts_at: datetime
    zone: str
    n_items: int
    item_ids: list[str] = Field(description="The first of them")


class CalendarResponse(BaseModel):
    """The promotions of a time, and the price changes of the ledger that begin in it."""

    items: list[PromotionResponse]
    price_changes: list[PriceChangesOfTime]
    next_cursor: str | None = None


class SoldResponse(BaseModel):
    """What sold while it ran; money net of tax, less what was refunded meanwhile."""

    units: float
    revenue: str
    profit: str | None
    discount: str = Field(description="What was paid less than at the prices beneath it")


class ComparedResponse(BaseModel):
    """A value while it ran and before, and the difference: p10 to p90 hold it in 80 %."""

    during: float
    before: float
    difference: BandResponse
    n_during: int
    n_before: int


class PromotionEffectResponse(BaseModel):
    """What a promotion did. Whatever is not known is null, and `unknown` says why."""

    id: str
    verdict: str = Field(
        description="as_expected, better, worse (than the what-if), too_early or unknown"
    )
    zone: str
    currency: str
    starts_at: datetime
    until: datetime = Field(description="Up to when sales count: its end, or now")
    share_of_time: float = Field(description="Of its planned time; the forecasts are over this")
    sold: SoldResponse | None
    expected: dict[str, BandResponse] | None = Field(description="The what-if as it was filed")
    without: dict[str, BandResponse] | None = Field(
        description="The same without the promotion, moved by `control_factor`"
    )
    gain: dict[str, BandResponse] | None = Field(description="What sold less `without`")
    funding: str
    cost: str
    roi: BandResponse | None = Field(description="Gain in profit over what was put in")
    baskets: ComparedResponse | None = Field(
        description="Mean spend of orders that hold any of its items, with tax"
    )
    conversion: ComparedResponse | None = Field(
        description="Share of the visits that looked at any of its items and bought one"
    )
    repeat_purchase: ComparedResponse | None = Field(
        description="Share of its buyers who came back within `repeat_days`"
    )
    repeat_days: int
    control: str = Field(
        description='What `without` is from: "forecast", or "unchanged items of CATEGORY (n)"'
    )
    control_factor: float = Field(
        description="By which those items moved `without`; the verdict moves `expected` likewise"
    )
    unknown: dict[str, str]


class LivePromotionResponse(BaseModel):
    """A promotion that runs now, as a storefront shows it."""

    id: str
    name: str
    zone: str
    currency: str
    mechanic: str
    terms: dict[str, Any]
    starts_at: datetime
    ends_at: datetime
    item_ids: list[str]


class LivePromotionsResponse(BaseModel):
    """The promotions that run now."""

    items: list[LivePromotionResponse]
    next_cursor: str | None = None


def find_phase(promotion: Promotion) -> str:
    """Return where a promotion stands in the calendar."""
    phases = {"submitted": "planned", "scheduled": "approved", "live": "live"}
    if promotion.status in phases:
        return phases[promotion.status]
    # Of those that are over, whoever approved it counts: nobody did, or it never began.
    ran = promotion.decided_at is not None and promotion.status in ("expired", "rolled_back")
    return "ended" if ran and promotion.runs_until > promotion.starts_at else "dropped"


def describe_calendar(promotions: list[Promotion], changes: list[ChangeGroup]) -> CalendarResponse:
    """Return the document of a calendar."""
    return CalendarResponse(
        items=[PromotionResponse.model_validate(_fields(promotion)) for promotion in promotions],
        price_changes=[
            PriceChangesOfTime(
                starts_at=group.starts_at,
                zone=group.zone,
                n_items=group.n_items,
                item_ids=list(group.item_ids),
            )
            for group in changes
        ],
    )


def describe_promotion(promotion: Promotion) -> PromotionDetailResponse:
    """Return the document of a promotion with its items."""
    currency = promotion.currency
    items = [_describe_item(item, currency) for item in promotion.items]
    return PromotionDetailResponse.model_validate(
        {**_fields(promotion), "items": items, "expected": promotion.expected}
    )


def describe_checked(checked: CheckedPromotion) -> CheckedPromotionResponse:
    """Return the document of a promotion that was looked at."""
    draft = checked.draft
    return CheckedPromotionResponse(
        terms=dict(draft.terms),
        currency=draft.currency,
        problems=[PromotionProblemResponse(**vars(problem)) for problem in checked.problems],
        large_moves=[PromotionProblemResponse(**vars(move)) for move in checked.large_moves],
        warnings=list(draft.warnings),
        items=[_describe_item(item, draft.currency) for item in draft.items],
        expected=None if draft.expected is None else dict(draft.expected),
    )


def describe_live(promoted: Sequence[PromotedItem]) -> LivePromotionResponse:
    """Return what a storefront shows of a promotion, of its items that are still promoted."""
    first = promoted[0]
    return LivePromotionResponse(
        id=first.promotion_id,
        name=first.name,
        zone=first.zone,
        currency=first.currency,
        mechanic=first.mechanic,
        terms=dict(first.terms),
        starts_at=first.starts_at,
        ends_at=max(item.ends_at for item in promoted),
        item_ids=[item.item_id for item in promoted],
    )


def _describe_item(item: PromotionItem, currency: str) -> PromotionItemResponse:
    price = item.promotion_price_minor
    return PromotionItemResponse(
        item_id=item.item_id,
        title=item.title,
        category=item.category,
        list_price=to_major(item.list_price_minor, currency),
        current_price=to_major(item.current_price_minor, currency),
        promotion_price=None if price is None else to_major(price, currency),
        price_id=item.price_id,
        expected=None if item.expected is None else dict(item.expected),
    )


def _fields(promotion: Promotion) -> Mapping[str, object]:
    """Return the fields of a PromotionResponse."""
    names = set(PromotionResponse.model_fields) - {"kind", "phase", "funding", "cost"}
    values = {name: getattr(promotion, name) for name in names}
    return {
        **values,
        "support": list(promotion.support),
        "warnings": list(promotion.warnings),
        "confirmed_rules": list(promotion.confirmed_rules),
        "phase": find_phase(promotion),
        "funding": to_major(promotion.funding_minor, promotion.currency),
        "cost": to_major(promotion.cost_minor, promotion.currency),
    }
