"""Forecast units of a zone's items over the horizon of the pricing rules."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.contracts.arrays import BoolArray, Float64Array
from features.contracts.tables import TIMESTAMP
from features.prices.ledger import Price
from models.demand.uncertainty.aggregates import AggregateDistributions
from models.demand.uncertainty.counts import P10, P50, P90
from serving.pricing_inputs.forecast_prices import find_price_moves

_COLUMNS = ("mean", "p10", "p50", "p90", "price_minor", "dense")


class Forecaster(Protocol):
    """A demand model as far as prices need it."""

    @property
    def forecasts(self) -> pa.Table:
        """Rows unique_id, zone, ds, mean, p10, p50, p90: one per item, zone and week.

        They may have price_minor and dense, which models of earlier releases lack.
        """
        ...

    @property
    def aggregates(self) -> AggregateDistributions | None:
        """Distributions of sums over weeks; None for a model of an earlier release."""
        ...


@dataclass(frozen=True, kw_only=True)
class HorizonForecast:
    """Units of n items in each of the horizon's W weeks, and over all of them.

    weeks       float64 (n, W, 4): mean, p10, p50, p90
    assumed     float64 (n, W): the offer price that each forecast assumes, minor units; NaN where
                the forecast was made without a planned price
    dense       bool (n,): items that sold in a quarter of the weeks or more
    aggregates  distributions of sums over weeks; None for a model of an earlier release: its sums
                of quantiles give an interval that is too wide
    """

    item_ids: list[str]
    week_starts: list[datetime]
    weeks: Float64Array
    assumed: Float64Array
    dense: BoolArray
    aggregates: AggregateDistributions | None = None

    @cached_property
    def mean(self) -> Float64Array:
        return np.asarray(self.weeks[:, :, 0].sum(axis=1))

    @cached_property
    def quantiles(self) -> Float64Array:
        """(n, 3): p10, p50 and p90 of the units of all weeks together."""
        n_weeks = len(self.week_starts)
        if n_weeks <= 1 or self.aggregates is None:
            return np.asarray(self.weeks[:, :, 1:].sum(axis=1))
        return self.aggregates.quantiles(self.mean, self.dense, n_weeks)

    @property
    def p10(self) -> Float64Array:
        return self.quantiles[:, P10]

    @property
    def p50(self) -> Float64Array:
        return self.quantiles[:, P50]

    @property
    def p90(self) -> Float64Array:
        return self.quantiles[:, P90]

    def with_items(self, item_ids: Sequence[str]) -> HorizonForecast:
        """Return the forecast with the items that it lacks: nothing is known to be sold of them."""
        known = set(self.item_ids)
        missing = [item_id for item_id in dict.fromkeys(item_ids) if item_id not in known]
        n_missing, n_weeks = len(missing), len(self.week_starts)
        return replace(
            self,
            item_ids=[*self.item_ids, *missing],
            weeks=np.concatenate([self.weeks, np.zeros((n_missing, n_weeks, 4))]),
            assumed=np.concatenate([self.assumed, np.full((n_missing, n_weeks), math.nan)]),
            dense=np.concatenate([self.dense, np.zeros(n_missing, bool)]),
        )

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


def select_horizon(
    model: Forecaster,
    zone: str,
    now: datetime,
    weeks: int,
    item_ids: Sequence[str] | None = None,
) -> HorizonForecast:
    """Return the first `weeks` weeks that end after `now`, of every item with that many weeks.

    With `item_ids`, other items are left out.
    """
    forecasts = model.forecasts
    week_before = pa.scalar(now - timedelta(weeks=1), TIMESTAMP)
    not_over = pc.greater(forecasts["ds"].cast(TIMESTAMP), week_before)
    later = forecasts.filter(pc.and_(pc.equal(forecasts["zone"], zone), not_over))
    starts = sorted(pc.unique(later["ds"]).to_pylist())[:weeks]
    chosen = later.filter(pc.is_in(later["ds"], pa.array(starts, later["ds"].type)))
    if item_ids is not None:
        chosen = chosen.filter(pc.is_in(chosen["unique_id"], pa.array(list(item_ids), pa.string())))
    for name in ("price_minor", "dense"):
        if name not in chosen.column_names:
            chosen = chosen.append_column(name, pa.nulls(chosen.num_rows, pa.float64()))
    counts = chosen.group_by("unique_id").aggregate([("ds", "count")])
    complete = counts.filter(pc.equal(counts["ds_count"], len(starts)))["unique_id"]
    rows = chosen.filter(pc.is_in(chosen["unique_id"], complete.combine_chunks()))
    rows = rows.sort_by([("unique_id", "ascending"), ("ds", "ascending")])
    columns = [
        rows[name].cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
        for name in _COLUMNS
    ]
    values = np.stack(columns, axis=1).reshape(len(complete), len(starts), len(_COLUMNS))
    return HorizonForecast(
        item_ids=rows["unique_id"].to_pylist()[:: max(len(starts), 1)],
        week_starts=starts,
        weeks=values[:, :, :4],
        assumed=values[:, :, 4],
        dense=values[:, 0, 5] == 1 if len(starts) else np.zeros(len(complete), bool),
        aggregates=model.aggregates,
    )
