"""`GET /v1/forecasts/{item_id}`: units expected in the coming weeks, or days."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, Field

from features.contracts.money import to_major
from features.contracts.tables import DEFAULT_ZONE
from models.demand.lookup import Forecast
from serving.field_types import Id, ModelResponse, Name
from serving.forecasts.service import ForecastService, Freq, PriceAdjustment
from serving.http.auth import Caller, require
from serving.http.dependencies import inject
from serving.http.parameters import allow_only

router = APIRouter(prefix="/v1/forecasts", tags=["forecasts"])
Forecasts = Annotated[ForecastService, Depends(inject(ForecastService))]
MAX_HORIZON = 13 * 7  # days; the forecasts of a model may end before, which is an error of its own


class WeekResponse(BaseModel):
    """One business week: expected units, and the quantiles around them."""

    week_start: datetime
    mean: float
    p10: float
    p50: float
    p90: float


class DayResponse(BaseModel):
    """One business day of the shop: expected units, and the quantiles around them."""

    day_start: datetime
    mean: float
    p10: float
    p50: float
    p90: float


class TotalResponse(BaseModel):
    """All weeks together: expected units, and the quantiles of their sum."""

    mean: float
    p10: float
    p50: float
    p90: float


class AdjustmentResponse(BaseModel):
    """The price moved since the forecast: `factor` is (price now / price then) ** elasticity.

    Prices and factor are those of the first week that is adjusted. Where a planned price ends,
    weeks differ: each week's numbers, and those of its days, were multiplied by its own of
    `week_factors`.
    """

    price_then: str
    price_now: str
    currency: str
    elasticity: float
    factor: float
    week_factors: list[float] = Field(description="One per week, in order")


class ForecastResponse(BaseModel):
    """Forecasts of one item in one zone, this week (or today) first; `days` are empty unless asked
    for."""

    item_id: str
    zone: str
    weeks: list[WeekResponse]
    days: list[DayResponse]
    total: TotalResponse | None = Field(
        description="Quantiles of the weeks' sum, which are no sums of quantiles; null for days"
    )
    model: ModelResponse
    price_adjustment: AdjustmentResponse | None = Field(
        description="null when the price is the one assumed"
    )


@router.get("/{item_id}", dependencies=[Depends(allow_only("horizon", "zone", "freq"))])
def get_forecast(
    _caller: Annotated[Caller, Depends(require("pricing.read"))],
    forecasts: Forecasts,
    item_id: Annotated[Id, Path()],
    horizon: Annotated[
        int | None,
        Query(
            ge=1,
            le=MAX_HORIZON,
            description="Weeks, or days with freq=D; four weeks when not given",
        ),
    ] = None,
    zone: Name = DEFAULT_ZONE,
    freq: Annotated[
        Freq, Query(description="W: weeks. D: days, of items that sell on most days")
    ] = Freq.WEEK,
) -> ForecastResponse:
    """The coming weeks or days of an item.

    404 when the model knows no such item in this zone, or not by day; 422 when its forecasts end
    before the horizon.
    """
    forecast = forecasts.forecast_item(item_id, zone, horizon, freq)
    periods, total = forecast.periods, forecast.total
    return ForecastResponse(
        item_id=item_id,
        zone=zone,
        weeks=[_describe_week(week) for week in periods] if freq is Freq.WEEK else [],
        days=[_describe_day(day) for day in periods] if freq is Freq.DAY else [],
        total=None if total is None else _describe_total(total),
        model=ModelResponse(name=forecast.version.name, version=forecast.version.version),
        price_adjustment=_describe_adjustment(forecast.adjustment, forecasts.currency(zone)),
    )


def _describe_adjustment(
    adjustment: PriceAdjustment | None, currency: str
) -> AdjustmentResponse | None:
    if adjustment is None:
        return None
    return AdjustmentResponse(
        price_then=to_major(adjustment.price_then_minor, currency),
        price_now=to_major(adjustment.price_now_minor, currency),
        currency=currency,
        elasticity=adjustment.elasticity,
        factor=adjustment.factor,
        week_factors=list(adjustment.week_factors),
    )


def _describe_week(week: Forecast) -> WeekResponse:
    return WeekResponse(
        week_start=week.start, mean=week.mean, p10=week.p10, p50=week.p50, p90=week.p90
    )


def _describe_day(day: Forecast) -> DayResponse:
    return DayResponse(day_start=day.start, mean=day.mean, p10=day.p10, p50=day.p50, p90=day.p90)


def _describe_total(weeks: Forecast) -> TotalResponse:
    return TotalResponse(mean=weeks.mean, p10=weeks.p10, p50=weeks.p50, p90=weeks.p90)
