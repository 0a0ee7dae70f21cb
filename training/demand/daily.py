"""Daily demand: units by day read from facts, and forecast rows by day."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.settings import Settings
from features.contracts.arrays import Float64Array, Int64Array
from features.contracts.calendar import day_starts
from features.contracts.tables import TIMESTAMP
from features.facts.facts import Facts
from features.pipelines.demand import daily_units
from models.demand.daily import DaySales
from models.demand.model import DAILY_FORECASTS
from models.demand.panel import DemandPanel
from models.demand.uncertainty.counts import QUANTILE_NAMES
from training.demand.calendar_signals import classify_days
from training.demand.panel import match_series


def build_day_sales(panel: DemandPanel, facts: Facts, settings: Settings) -> DaySales:
    """Return the units of each series of the panel on each day of its known weeks."""
    end = panel.week_starts[panel.n_known]
    known = panel.week_starts[: panel.n_known]
    starts = [day for week in known for day in day_starts(week, settings.timezone)] + [end]
    units = daily_units(facts.read("events"), starts, as_of=end).to_pyarrow()
    rows, series = match_series(panel, units)
    day = pc.index_in(rows["day_start"], value_set=pa.array(starts, TIMESTAMP))
    zones = sorted(set(panel.zones.tolist()))
    return DaySales(
        n_series=panel.n_series,
        n_known=panel.n_known,
        series=series,
        day=day.to_numpy().astype(np.int64),
        units=rows["units"].to_numpy(),
        kinds=classify_days(settings, panel.week_starts, zones),
        zones=np.searchsorted(np.array(zones, str), panel.zones.astype(str)),
        groups=panel.groups[1],
    )


def build_day_forecasts(
    panel: DemandPanel,
    series: Int64Array,
    means: Float64Array,
    quantiles: Float64Array,
    timezone: str,
) -> pa.Table:
    """Return DAILY_FORECASTS rows of the weeks after the panel's known ones, series by series.

    means       S × weeks × 7, of the S series
    quantiles   S × weeks × 7 × QUANTILES
    """
    weeks = panel.week_starts[panel.n_known : panel.n_known + means.shape[1]]
    starts = [day for week in weeks for day in day_starts(week, timezone)]
    row_series = np.repeat(series, len(starts))
    columns = {
        "unique_id": pa.array(panel.item_ids[row_series], pa.string()),
        "zone": pa.array(panel.zones[row_series], pa.string()),
        "ds": pa.array(starts * len(series), TIMESTAMP),
        "mean": means.ravel(),
        **{name: quantiles[..., q].ravel() for q, name in enumerate(QUANTILE_NAMES)},
    }
    return pa.table(columns, schema=DAILY_FORECASTS)
