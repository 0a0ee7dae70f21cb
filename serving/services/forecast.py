"""Forecasts of one item, moved along its elasticity when the price has changed since they were made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa

from features.store.database import reading
from features.store.ledger import Ledger
from models.demand.table import ForecastTable, WeekForecast


@dataclass(frozen=True)
class PriceAdjustment:
    """Every number was multiplied by `factor` = (price now / price then) ** elasticity. Prices in minor units."""

    price_then_minor: int
    price_now_minor: int
    elasticity: float
    factor: float


@dataclass(frozen=True)
class ItemForecast:
    """Weekly forecasts, and how they were adjusted; None when they stand as the model made them."""

    weeks: list[WeekForecast]
    adjustment: PriceAdjustment | None


def forecast(
    engine: sa.Engine,
    table: ForecastTable,
    item_id: str,
    zone: str,
    horizon: int,
    *,
    made_at: datetime,
    now: datetime,
    elasticity: float | None,
) -> ItemForecast:
    """The next `horizon` weeks of an item at its price of `now`.

    made_at      when the forecasts were made, business time: they assume the offer price of then
    elasticity   of units to the item's own price; without one nothing is adjusted

    Raises NotFound for an item without a forecast.
    """
    weeks = table.of(item_id, zone, horizon, now)
    if elasticity is None:
        return ItemForecast(weeks, None)
    with reading(engine) as connection:
        ledger = Ledger(connection)
        present = ledger.current([item_id], zone, now).get(item_id)
        former = ledger.current([item_id], zone, made_at).get(item_id)
    if present is None or former is None or present.offer_price_minor == former.offer_price_minor:
        return ItemForecast(weeks, None)
    if min(present.offer_price_minor, former.offer_price_minor) <= 0:
        return ItemForecast(weeks, None)
    factor = (present.offer_price_minor / former.offer_price_minor) ** elasticity
    adjustment = PriceAdjustment(former.offer_price_minor, present.offer_price_minor, elasticity, factor)
    return ItemForecast([_scaled(week, factor) for week in weeks], adjustment)


def _scaled(week: WeekForecast, factor: float) -> WeekForecast:
    return replace(week, mean=week.mean * factor, p10=week.p10 * factor, p50=week.p50 * factor, p90=week.p90 * factor)
