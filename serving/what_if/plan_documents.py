"""The JSON of a plan of promotions, over HTTP and on the command line."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field

from features.contracts.money import to_major
from features.contracts.tables import DEFAULT_ZONE
from models.pricing.promotions.weekly_plan import MAX_WEEKS, PlanLimits
from models.pricing.rules import PricingRules
from serving.field_types import Id, Text
from serving.what_if.effect_documents import (
    EffectResponse,
    MoneyResponse,
    describe_effect,
    describe_money,
)

if TYPE_CHECKING:
    from serving.what_if.promotion_plan import SuggestedPromotions

MAX_PLANNED_ITEMS = 200  # of one plan over HTTP


class PlanRequest(BaseModel):
    """Items to plan promotions of, and the limits; shares are 0 to 1."""

    model_config = ConfigDict(extra="forbid")

    item_ids: list[Id] = Field(min_length=1, max_length=MAX_PLANNED_ITEMS)
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
                net=describe_effect(suggestion.net, currency),
                evidence_grade=str(suggestion.evidence_grade),
                reasons=list(suggestion.reasons),
            )
            for suggestion in plan.suggestions
        ],
        net_profit=MoneyResponse(**describe_money(plan.net_profit, currency)),
        left_out=dict(sorted(plan.left_out.items(), key=lambda entry: (-entry[1], entry[0]))),
        missing=list(suggested.missing),
        notes=list(suggested.notes),
    )
