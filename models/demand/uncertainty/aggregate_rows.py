"""Forecast rows of sums, with quantiles of their own: over weeks, and of the nodes above the
items."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.contracts.arrays import Float64Array
from models.demand.reconcile import ITEM, level_table
from models.demand.uncertainty.aggregates import Sums
from models.demand.uncertainty.backtest_calibration import NEAR

_SERIES = ["unique_id", "zone"]


def summed(
    rows: pa.Table, items: pa.Table, level: str, sums: Sums, *, over_weeks: bool
) -> pa.Table:
    """unique_id, zone, ds, mean, p10, p50, p90 of a level; with `over_weeks` all weeks of a series
    are one row.

    rows    unique_id, zone, ds, mean and dense of items, the same weeks of each
    items   item_id and category
    """
    n_weeks = len(pc.unique(rows["ds"]))
    table = rows if level == ITEM else level_table(rows, items, level)
    if over_weeks:
        several = [("ds", "min"), ("mean", "sum"), *([("dense", "any")] if level == ITEM else [])]
        table = (
            table.group_by(_SERIES)
            .aggregate(several)
            .rename_columns([*_SERIES, *(name for name, _ in several)])
        )
        table = table.sort_by([(name, "ascending") for name in _SERIES])
    mean = table["mean"].to_numpy()
    if level != ITEM:
        found = _of_nodes(table, sums, level, n_weeks if over_weeks else None)
    else:
        dense = pc.fill_null(table["dense"], False).to_numpy(zero_copy_only=False)
        found = sums.quantiles(mean, dense, n_weeks if over_weeks else 1)
    columns = [table[name] for name in (*_SERIES, "ds", "mean")] + list(found.T)
    return pa.table(columns, names=[*_SERIES, "ds", "mean", "p10", "p50", "p90"])


def _of_nodes(table: pa.Table, sums: Sums, level: str, n_weeks: int | None) -> Float64Array:
    """rows × 3 quantiles; n_weeks None: of single weeks."""
    spreads, mean = sums.nodes[level], table["mean"].to_numpy()
    if n_weeks is not None:
        return spreads.quantiles(mean, n_weeks)
    _, step = np.unique(table["ds"].to_numpy(), return_inverse=True)
    near = (step < NEAR)[:, None]
    return np.where(near, spreads.quantiles(mean, 1), spreads.far.quantiles(mean))
