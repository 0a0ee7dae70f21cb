"""Forecast units of a zone's items over the horizon of the pricing rules."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.contracts.arrays import Float64Array
from features.contracts.tables import TIMESTAMP
from features.prices.ledger import Price
from serving.pricing_inputs.forecast_prices import find_price_moves

_COLUMNS = ("mean", "p10", "p50", "p90", "price_minor")


@dataclass(frozen=True)
class HorizonForecast:
    """Units of n items in each of the horizon's W weeks, and their sums over the weeks.

    weeks    float64 (n, W, 4): mean, p10, p50, p90
    assumed  float64 (n, W): the offer price that each forecast assumes, minor units; NaN where the
             forecast was made without a planned price

    A sum of quantiles is the quantile of the sum only when all weeks rise and fall together: the
    interval is a wide one.
    """

    item_ids: list[str]
    week_starts: list[datetime]
    weeks: Float64Array
    assumed: Float64Array

    @cached_property
    def mean(self) -> Float64Array:
        return self._sum_weeks(0)

    @cached_property
    def p10(self) -> Float64Array:
        return self._sum_weeks(1)

    @cached_property
    def p50(self) -> Float64Array:
        return self._sum_weeks(2)

    @cached_property
    def p90(self) -> Float64Array:
        return self._sum_weeks(3)

    def at_ledger_prices(
        self,
        histories: Mapping[str, Sequence[Price]],
        elasticity: Float64Array,
        now: datetime,
        timezone: str,
    ) -> HorizonForecast:
        """Return the forecast at the prices of the ledger, where these differ from the assumed.

        `histories` are the ledger's rows by item; `elasticity` (n,) is NaN where none is known:
        the units of such an item do not change.
        """
        factors = np.ones(self.assumed.shape)
        for row in np.flatnonzero(np.isfinite(elasticity)):
            assumed = [None if math.isnan(price) else price for price in self.assumed[row].tolist()]
            weeks = zip(self.week_starts, assumed, strict=True)
            history = histories.get(self.item_ids[row], ())
            moves = find_price_moves(history, weeks, now, timezone)
            factors[row] = [
                1.0 if move is None else move.factor(float(elasticity[row])) for move in moves
            ]
        return replace(self, weeks=self.weeks * factors[:, :, None])

    def _sum_weeks(self, column: int) -> Float64Array:
        return np.asarray(self.weeks[:, :, column].sum(axis=1))


def select_horizon(
    forecasts: pa.Table, zone: str, now: datetime, weeks: int, item_ids: Sequence[str] | None = None
) -> HorizonForecast:
    """Return the first `weeks` weeks that end after `now`, of every item with that many weeks.

    `forecasts` has the columns unique_id, zone, ds, mean, p10, p50, p90, and may have price_minor.
    With `item_ids`, other items are left out.
    """
    week_before = pa.scalar(now - timedelta(weeks=1), TIMESTAMP)
    not_over = pc.greater(forecasts["ds"].cast(TIMESTAMP), week_before)
    later = forecasts.filter(pc.and_(pc.equal(forecasts["zone"], zone), not_over))
    starts = sorted(pc.unique(later["ds"]).to_pylist())[:weeks]
    chosen = later.filter(pc.is_in(later["ds"], pa.array(starts, later["ds"].type)))
    if item_ids is not None:
        chosen = chosen.filter(pc.is_in(chosen["unique_id"], pa.array(list(item_ids), pa.string())))
    if "price_minor" not in chosen.column_names:
        chosen = chosen.append_column("price_minor", pa.nulls(chosen.num_rows, pa.float64()))
    counts = chosen.group_by("unique_id").aggregate([("ds", "count")])
    complete = counts.filter(pc.equal(counts["ds_count"], len(starts)))["unique_id"]
    rows = chosen.filter(pc.is_in(chosen["unique_id"], complete.combine_chunks()))
    rows = rows.sort_by([("unique_id", "ascending"), ("ds", "ascending")])
    columns = [rows[name].to_numpy(zero_copy_only=False).astype(np.float64) for name in _COLUMNS]
    values = np.stack(columns, axis=1).reshape(len(complete), len(starts), len(_COLUMNS))
    return HorizonForecast(
        item_ids=rows["unique_id"].to_pylist()[:: max(len(starts), 1)],
        week_starts=starts,
        weeks=values[:, :, :4],
        assumed=values[:, :, 4],
    )
