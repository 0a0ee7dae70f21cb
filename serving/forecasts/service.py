"""Forecasts of one item, moved along its elasticity where its price is not the one that they
assume."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa

from features.contracts.errors import BadInput, NotFound
from features.database import reading
from features.prices.ledger import Ledger
from models.demand.lookup import Forecast, ForecastTable
from serving.pricing_inputs.forecast_prices import price_moves

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
        """What a period is called."""
        return "day" if self is Freq.DAY else "week"


@dataclass(frozen=True)
class PriceAdjustment:
    """The first move of the price in the weeks asked for: factor = (price now / price then) **
    elasticity.

    Prices in minor units. Every number of a week was multiplied by that week's factor, one each in
    `week_factors`; days by that of their week.
    """

    price_then_minor: int
    price_now_minor: int
    elasticity: float
    factor: float
    week_factors: tuple[float, ...]


@dataclass(frozen=True)
class ItemForecast:
    """Weekly or daily forecasts, and how they were adjusted; None when they stand as the model made
    them.

    total   of all weeks together, adjusted like them; None for days, and for a model that knows no
            sums
    """

    periods: list[Forecast]
    adjustment: PriceAdjustment | None
    total: Forecast | None


def forecast(
    engine: sa.Engine,
    table: ForecastTable,
    item_id: str,
    zone: str,
    horizon: int | None,
    *,
    now: datetime,
    timezone: str,
    elasticity: float | None,
    freq: Freq = Freq.WEEK,
) -> ItemForecast:
    """The next `horizon` weeks (or days) of an item at the prices that the ledger holds for them.

    horizon      None: four weeks, or what is known of them
    timezone     the shop's
    elasticity   of units to the item's own price; without one nothing is adjusted

    Raises NotFound for an item without a forecast of that frequency, BadInput for a horizon beyond
    the last one.
    """
    if (
        freq is Freq.DAY
        and (item_id, zone) in table
        and (table.daily is None or (item_id, zone) not in table.daily)
    ):
        raise NotFound(
            f"item {item_id!r} in zone {zone!r} sells on too few days for daily forecasts",
            where="freq",
            hint="Ask for its weeks: freq=W",
        )
    source = table.daily if freq is Freq.DAY and table.daily is not None else table
    found = source.look_up(item_id, zone, horizon or freq.usual_horizon, now)
    if horizon is not None and len(found) < horizon:
        raise beyond(horizon, len(found), freq, where="horizon")
    total = table.sum_weeks(item_id, zone, found) if freq is Freq.WEEK else None
    if elasticity is None or not found:
        return ItemForecast(found, None, total)
    weeks = (
        table.look_up(item_id, zone, len(found) // freq.per_week + 1, now)
        if freq is Freq.DAY
        else found
    )
    with reading(engine) as connection:
        history = Ledger(connection).history(item_id, zone)
    moves = price_moves(history, ((week.start, week.price_minor) for week in weeks), now, timezone)
    first = next((move for move in moves if move is not None), None)
    if first is None:
        return ItemForecast(found, None, total)
    factors = tuple(1.0 if move is None else move.factor(elasticity) for move in moves)
    adjustment = PriceAdjustment(
        round(first.then_minor),
        round(first.now_minor),
        elasticity,
        first.factor(elasticity),
        factors,
    )
    starts = [week.start for week in weeks]
    moved = [_scaled(each, factors[bisect_right(starts, each.start) - 1]) for each in found]
    if total is not None and total.mean > 0:
        total = _scaled(total, sum(each.mean for each in moved) / total.mean)
    return ItemForecast(moved, adjustment, total)


def beyond(horizon: int, known: int, freq: Freq, *, where: str) -> BadInput:
    """A horizon that reaches further than what was foretold."""
    return BadInput(
        f"the forecasts reach {known} {freq.noun}s ahead, {horizon} were asked for",
        where=where,
        hint=f"Ask for {known} or fewer, or train a newer model: shopwright train demand"
        if known
        else "Train a newer model: shopwright train demand",
    )


def _scaled(each: Forecast, factor: float) -> Forecast:
    return replace(
        each,
        mean=each.mean * factor,
        p10=each.p10 * factor,
        p50=each.p50 * factor,
        p90=each.p90 * factor,
    )
