"""The forecasts that come with a demand model, looked up by item and zone.

Loading them takes no model library.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.contracts.arrays import BoolArray, Float64Array, Int64Array
from features.contracts.calendar import SECONDS_PER_WEEK
from features.contracts.errors import Damaged, NotFound
from features.contracts.tables import TIMESTAMP
from models.demand.frozen_forecasts import FrozenForecasts, measure_spread
from models.demand.outlook import Outlook
from models.demand.sold_history import SoldHistory
from models.demand.uncertainty.aggregates import AggregateDistributions
from models.demand.uncertainty.counts import QUANTILE_NAMES

FILE, DAILY_FILE = "forecasts.parquet", "forecasts_daily.parquet"
# No item of a shop sells a billion units a week: a forecast above it is a fault, not demand.
MAX_UNITS = 1e9
_WEEK, _DAY = timedelta(weeks=1), timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Units expected in the business week, or day, that begins at `start` (UTC).

    `price_minor` is the offer price that they assume, minor units; None where the model learnt no
    effect of the price.
    """

    start: datetime
    mean: float
    p10: float
    p50: float
    p90: float
    price_minor: float | None = None


class ForecastTable:
    """Rows unique_id, zone, ds, mean, p10, p50, p90, as arrays sorted by series and time.

    Weekly rows also have price_minor, alpha and dense, which tables of earlier releases may lack.

    period       how long a row is valid (an hour more or less where the clocks change)
    daily        the same by day, of the series that sell on most days
    aggregates   distributions of sums over weeks; None for days, and for a model of an earlier
                 release
    """

    def __init__(
        self,
        rows: pa.Table,
        period: timedelta = _WEEK,
        daily: ForecastTable | None = None,
        aggregates: AggregateDistributions | None = None,
    ) -> None:
        self._period, self.daily, self.aggregates = period, daily, aggregates
        rows = rows.sort_by(
            [("unique_id", "ascending"), ("zone", "ascending"), ("ds", "ascending")]
        )
        self._starts = rows["ds"].cast(TIMESTAMP).cast(pa.int64()).to_numpy()
        self._mean = rows["mean"].to_numpy().astype(np.float64)
        self._quantiles = [rows[name].to_numpy().astype(np.float64) for name in QUANTILE_NAMES]
        self._alpha = _read_column(rows, "alpha")
        self._prices = _read_column(rows, "price_minor")  # NaN where a forecast assumes none
        self._dense = _read_column(rows, "dense") == 1
        self._slices: dict[tuple[str, str], tuple[int, int]] = {}
        keys = list(zip(rows["unique_id"].to_pylist(), rows["zone"].to_pylist(), strict=True))
        start = 0
        for row, key in enumerate(keys):
            if row + 1 == len(keys) or keys[row + 1] != key:
                self._slices[key] = (start, row + 1)
                start = row + 1

    def look_up(self, item_id: str, zone: str, horizon: int, now: datetime) -> list[Forecast]:
        """Return the week (or day) of `now` and those after it, at most `horizon` in all.

        Raises NotFound for a series without a forecast.
        """
        rows = self._slices.get((item_id, zone))
        if rows is None:
            zones = sorted(of_zone for of_item, of_zone in self._slices if of_item == item_id)
            raise NotFound(
                f"no forecast for item {item_id!r} in zone {zone!r}",
                hint=f"It has forecasts in {', '.join(zones)}"
                if zones
                else "Was it sold or for sale lately?",
            )
        start, end = rows
        instant = int(now.timestamp() * 1e6)
        n_begun = int(np.searchsorted(self._starts[start:end], instant, side="right"))
        first = max(start, start + n_begun - 1)
        period = self._period // timedelta(microseconds=1)
        if first == end - 1 and instant >= self._starts[first] + period:
            return []
        return [self._forecast(row) for row in range(first, min(end, first + horizon))]

    def is_dense(self, item_id: str, zone: str) -> bool:
        """Return whether a series with forecasts sold in a quarter of the weeks or more."""
        start, _ = self._slices[item_id, zone]
        return bool(self._dense[start])

    def sum_weeks(self, item_id: str, zone: str, weeks: Sequence[Forecast]) -> Forecast | None:
        """Return the forecast of successive weeks together; None where no sums were fitted.

        Several weeks have the distribution of sums over so many weeks after the cut, one week that
        of its own forecast.
        """
        if self.aggregates is None or not weeks:
            return None
        if len(weeks) == 1:
            return weeks[0]
        start, _ = self._slices[item_id, zone]
        mean = sum(week.mean for week in weeks)
        dense = self._dense[start : start + 1]
        quantiles = self.aggregates.quantiles(np.array([mean]), dense, len(weeks))[0]
        p10, p50, p90 = quantiles.tolist()
        return Forecast(start=weeks[0].start, mean=mean, p10=p10, p50=p50, p90=p90)

    def __contains__(self, series: tuple[str, str]) -> bool:
        """Whether the series of this item and zone has forecasts."""
        return series in self._slices

    def list_zones(self) -> list[str]:
        """Return the zones that have forecasts."""
        return sorted({zone for _, zone in self._slices})

    def list_items(self, zone: str) -> list[str]:
        """Return the items of a zone that have forecasts."""
        return [item_id for item_id, item_zone in self._slices if item_zone == zone]

    def outlook(
        self, zone: str, now: datetime, *, without: Collection[str] = ()
    ) -> tuple[list[str], Outlook]:
        """Return the items of `zone` with a forecast from the week of `now` on, and the forecasts.

        without   items to leave out

        All items have the same number of weeks; those with fewer are left out. A table of an
        earlier release, without sums, has none.
        """
        if self.aggregates is None:
            none = AggregateDistributions((), {})
            return [], Outlook(np.zeros((0, 0)), np.zeros(0), np.zeros(0, bool), none)
        item_ids, rows = self._find_whole(zone, now, without)
        firsts = rows[:, 0] if rows.size else np.zeros(0, np.int64)
        outlook = Outlook(
            self._mean[rows], self._alpha[firsts], self._dense[firsts], self.aggregates
        )
        return item_ids, outlook

    def freeze(self, zone: str, now: datetime) -> FrozenForecasts:
        """Return the forecasts of `zone` from the week of `now` on, as they are kept.

        All items have the same number of weeks; those with fewer are left out.
        """
        item_ids, rows = self._find_whole(zone, now)
        firsts = rows[:, 0] if rows.size else np.zeros(0, np.int64)
        starts = self._starts[rows[0]].tolist() if rows.size else []
        mean = self._mean[rows]
        dispersion, common_error = measure_spread(
            mean, self._alpha[firsts], self._dense[firsts], self.aggregates
        )
        unknown = np.full(len(item_ids), np.nan)
        return FrozenForecasts(
            item_ids=tuple(item_ids),
            week_starts=tuple(datetime.fromtimestamp(start / 1e6, UTC) for start in starts),
            mean=mean,
            price_minor=self._prices[rows],
            dispersion=dispersion,
            elasticity=unknown,
            common_error=common_error,
        )

    def _find_whole(
        self, zone: str, now: datetime, without: Collection[str] = ()
    ) -> tuple[list[str], Int64Array]:
        """Return the items of `zone` with the most weeks from that of `now` on, and their rows
        (items, weeks)."""
        week_before = int((now.timestamp() - SECONDS_PER_WEEK) * 1e6)
        spans = []
        for (item_id, item_zone), (start, end) in self._slices.items():
            n_over = int(np.searchsorted(self._starts[start:end], week_before, side="right"))
            first = start + n_over
            if item_zone == zone and first < end and item_id not in without:
                spans.append((item_id, first, end - first))
        n_weeks = max((length for _, _, length in spans), default=0)
        whole = [(item_id, first) for item_id, first, length in spans if length == n_weeks]
        firsts = np.array([first for _, first in whole], np.int64)
        return [item_id for item_id, _ in whole], firsts[:, None] + np.arange(n_weeks)

    def _forecast(self, row: int) -> Forecast:
        price = float(self._prices[row])
        p10, p50, p90 = (float(values[row]) for values in self._quantiles)
        return Forecast(
            start=datetime.fromtimestamp(self._starts[row] / 1e6, UTC),
            mean=float(self._mean[row]),
            p10=p10,
            p50=p50,
            p90=p90,
            price_minor=None if math.isnan(price) else price,
        )


