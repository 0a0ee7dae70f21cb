"""`GET /v1/forecasts/{item_id}`: units expected in the coming weeks."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, Field

from features.contracts.money import to_major
from features.contracts.tables import DEFAULT_ZONE
from models.demand.table import WeekForecast
from serving.api.auth import Caller, require
from serving.api.recommendations import Id, ModelResponse, Name
from serving.api.state import server
from serving.services.forecast import forecast

router = APIRouter(prefix="/v1/forecasts", tags=["forecasts"])
MAX_HORIZON = 13


class WeekResponse(BaseModel):
    """One business week: expected units, and the quantiles around them."""

    week_start: datetime
    mean: float
    p10: float
    p50: float
    p90: float


class AdjustmentResponse(BaseModel):
    """The price is not the one that the forecast assumes; `factor` is (price now / price then) ** elasticity.

    Prices and factor are those of the first week it concerns. Where a planned price ends, weeks differ: each week's
    numbers were multiplied by its own of `week_factors`.
    """

    price_then: str
    price_now: str
    currency: str
    elasticity: float
    factor: float
    week_factors: list[float] = Field(description="One per week, in order")


class ForecastResponse(BaseModel):
    """Forecasts of one item in one zone, this week first."""

    item_id: str
    zone: str
    weeks: list[WeekResponse]
    model: ModelResponse
    price_adjustment: AdjustmentResponse | None = Field(description="null when the price is the one assumed")


@router.get("/{item_id}")
def get_forecast(
    request: Request,
    _caller: Annotated[Caller, Depends(require("pricing.read"))],
    item_id: Annotated[Id, Path()],
    horizon: Annotated[int, Query(ge=1, le=MAX_HORIZON, description="Weeks")] = 4,
    zone: Name = DEFAULT_ZONE,
) -> ForecastResponse:
    """The coming weeks of an item. 404 when the model knows no such item in this zone."""
    here = server(request)
    served = here.champions.forecasts()
    found = forecast(
        here.engine,
        served.table,
        item_id,
        zone,
        horizon,
        now=here.clock.now(),
        timezone=here.settings.timezone,
        elasticity=here.champions.elasticity(item_id, zone),
    )
    adjustment = None
    if found.adjustment is not None:
        currency = here.settings.zone(zone).currency
        adjustment = AdjustmentResponse(
            price_then=to_major(found.adjustment.price_then_minor, currency),
            price_now=to_major(found.adjustment.price_now_minor, currency),
            currency=currency,
            elasticity=found.adjustment.elasticity,
            factor=found.adjustment.factor,
            week_factors=list(found.adjustment.week_factors),
        )
    return ForecastResponse(
        item_id=item_id,
        zone=zone,
        weeks=[_week(week) for week in found.weeks],
        model=ModelResponse(name=served.version.name, version=served.version.version),
        price_adjustment=adjustment,
    )


def _week(week: WeekForecast) -> WeekResponse:
    return WeekResponse(week_start=week.week_start, mean=week.mean, p10=week.p10, p50=week.p50, p90=week.p90)
