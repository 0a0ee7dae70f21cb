"""The served forecasts of some items, in the form that pricing reads from a demand model."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa

from features.contracts.errors import NotFound
from features.contracts.tables import TIMESTAMP
from models.demand.lookup import ForecastTable

_NUMBERS = ("mean", "p10", "p50", "p90", "price_minor")
_FORECASTS = pa.schema(
    [
        ("unique_id", pa.string()),
        ("zone", pa.string()),
        ("ds", TIMESTAMP),
        *((name, pa.float64()) for name in _NUMBERS),
        ("dense", pa.bool_()),
    ]
)


class ServedDemand:
    """Forecasts by week of the items that have some, and distributions of sums over weeks."""

    def __init__(
        self, table: ForecastTable, item_ids: Sequence[str], zone: str, weeks: int, now: datetime
    ) -> None:
        rows: list[dict[str, object]] = []
        for item_id in item_ids:
            try:
                forecasts = table.look_up(item_id, zone, weeks, now)
            except NotFound:
                continue
            series = {"unique_id": item_id, "zone": zone, "dense": table.is_dense(item_id, zone)}
            for week in forecasts:
                numbers = {name: getattr(week, name) for name in _NUMBERS}
                rows.append({**series, "ds": week.start, **numbers})
        self.aggregates = table.aggregates
        self.forecasts = pa.Table.from_pylist(rows, _FORECASTS)
