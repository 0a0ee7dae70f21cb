"""`GET /v1/forecasts/{item_id}`: units expected in the coming weeks, or days."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, Field

from features.contracts.money import to_major
from features.contracts.tables import DEFAULT_ZONE
from models.demand.lookup import Forecast
from serving.forecasts.service import Freq, forecast
from serving.http.auth import Caller, require
from serving.http.parameters import only
from serving.http.types import Id, ModelResponse, Name
from serving.server import server

router = APIRouter(prefix="/v1/forecasts", tags=["forecasts"])
MAX_HORIZON = 13 * 7  # days; what a model foretold may end before, and says so


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
    """The price is not the one that the forecast assumes; `factor` is (price now / price then) **
    elasticity.

    Prices and factor are those of the first week it concerns. Where a planned price ends, weeks
    differ: each week's numbers, and those of its days, were multiplied by its own of
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


@router.get("/{item_id}", dependencies=[Depends(only("horizon", "zone", "freq"))])
def get_forecast(
    request: Request,
    _caller: Annotated[Caller, Depends(require("pricing.read"))],
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
    here = server(request)
    served = here.served_models.forecasts()
    found = forecast(
        here.engine,
        served.table,
        item_id,
        zone,
        horizon,
        now=here.clock.now(),
        timezone=here.settings.timezone,
        elasticity=here.served_models.elasticity(item_id, zone),
        freq=freq,
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
        weeks=[_week(each) for each in found.periods] if freq is Freq.WEEK else [],
        days=[_day(each) for each in found.periods] if freq is Freq.DAY else [],
        total=None if found.total is None else _total(found.total),
        model=ModelResponse(name=served.version.name, version=served.version.version),
        price_adjustment=adjustment,
    )


def _week(week: Forecast) -> WeekResponse:
    return WeekResponse(
        week_start=week.start, mean=week.mean, p10=week.p10, p50=week.p50, p90=week.p90
    )


def _day(day: Forecast) -> DayResponse:
    return DayResponse(day_start=day.start, mean=day.mean, p10=day.p10, p50=day.p50, p90=day.p90)


def _total(weeks: Forecast) -> TotalResponse:
    return TotalResponse(mean=weeks.mean, p10=weeks.p10, p50=weeks.p50, p90=weeks.p90)
