"""Forecasts of one item, adjusted along its elasticity where its price is not the assumed one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.clock import Clock
from features.contracts.errors import BadInput, NotFound
from features.database import reading
from features.prices.ledger import Ledger
from models.demand.lookup import Forecast, ForecastTable
from models.registry import Version
from models.served_prices import PriceModels
from serving.pricing_inputs.forecast_prices import PriceMove, find_price_moves

_USUAL_WEEKS = 4


class Freq(StrEnum):
    """How long a forecast's periods are, in the letters that users of Nixtla's libraries know."""

    WEEK = "W"
    DAY = "D"

    @property
    def per_week(self) -> int:
        """Periods of a week."""
        return 7 if self is Freq.DAY else 1

    @property
    def usual_horizon(self) -> int:
        """Periods of four weeks, where no horizon is given."""
        return _USUAL_WEEKS * self.per_week

    @property
    def noun(self) -> str:
        """The name of a period."""
        return "day" if self is Freq.DAY else "week"


@dataclass(frozen=True)
class PriceAdjustment:
    """The first price move in the requested weeks: factor = (price now / price then) **
    elasticity.

    Prices in minor units. Every number of a week was multiplied by that week's own of
    `week_factors`; the numbers of a day by that of its week.
    """

    price_then_minor: int
    price_now_minor: int
    elasticity: float
    factor: float
    week_factors: tuple[float, ...]


@dataclass(frozen=True)
class ItemForecast:
    """Weekly or daily forecasts and their adjustment, None where they are as the model made them.

    version  of the demand model
    total    of all weeks together, adjusted like them; None for days, and for a model that has no
             distribution of sums
    """

    version: Version
    periods: list[Forecast]
    adjustment: PriceAdjustment | None
    total: Forecast | None


@dataclass(frozen=True)
class ForecastService:
    """Forecasts by the served demand champion, at the prices of the ledger."""

    settings: Settings
    engine: sa.Engine
    clock: Clock
    models: PriceModels

    def forecast_item(
        self, item_id: str, zone: str, horizon: int | None, freq: Freq = Freq.WEEK
    ) -> ItemForecast:
        """Return the next `horizon` weeks (or days) of an item at the prices of the ledger.

        Without a horizon: four weeks, or as many as are known of them. Where the item's elasticity
        is not known, nothing is adjusted. Raises NotFound for an item without a forecast of that
        frequency, BadInput for a horizon beyond the last one.
        """
        served, now = self.models.forecasts(), self.clock.now()
        table = served.table
        source = _table_of(table, item_id, zone, freq)
        periods = source.look_up(item_id, zone, horizon or freq.usual_horizon, now)
        if horizon is not None and len(periods) < horizon:
            raise horizon_error(horizon, len(periods), freq, where="horizon")
        total = table.sum_weeks(item_id, zone, periods) if freq is Freq.WEEK else None
        forecast = ItemForecast(served.version, periods, None, total)
        elasticity = self.models.elasticity(item_id, zone)
        if elasticity is None or not periods:
            return forecast
        weeks = periods
        if freq is Freq.DAY:
            weeks = table.look_up(item_id, zone, len(periods) // freq.per_week + 1, now)
        moves = self._find_moves(item_id, zone, weeks, now)
        return _adjust(forecast, weeks, moves, elasticity)

    def currency(self, zone: str) -> str:
        """Return the currency of a zone."""
        return self.settings.zone(zone).currency

    def _find_moves(
        self, item_id: str, zone: str, weeks: Sequence[Forecast], now: datetime
    ) -> list[PriceMove | None]:
        with reading(self.engine) as connection:
            history = Ledger(connection).read_history(item_id, zone)
        assumed = ((week.start, week.price_minor) for week in weeks)
        return find_price_moves(history, assumed, now, self.settings.timezone)


def horizon_error(horizon: int, known: int, freq: Freq, *, where: str) -> BadInput:
    """Return the error for a horizon that is longer than the forecasts."""
    return BadInput(
        f"the forecasts reach {known} {freq.noun}s ahead, {horizon} were asked for",
        where=where,
        hint=f"Ask for {known} or fewer, or train a newer model: shopwright train demand"
        if known
        else "Train a newer model: shopwright train demand",
    )


def _table_of(table: ForecastTable, item_id: str, zone: str, freq: Freq) -> ForecastTable:
    """Return the table by week or by day. Raises NotFound for an item without daily forecasts."""
    if freq is Freq.WEEK:
        return table
    daily, series = table.daily, (item_id, zone)
    if series in table and (daily is None or series not in daily):
        raise NotFound(
            f"item {item_id!r} in zone {zone!r} sells on too few days for daily forecasts",
            where="freq",
            hint="Ask for its weeks: freq=W",
        )
    return table if daily is None else daily


def _adjust(
    forecast: ItemForecast,
    weeks: Sequence[Forecast],
    moves: Sequence[PriceMove | None],
    elasticity: float,
) -> ItemForecast:
    """Return the forecast with each week multiplied by the factor of its price move."""
    first = next((move for move in moves if move is not None), None)
    if first is None:
        return forecast
    factors = tuple(1.0 if move is None else move.factor(elasticity) for move in moves)
    adjustment = PriceAdjustment(
        price_then_minor=round(first.then_minor),
        price_now_minor=round(first.now_minor),
        elasticity=elasticity,
        factor=first.factor(elasticity),
        week_factors=factors,
    )
    starts = [week.start for week in weeks]
    periods = [
        _scale(period, factors[bisect_right(starts, period.start) - 1])
        for period in forecast.periods
    ]
    total = forecast.total
    if total is not None and total.mean > 0:
        total = _scale(total, sum(period.mean for period in periods) / total.mean)
    return replace(forecast, periods=periods, adjustment=adjustment, total=total)


def _scale(forecast: Forecast, factor: float) -> Forecast:
    return replace(
        forecast,
        mean=forecast.mean * factor,
        p10=forecast.p10 * factor,
        p50=forecast.p50 * factor,
        p90=forecast.p90 * factor,
    )
