"""The forecasts that come with a demand model, looked up by item and zone; loading them takes no
model library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.contracts.arrays import Float64Array
from features.contracts.calendar import SECONDS_PER_WEEK
from features.contracts.errors import NotFound
from features.contracts.tables import TIMESTAMP
from models.demand.outlook import Outlook
from models.demand.uncertainty.aggregates import Sums
from models.demand.uncertainty.counts import QUANTILES

FILE, DAILY_FILE = "forecasts.parquet", "forecasts_daily.parquet"
_WEEK, _DAY = timedelta(weeks=1), timedelta(days=1)


@dataclass(frozen=True)
class Forecast:
    """Units expected in the business week, or day, that begins at `start` (UTC).

    `price_minor` is the offer price that they assume, minor units; None where no plan told the
    model one.
    """

    start: datetime
    mean: float
    p10: float
    p50: float
    p90: float
    price_minor: float | None = None


class ForecastTable:
    """Rows unique_id, zone, ds, mean, p10, p50, p90, kept as arrays sorted by series and time.

    And price_minor, which tables of days have not, and tables written before it was kept may lack.

    period    how long a row holds, but for an hour where the clocks change
    daily     the same by day, of the series that sell on most days
    sums      distributions of sums over weeks; None for days, and for a model of an earlier release
    """

    def __init__(
        self,
        rows: pa.Table,
        period: timedelta = _WEEK,
        daily: ForecastTable | None = None,
        sums: Sums | None = None,
    ) -> None:
        self._period, self.daily, self._sums = period, daily, sums
        rows = rows.sort_by(
            [("unique_id", "ascending"), ("zone", "ascending"), ("ds", "ascending")]
        )
        self._at = rows["ds"].cast(TIMESTAMP).cast(pa.int64()).to_numpy()
        names = ("mean", "p10", "p50", "p90")
        self._values: Float64Array = np.stack(
            [rows[name].to_numpy().astype(np.float64) for name in names], axis=1
        ).reshape(-1, len(names))
        self._alpha, self._prices = (
            _told(rows, "alpha"),
            _told(rows, "price_minor"),
        )  # NaN where no plan told one
        self._dense = _told(rows, "dense") == 1
        self._slices: dict[tuple[str, str], tuple[int, int]] = {}
        keys = list(zip(rows["unique_id"].to_pylist(), rows["zone"].to_pylist(), strict=True))
        start = 0
        for place, key in enumerate(keys):
            if place + 1 == len(keys) or keys[place + 1] != key:
                self._slices[key] = (start, place + 1)
                start = place + 1

    def of(self, item_id: str, zone: str, horizon: int, now: datetime) -> list[Forecast]:
        """The week (or day) of `now` and those after it, `horizon` in all, fewer when fewer are
        known.

        Raises NotFound for a series without a forecast.
        """
        found = self._slices.get((item_id, zone))
        if found is None:
            raise NotFound(
                f"no forecast for item {item_id!r} in zone {zone!r}",
                hint="Was it sold or for sale lately?",
            )
        start, end = found
        at = int(now.timestamp() * 1e6)
        first = max(start, start + int(np.searchsorted(self._at[start:end], at, side="right")) - 1)
        if first == end - 1 and at >= self._at[first] + self._period // timedelta(microseconds=1):
            return []
        return [self._row(row) for row in range(first, min(end, first + horizon))]

    def total(self, item_id: str, zone: str, weeks: Sequence[Forecast]) -> Forecast | None:
        """What sells in all of these weeks together, which follow each other; None where no sums
        are known.

        Several weeks have the spread that sums from the cut on were seen to have, one week that of
        its own forecast.
        """
        if self._sums is None or not weeks:
            return None
        if len(weeks) == 1:
            return weeks[0]
        start, _ = self._slices[item_id, zone]
        mean = sum(week.mean for week in weeks)
        dense = self._dense[start : start + 1]
        p10, p50, p90 = self._sums.quantiles(np.array([mean]), dense, len(weeks), QUANTILES)[
            0
        ].tolist()
        return Forecast(weeks[0].start, mean, p10, p50, p90)

    def __contains__(self, series: tuple[str, str]) -> bool:
        """Whether the series of this item and zone has forecasts."""
        return series in self._slices

    def outlook(self, zone: str, now: datetime) -> tuple[list[str], Outlook]:
        """Items of `zone` that have a forecast from the week of `now` on, and what is foretold of
        them.

        All have as many weeks as most of them; a table written before sums were learnt has none.
        """
        if self._sums is None:
            return [], Outlook(np.zeros((0, 0)), np.zeros(0), np.zeros(0, bool), Sums((), {}))
        week_before = int((now.timestamp() - SECONDS_PER_WEEK) * 1e6)
        found = []
        for (item_id, place), (start, end) in self._slices.items():
            first = start + int(np.searchsorted(self._at[start:end], week_before, side="right"))
            if place == zone and first < end:
                found.append((item_id, first, end - first))
        n_weeks = max((length for _, _, length in found), default=0)
        whole = [(item_id, first) for item_id, first, length in found if length == n_weeks]
        firsts = np.array([first for _, first in whole], np.int64)
        rows = firsts[:, None] + np.arange(n_weeks)
        mean, alpha, dense = self._values[rows, 0], self._alpha[firsts], self._dense[firsts]
        return [item_id for item_id, _ in whole], Outlook(mean, alpha, dense, self._sums)

    def _row(self, row: int) -> Forecast:
        start, price = datetime.fromtimestamp(self._at[row] / 1e6, UTC), float(self._prices[row])
        mean, p10, p50, p90 = self._values[row].tolist()
        return Forecast(start, mean, p10, p50, p90, None if math.isnan(price) else price)


def load_forecasts(folder: Path) -> ForecastTable:
    """The forecasts of a demand artifact. Raises NotFound when the folder holds none."""
    daily = read_daily(folder)
    by_day = None if daily is None else ForecastTable(daily, _DAY)
    return ForecastTable(read_weekly(folder), daily=by_day, sums=Sums.load(folder))


def read_weekly(folder: Path) -> pa.Table:
    """The rows by week. Raises NotFound when the folder holds none."""
    path = folder / FILE
    if not path.is_file():
        raise NotFound(
            "the demand model came without forecasts",
            where=str(path),
            hint="Try: shopwright train demand",
        )
    return pq.read_table(path)


def read_daily(folder: Path) -> pa.Table | None:
    """The rows by day; None for a model of an earlier release."""
    path = folder / DAILY_FILE
    return pq.read_table(path) if path.is_file() else None


def _told(rows: pa.Table, name: str) -> Float64Array:
    """A column as numbers; NaN where it is null, or missing in a table of an earlier release."""
    column = (
        rows[name].cast(pa.float64())
        if name in rows.column_names
        else pa.nulls(len(rows), pa.float64())
    )
    return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)
