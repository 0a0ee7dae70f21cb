"""What series and zones sold before the cut: what forecasts are compared with when they are saved
and when they are loaded.

N   series that ever sold
Z   zones in which any of them sold
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.contracts.arrays import Float64Array, ObjectArray
from features.contracts.errors import Damaged
from models.artifact import read_arrays, write_arrays
from models.demand.panel import DemandPanel

_FILE = "history.npz"
# Far from any growth that methods fitted to these sales can predict, and from any seasonal low that
# the history has not had: a forecast beyond it is a fault.
MAX_RATIO = 50.0
_SPAN_WEEKS = 4  # a zone's lowest sales are the mean of so many weeks in a row
_YEAR_WEEKS = 53  # the low of a season returns within them; an older one may have had other causes
_HINT = "Train demand again; is the `quantity` of the imported events right?"


@dataclass(frozen=True)
class SoldHistory:
    """Highest and lowest sales, in units a week.

    item_ids, item_zones, highest     of each series: its highest week, N each
    zones, zone_lowest, zone_highest  of each zone: the mean of its lowest four weeks in a row of
                                      the last year, and its highest week, Z each
    zone_open                         mean share of the forecast weeks that closed days leave, Z
    """

    item_ids: ObjectArray
    item_zones: ObjectArray
    highest: Float64Array
    zones: ObjectArray
    zone_lowest: Float64Array
    zone_highest: Float64Array
    zone_open: Float64Array

    @classmethod
    def from_panel(cls, panel: DemandPanel, horizon: int) -> Self:
        """Return what the series of a panel sold; forecasts of `horizon` weeks follow it."""
        sold = panel.take(np.flatnonzero((panel.units > 0).any(axis=1)))
        zones = np.unique(sold.zones.astype(str))
        ranges = np.zeros((len(zones), 2))
        open_shares = np.ones(len(zones))
        for index, zone in enumerate(zones):
            rows = sold.zones == zone
            ranges[index] = _measure_range(sold.units[rows].sum(axis=0, dtype=np.float64))
            open_shares[index] = sold.forecast_open_shares(horizon)[rows].mean()
        return cls(
            item_ids=sold.item_ids,
            item_zones=sold.zones,
            highest=sold.units.max(axis=1, initial=0.0).astype(np.float64),
            zones=zones.astype(object),
            zone_lowest=ranges[:, 0],
            zone_highest=ranges[:, 1],
            zone_open=open_shares,
        )

    def save(self, folder: Path) -> None:
        """Write the arrays."""
        columns = {column.name: getattr(self, column.name) for column in fields(self)}
        write_arrays(folder / _FILE, **columns)

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """Return what was saved; None for a model of an earlier release."""
        path = folder / _FILE
        return cls(**read_arrays(path)) if path.is_file() else None

    def check(self, rows: pa.Table) -> None:
        """Raise Damaged where weekly forecasts cannot follow these sales.

        They cannot where most series are forecast at MAX_RATIO times their highest week, or where
        a zone's total is that far above its highest week or below its lowest ones. Series that
        never sold have nothing to be compared with.
        """
        forecasts = self._join_forecasts(rows)
        if not len(forecasts):
            return
        self._check_series(forecasts)
        for index, zone in enumerate(self.zones):
            of_zone = forecasts.filter(pc.equal(forecasts["zone"], str(zone)))
            if len(of_zone):
                n_weeks = int(pc.max(of_zone["mean_count"]).as_py())
                self._check_zone(index, pc.sum(of_zone["mean_sum"]).as_py() / n_weeks)

    def _join_forecasts(self, rows: pa.Table) -> pa.Table:
        """Return the highest mean, the sum and the number of weeks of each series that sold."""
        sold = pa.table(
            {
                "unique_id": pa.array(self.item_ids, pa.string()),
                "zone": pa.array(self.item_zones, pa.string()),
                "highest": self.highest,
            }
        )
        keys = ["unique_id", "zone"]
        wanted = rows.select([*keys, "mean"])
        by_series = wanted.group_by(keys).aggregate(
            [("mean", "max"), ("mean", "sum"), ("mean", "count")]
        )
        return by_series.join(sold, keys, join_type="inner")

    def _check_series(self, forecasts: pa.Table) -> None:
        means = forecasts["mean_max"].to_numpy()
        # Of an item that sold a tenth of a kilogram at most, five kilograms are no fault.
        highest = np.maximum(forecasts["highest"].to_numpy(), 1.0)
        is_absurd = means > MAX_RATIO * highest
        if 2 * int(is_absurd.sum()) > len(means):
            worst = int(np.argmax(means / highest))
            row = forecasts.slice(worst, 1).to_pylist()[0]
            raise Damaged(
                f"{int(is_absurd.sum()):,} of {len(means):,} items are forecast at more than "
                f"{MAX_RATIO:g} times their highest week (item {row['unique_id']!r}, zone "
                f"{row['zone']!r}: {row['mean_max']:,.4g} units, at most {row['highest']:,.4g} "
                "were sold in a week)",
                hint=_HINT,
            )

    def _check_zone(self, index: int, weekly_total: float) -> None:
        zone, open_share = self.zones[index], self.zone_open[index]
        lowest, highest = self.zone_lowest[index], max(self.zone_highest[index], 1.0)
        forecast = f"zone {zone!r} is forecast at {weekly_total:,.4g} units a week in all"
        if weekly_total > MAX_RATIO * highest:
            what = f"{forecast}, and sold {highest:,.4g} in its best week"
            raise Damaged(what, hint=_HINT)
        # Where most days ahead are closed, next to nothing sells.
        if open_share >= 0.5 and weekly_total < lowest * open_share / MAX_RATIO:
            what = f"{forecast}, and sold {lowest:,.4g} a week in its weakest four weeks"
            raise Damaged(what, hint=_HINT)


def _measure_range(totals: Float64Array) -> tuple[float, float]:
    """Return the lowest mean of weeks in a row in the last year, and the highest week; both since
    the first week with sales."""
    totals = totals[int(np.argmax(totals > 0)) :]
    n_weeks = min(_SPAN_WEEKS, len(totals))
    spans = np.lib.stride_tricks.sliding_window_view(totals, n_weeks).mean(axis=1)
    return float(spans[-_YEAR_WEEKS:].min()), float(totals.max())
