"""Forecasts that agree with each other from item to category to department to total.

Bottom-up sums agree by themselves. MinTrace (Wickramasuriya, Athanasopoulos & Hyndman, 2019, with
variances only) moves items towards forecasts made of the sums, each as far as its variance says:
the least-squares answer to both.
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
LEVELS = (
    "total",
    "department",
    "category",
)  # the number of levels of a category's path is their place
_SMOOTHING = 0.2
_MIN_VARIANCE = 1e-6


@dataclass(frozen=True)
class Hierarchy:
    """Nodes above the items: U × N sums, and each node's level, zone and category prefix ('' for
    the total)."""

    sums: sparse.csr_matrix
    levels: StringArray
    zones: ObjectArray
    categories: ObjectArray

    def bottom_up(self, items: Float64Array) -> Float64Array:
        """U × H sums of N × H item forecasts."""
        return np.asarray(self.sums @ items, np.float64)

    def min_trace(
        self,
        items: Float64Array,
        variance: Float64Array,
        nodes: Float64Array,
        node_variance: Float64Array,
    ) -> Float64Array:
        """N × H item forecasts, at least 0, that weigh their own against the nodes' forecasts.

        items N × H with variance N, nodes U × H with node_variance U. Solved for U unknowns, not N.
        """
        variance = np.maximum(variance, _MIN_VARIANCE)
        spread = self.sums.multiply(variance[None, :]).tocsr()
        inner = (spread @ self.sums.T).toarray() + np.diag(np.maximum(node_variance, _MIN_VARIANCE))
        moved = np.linalg.solve(inner, nodes - self.bottom_up(items))
        return np.asarray(np.maximum(items + spread.T @ moved, 0.0), np.float64)


def hierarchy(zones: ObjectArray, categories: ObjectArray) -> Hierarchy:
    """The nodes of items with these zones and categories; a zone is a tree of its own."""
    found: dict[tuple[str, str, str], list[int]] = {}
    for item, (zone, category) in enumerate(zip(zones, categories, strict=True)):
        for depth, level in enumerate(LEVELS):
            name = prefix(str(category), depth) if depth else ""
            found.setdefault((level, str(zone), name), []).append(item)
    keys = sorted(found, key=lambda key: (LEVELS.index(key[0]), key))
    columns = np.concatenate([found[key] for key in keys]) if keys else np.zeros(0, np.int64)
    rows = np.repeat(np.arange(len(keys)), [len(found[key]) for key in keys])
    sums = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(keys), len(zones)))
    named, zone, category = (np.array([key[n] for key in keys], object) for n in range(3))
    return Hierarchy(sums, named.astype(str), zone, category)


def level_table(rows: pa.Table, items: pa.Table, level: str) -> pa.Table:
    """Forecast rows of items as sums of a level: unique_id is the path, "total" for the zone; zone,
    ds and mean.

    items: item_id and category, an item without a category counts towards the total and the path
    "".
    """
    depth = LEVELS.index(level)
    place = pc.index_in(rows["unique_id"], value_set=items["item_id"].combine_chunks())
    category = pc.fill_null(items["category"].take(place), "").to_pylist()
    paths = [prefix(path, depth) if depth else level for path in category]
    named = rows.set_column(0, "unique_id", pa.array(paths, pa.string()))
    keys = ["unique_id", "zone", "ds"]
    sums = named.group_by(keys).aggregate([("mean", "sum")]).rename_columns([*keys, "mean"])
    return sums.sort_by([(key, "ascending") for key in keys])


def reconciled(
    panel: DemandPanel, items: Float64Array, variance: Float64Array, factors: Float32Array
) -> Float64Array:
    """N × H item forecasts after MinTrace with smoothed sums as the nodes' forecasts.

    variance N of the items' weeks; factors N × T what each week does. A node's variance is that of
    its one-step errors.
    """
    tree = hierarchy(panel.zones, panel.categories)
    n_steps = items.shape[1]
    plain = tree.bottom_up((panel.units / factors[:, : panel.n_known]).astype(np.float64))
    level, squared = plain[:, 0].copy(), np.zeros(len(plain))
    for week in range(1, panel.n_known):
        error = plain[:, week] - level
        squared += error**2
        level += _SMOOTHING * error
    node_variance = squared / max(panel.n_known - 1, 1)
    usual = panel.units.mean(axis=1, keepdims=True).astype(np.float64)
    sold = tree.bottom_up(usual)
    weeks = usual * factors[:, panel.n_known : panel.n_known + n_steps]
    lift = tree.bottom_up(weeks) / np.maximum(sold, 1e-9)
    return tree.min_trace(items, variance, level[:, None] * lift, node_variance)
