"""Forecasts of one item, moved along its elasticity where its price is not the one that they assume."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa

from features.store.database import reading
from features.store.ledger import Ledger
from models.demand.table import ForecastTable, WeekForecast
from serving.store.forecast_prices import price_moves


@dataclass(frozen=True)
class PriceAdjustment:
    """The first move of the price in the weeks asked for: factor = (price now / price then) ** elasticity.

    Prices in minor units. Every number of a week was multiplied by that week's factor, one each in `week_factors`.
    """

    price_then_minor: int
    price_now_minor: int
    elasticity: float
    factor: float
    week_factors: tuple[float, ...]


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
    now: datetime,
    timezone: str,
    elasticity: float | None,
) -> ItemForecast:
    """The next `horizon` weeks of an item at the prices that the ledger holds for them.

    timezone     the shop's
    elasticity   of units to the item's own price; without one nothing is adjusted

    Raises NotFound for an item without a forecast.
    """
    weeks = table.of(item_id, zone, horizon, now)
    if elasticity is None:
        return ItemForecast(weeks, None)
    with reading(engine) as connection:
        history = Ledger(connection).history(item_id, zone)
    moves = price_moves(history, ((week.week_start, week.price_minor) for week in weeks), now, timezone)
    first = next((move for move in moves if move is not None), None)
    if first is None:
        return ItemForecast(weeks, None)
    factors = tuple(1.0 if move is None else move.factor(elasticity) for move in moves)
    adjustment = PriceAdjustment(
        round(first.then_minor), round(first.now_minor), elasticity, first.factor(elasticity), factors
    )
    return ItemForecast([_scaled(*each) for each in zip(weeks, factors, strict=True)], adjustment)


def _scaled(week: WeekForecast, factor: float) -> WeekForecast:
    return replace(week, mean=week.mean * factor, p10=week.p10 * factor, p50=week.p50 * factor, p90=week.p90 * factor)
