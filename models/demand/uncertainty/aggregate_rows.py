"""Forecast rows of aggregates, with quantiles of their own: over weeks, and over items."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.contracts.arrays import Float64Array
from models.demand.reconcile import ITEM, sum_to_level
from models.demand.uncertainty.aggregates import NEAR, AggregateDistributions, LevelSpreads
from models.demand.uncertainty.counts import QUANTILE_NAMES

_SERIES = ["unique_id", "zone"]


def aggregate_forecasts(
    rows: pa.Table,
    items: pa.Table,
    level: str,
    distributions: AggregateDistributions,
    *,
    over_weeks: bool,
) -> pa.Table:
    """Return unique_id, zone, ds, mean, p10, p50, p90 of a level, by week or of all weeks together.

    rows         unique_id, zone, ds, mean and dense of items, the same weeks of each
    items        item_id and category
    over_weeks   all weeks of a series are one row, with the first week's ds
    """
    n_weeks = len(pc.unique(rows["ds"]))
    table = rows if level == ITEM else sum_to_level(rows, items, level)
    if over_weeks:
        table = _sum_weeks(table, with_dense=level == ITEM)
    n_summed = n_weeks if over_weeks else 1
    mean = table["mean"].to_numpy()
    if level == ITEM:
        dense = pc.fill_null(table["dense"], False).to_numpy(zero_copy_only=False)
        quantiles = distributions.quantiles(mean, dense, n_summed)
    elif over_weeks:
        quantiles = distributions.levels[level].quantiles(mean, n_weeks)
    else:
        quantiles = _quantiles_by_week(table, distributions.levels[level])
    names = [*_SERIES, "ds", "mean"]
    columns = [table[name] for name in names] + list(quantiles.T)
    return pa.table(columns, names=[*names, *QUANTILE_NAMES])


def _sum_weeks(table: pa.Table, *, with_dense: bool) -> pa.Table:
    """Return one row a series: its first week, its mean of all weeks, whether it is dense."""
    aggregations = [("ds", "min"), ("mean", "sum"), *([("dense", "any")] if with_dense else [])]
    names = [*_SERIES, *(name for name, _ in aggregations)]
    sums = table.group_by(_SERIES).aggregate(aggregations).rename_columns(names)
    return sums.sort_by([(name, "ascending") for name in _SERIES])


def _quantiles_by_week(table: pa.Table, spreads: LevelSpreads) -> Float64Array:
    """Return rows × 3 quantiles of single weeks."""
    mean = table["mean"].to_numpy()
    _, step = np.unique(table["ds"].to_numpy(), return_inverse=True)
    near = (step < NEAR)[:, None]
    return np.where(near, spreads.quantiles(mean, 1), spreads.far.quantiles(mean))
