"""`POST /v1/prices/simulate`, `/v1/promotions/simulate` and `/v1/promotions/suggest`; nothing is
written."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from features.contracts.tables import DEFAULT_ZONE
from models.pricing.promotions.what_if import MAX_PRICES
from serving.field_types import Id, Money
from serving.http.auth import Caller, require
from serving.http.bodies import LargeBodyRoute
from serving.http.dependencies import inject
from serving.http.parameters import allow_only, check_text
from serving.what_if.plan_documents import PlanRequest, PromotionPlanResponse
from serving.what_if.price_documents import PriceSimulationResponse
from serving.what_if.promotion_documents import PromotionRequest, PromotionSimulationResponse
from serving.what_if.service import WhatIfService

router = APIRouter(
    tags=["prices"],
    dependencies=[Depends(check_text), Depends(allow_only())],
    route_class=LargeBodyRoute,
)
Reader = Annotated[Caller, Depends(require("pricing.read"))]
WhatIf = Annotated[WhatIfService, Depends(inject(WhatIfService))]


class PricesRequest(BaseModel):
    """An item and the prices to look at, in major units."""

    model_config = ConfigDict(extra="forbid")

    item_id: Id
    prices: list[Money] = Field(min_length=1, max_length=MAX_PRICES)
    zone: Id = DEFAULT_ZONE


@router.post("/v1/prices/simulate")
def post_prices(_caller: Reader, what_if: WhatIf, body: PricesRequest) -> PriceSimulationResponse:
    """Expected units, revenue and profit of an item at each price, with intervals."""
    return what_if.simulate_prices(body.item_id, body.prices, body.zone)


@router.post("/v1/promotions/simulate")
def post_promotion(
    _caller: Reader, what_if: WhatIf, body: PromotionRequest
) -> PromotionSimulationResponse:
    """Effect of a promotion, its conflicts with others, and where the law forbids to announce
    it."""
    return what_if.simulate_promotion(body)


@router.post("/v1/promotions/suggest")
def post_plan(_caller: Reader, what_if: WhatIf, body: PlanRequest) -> PromotionPlanResponse:
    """Which of some items to promote, how deep and in which weeks, within limits and the law."""
    return what_if.suggest_promotions(body)