def load_forecasts(folder: Path) -> ForecastTable:
    """Load the forecasts of a demand artifact.

    Raises NotFound when the folder holds none, and Damaged for absurd ones.
    """
    weekly, daily = read_weekly(folder), read_daily(folder)
    for rows in (weekly, daily):
        if rows is not None:
            check_forecasts(rows)
    sold = SoldHistory.load(folder)
    if sold is not None:
        sold.check(weekly)
    daily_table = None if daily is None else ForecastTable(daily, _DAY)
    aggregates = AggregateDistributions.load(folder)
    return ForecastTable(weekly, daily=daily_table, aggregates=aggregates)


def check_forecasts(rows: pa.Table) -> None:
    """Raise Damaged where a forecast can be none: not a number, negative, above MAX_UNITS, or with
    quantiles out of order."""
    mean, *quantiles = (_read_column(rows, name) for name in ("mean", *QUANTILE_NAMES))
    for name, values in zip(("mean", *QUANTILE_NAMES), (mean, *quantiles), strict=True):
        is_possible = (values >= 0) & (values <= MAX_UNITS)  # not NaN either
        _refuse_absurd(rows, ~is_possible, f"{name} is no number of units")
    for lower, upper in pairwise(quantiles):
        _refuse_absurd(rows, lower > upper, "the quantiles are out of order")


def _refuse_absurd(rows: pa.Table, is_absurd: BoolArray, what: str) -> None:
    if is_absurd.any():
        row = rows.slice(int(is_absurd.argmax()), 1).to_pylist()[0]
        values = ", ".join(f"{name} {row[name]}" for name in ("mean", *QUANTILE_NAMES))
        raise Damaged(
            f"{int(is_absurd.sum()):,} of {len(rows):,} forecasts are absurd: {what} "
            f"(item {row['unique_id']!r}, zone {row['zone']!r}: {values})",
            hint="Train demand again",
        )


def read_weekly(folder: Path) -> pa.Table:
    """Return the rows by week. Raises NotFound when the folder holds none."""
    path = folder / FILE
    if not path.is_file():
        raise NotFound(
            "the demand model came without forecasts",
            where=str(path),
            hint="Try: shopwright train demand",
        )
    return pq.read_table(path)


def read_daily(folder: Path) -> pa.Table | None:
    """Return the rows by day; None for a model of an earlier release."""
    path = folder / DAILY_FILE
    return pq.read_table(path) if path.is_file() else None


def _read_column(rows: pa.Table, name: str) -> Float64Array:
    """Return a column as numbers; NaN where it is null or, in an earlier release, missing."""
    if name not in rows.column_names:
        return np.full(len(rows), np.nan)
    column = rows[name].cast(pa.float64())
    return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)
