"""Forecasts of one item, adjusted along its elasticity where its price is not the assumed one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.arrays import Float64Array
from features.contracts.calendar import add_weeks, find_week_start
from features.contracts.categories import levels as split_levels
from features.contracts.clock import Clock
from features.contracts.errors import BadInput, NotFound, Unavailable
from features.contracts.tables import ITEMS
from features.database import reading
from features.facts.off_sale import find_off_sale
from features.facts.stored_columns import read_stored_columns
from features.prices.currencies import find_unknown_zone
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
class SumForecast:
    """Weekly forecasts of many items together, at the prices that the model was given.

    n_items   how many are in the sum
    total     of the first `n_total_weeks` weeks together
    """

    version: Version
    n_items: int
    weeks: list[Forecast]
    total: Forecast
    n_total_weeks: int


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
        if (item_id, zone) not in table:
            self._refuse_unknown_zone(zone)
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

    def forecast_category(self, category: str, zone: str, horizon: int) -> SumForecast:
        """Return the next weeks of all items of a category with those below it; "" is the zone.

        Sums have quantiles of their own, which know that items sell well or badly together. Items
        off sale are left out. Raises NotFound for a category none of whose items has a forecast,
        Unavailable for a model of an earlier release.
        """
        from models.demand.reconcile import LEVELS  # here, because a server is ready without it

        served, now = self.models.forecasts(), self.clock.now()
        items = self._list_items(category)
        known, outlook = served.table.outlook(zone, now, without=find_off_sale(self.settings, now))
        rows = [row for row, item_id in enumerate(known) if items is None or item_id in items]
        if not rows:
            self._refuse_unknown_zone(zone)
            what = f"no item of {category!r}" if category else "no item"
            raise NotFound(
                f"{what} in zone {zone!r} has a forecast", hint="Try: shopwright train demand"
            )
        level = LEVELS[min(len(split_levels(category)), len(LEVELS) - 1)]
        spreads = outlook.aggregates.levels.get(level)
        if spreads is None:
            raise Unavailable("the demand model has no sums", hint="Train demand again")
        mean = outlook.mean[rows].sum(axis=0)[:horizon]
        quantiles = spreads.quantiles_by_week(mean)
        first = find_week_start(now, self.settings.timezone)
        weeks = [
            _make_forecast(add_weeks(first, step, self.settings.timezone), mean[step], row)
            for step, row in enumerate(quantiles)
        ]
        n_total = min(_USUAL_WEEKS, len(mean))
        whole = mean[:n_total].sum(keepdims=True)
        total = _make_forecast(first, whole[0], spreads.quantiles(whole, n_total)[0])
        return SumForecast(served.version, len(rows), weeks, total, n_total)

    def _list_items(self, category: str) -> frozenset[str] | None:
        """Return the items of a category and of those below it; None for all there are."""
        if not category:
            return None
        folder = self.settings.home / "tables"
        rows = read_stored_columns(folder, ITEMS, ("item_id", "category")).to_pylist()
        return frozenset(
            row["item_id"]
            for row in rows
            if f"{row['category'] or ''} > ".startswith(f"{category} > ")
        )

    def _refuse_unknown_zone(self, zone: str) -> None:
        with reading(self.engine) as connection:
            error = find_unknown_zone(self.settings, connection, zone)
        if error is not None:
            raise NotFound(error.what, where="zone", hint=error.hint)

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


def _make_forecast(start: datetime, mean: float, quantiles: Float64Array) -> Forecast:
    p10, p50, p90 = quantiles.tolist()
    return Forecast(start=start, mean=float(mean), p10=p10, p50=p50, p90=p90)


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
