"""Forecasts that agree with each other from item to category to department to total.

Bottom-up sums agree by construction. MinTrace (Wickramasuriya, Athanasopoulos & Hyndman, 2019, with
variances only) moves items towards forecasts made of the aggregates, each as far as its variance
allows: the least-squares answer to both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from features.contracts.arrays import Float32Array, Float64Array, ObjectArray, StringArray
from features.contracts.categories import prefix
from models.demand.panel import DemandPanel

ITEM = "item"
LEVELS = ("total", "department", "category")  # a level's position is the depth of its paths
_SMOOTHING = 0.2
_MIN_VARIANCE = 1e-6


@dataclass(frozen=True)
class Forecasts:
    """Forecasts of n series, n × H, and the variances of their errors, n."""

    mean: Float64Array
    variance: Float64Array


@dataclass(frozen=True)
class Hierarchy:
    """The U aggregates above N items.

    sums         U × N, 1 where an item is part of an aggregate
    levels       U, of LEVELS
    zones        U
    categories   U, the path of the category or department; '' for the total
    """

    sums: sparse.csr_matrix
    levels: StringArray
    zones: ObjectArray
    categories: ObjectArray

    def bottom_up(self, items: Float64Array) -> Float64Array:
        """Return U × H sums of N × H item forecasts."""
        return np.asarray(self.sums @ items, np.float64)

    def min_trace(self, items: Forecasts, aggregates: Forecasts) -> Float64Array:
        """Return N × H item forecasts, at least 0, that agree with the aggregates as MinTrace says.

        It solves for U unknowns, not N.
        """
        variance = np.maximum(items.variance, _MIN_VARIANCE)
        spread = self.sums.multiply(variance[None, :]).tocsr()
        aggregate_variance = np.diag(np.maximum(aggregates.variance, _MIN_VARIANCE))
        inner = (spread @ self.sums.T).toarray() + aggregate_variance
        moved = np.linalg.solve(inner, aggregates.mean - self.bottom_up(items.mean))
        return np.asarray(np.maximum(items.mean + spread.T @ moved, 0.0), np.float64)


def build_hierarchy(zones: ObjectArray, categories: ObjectArray) -> Hierarchy:
    """Return the aggregates of items with these zones and categories; each zone is a tree."""
    members: dict[tuple[str, str, str], list[int]] = {}
    for item, (zone, category) in enumerate(zip(zones, categories, strict=True)):
        for depth, level in enumerate(LEVELS):
            path = prefix(str(category), depth) if depth else ""
            members.setdefault((level, str(zone), path), []).append(item)
    keys = sorted(members, key=lambda key: (LEVELS.index(key[0]), key))
    columns = np.concatenate([members[key] for key in keys]) if keys else np.zeros(0, np.int64)
    rows = np.repeat(np.arange(len(keys)), [len(members[key]) for key in keys])
    sums = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(keys), len(zones)))
    return Hierarchy(
        sums=sums,
        levels=np.array([level for level, _, _ in keys], object).astype(str),
        zones=np.array([zone for _, zone, _ in keys], object),
        categories=np.array([path for _, _, path in keys], object),
    )


def sum_to_level(rows: pa.Table, items: pa.Table, level: str) -> pa.Table:
    """Return forecast rows of a level: unique_id (the path, "total" for a zone), zone, ds, mean.

    rows    unique_id, zone, ds and mean of items
    items   item_id and category; an item without a category is part of the total and of path ""
    """
    depth = LEVELS.index(level)
    positions = pc.index_in(rows["unique_id"], value_set=items["item_id"].combine_chunks())
    category = pc.fill_null(items["category"].take(positions), "").to_pylist()
    paths = [prefix(path, depth) if depth else level for path in category]
    named = rows.set_column(0, "unique_id", pa.array(paths, pa.string()))
    keys = ["unique_id", "zone", "ds"]
    sums = named.group_by(keys).aggregate([("mean", "sum")]).rename_columns([*keys, "mean"])
    return sums.sort_by([(key, "ascending") for key in keys])


def reconcile_to_aggregates(
    panel: DemandPanel, items: Forecasts, factors: Float32Array
) -> Float64Array:
    """Return N × H item forecasts after MinTrace towards exponentially smoothed aggregates.

    factors   N × T, the effect of each week

    The variance of an aggregate is that of its one-step errors.
    """
    tree = build_hierarchy(panel.zones, panel.categories)
    n_steps = items.mean.shape[1]
    sold = tree.bottom_up((panel.units / factors[:, : panel.n_known]).astype(np.float64))
    level, squared = sold[:, 0].copy(), np.zeros(len(sold))
    for week in range(1, panel.n_known):
        error = sold[:, week] - level
        squared += error**2
        level += _SMOOTHING * error
    variance = squared / max(panel.n_known - 1, 1)
    usual = panel.units.mean(axis=1, keepdims=True).astype(np.float64)
    weeks = usual * factors[:, panel.n_known : panel.n_known + n_steps]
    lift = tree.bottom_up(weeks) / np.maximum(tree.bottom_up(usual), 1e-9)
    return tree.min_trace(items, Forecasts(level[:, None] * lift, variance))
