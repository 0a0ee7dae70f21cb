"""Are the quantiles of sums right? Of items over several weeks, of categories, departments and
zones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array
from models.demand.blend import segments
from models.demand.panel import DemandPanel
from models.demand.reconcile import ITEM, LEVELS
from training.demand.backtest import Backtester
from training.demand.metrics import interval_coverage, ks_uniform
from training.results import Cell, MetricTable

QUANTILES_OF_SUMS = "Quantiles of sums"
_ENDS = (0.1, 0.9)
_SMALLEST = 1.0  # units foretold a week below which a node is left out
_NOTE = (
    "ours; items: the judged series; nodes: sums over all items, of a unit a week at least. PIT .1 to .9 is .80 when"
    " right, PIT below .95 is what reorder points rest on; coverage is higher where counts are small. added: the sum of"
    " the quantiles of items and weeks"
)


@dataclass(frozen=True)
class SumFold:
    """One kind of sum at one origin: sold n, p10 and p90 n × 2, the same from added quantiles, and
    the PIT n."""

    name: str
    actual: Float64Array
    ends: Float64Array
    added: Float64Array
    pit: Float64Array


def sum_folds(
    shop: Backtester,
    panel: DemandPanel,
    judged: Int64Array,
    origin: int,
    horizon: int,
    rng: np.random.Generator,
) -> list[SumFold]:
    """Judged series over `horizon` weeks; then, level by level, nodes by week and over `horizon`
    weeks."""
    model, known, served = shop.fitted(origin), shop.known(origin), shop.served(origin)
    units = panel.units[:, origin : origin + horizon].astype(np.float64)
    added = model.quantiles(known, served, _ENDS)
    sold, said = units[judged].sum(axis=1), served[judged].sum(axis=1)
    dense = segments(known)[judged] % 2 == 1
    pit = model.sums.pit(sold, said, dense, horizon, rng)
    ends = model.sums.quantiles(said, dense, horizon, _ENDS)
    folds = [SumFold(_over(ITEM, horizon), sold, ends, added[judged].sum(axis=1), pit)]
    tree = shop.nodes.tree
    means, actual = shop.nodes.means(known, shop.rates(origin), served), shop.nodes.units(units)
    summed = np.stack([shop.nodes.units(added[:, :, end]) for end in range(2)], axis=2)
    for level in reversed(LEVELS):
        rows = (tree.levels == level) & (means.mean(axis=1) >= _SMALLEST)
        spreads = model.sums.nodes[level]
        for weeks, name in ((1, f"{level}, a week"), (horizon, _over(level, horizon))):
            sold, said = (each[rows].reshape(-1, weeks).sum(axis=1) for each in (actual, means))
            both = summed[rows].reshape(-1, weeks, 2).sum(axis=1)
            ends, pit = spreads.quantiles(said, weeks, _ENDS), spreads.pit(sold, said, weeks, rng)
            folds.append(SumFold(name, sold, ends, both, pit))
    return folds


def _over(level: str, weeks: int) -> str:
    return f"{level}, {weeks} weeks"


def sums_table(folds: Sequence[Sequence[SumFold]]) -> MetricTable:
    """Coverage and randomised PIT by kind of sum, over all origins; counts are sums at an
    origin."""
    rows: dict[str, list[Cell]] = {}
    counts = []
    for same in zip(*folds, strict=True):
        actual, ends, added, pit = (
            np.concatenate([getattr(each, name) for each in same])
            for name in ("actual", "ends", "added", "pit")
        )
        figures = {
            "coverage p10-p90": interval_coverage(actual, ends[:, 0], ends[:, 1])
            if len(actual)
            else float("nan"),
            "PIT .1 to .9": float(((pit > _ENDS[0]) & (pit <= _ENDS[1])).mean())
            if len(pit)
            else float("nan"),
            "PIT below .95": float((pit <= 0.95).mean()) if len(pit) else float("nan"),
            "PIT KS": ks_uniform(pit) if len(pit) else float("nan"),
            "coverage, added": interval_coverage(actual, added[:, 0], added[:, 1])
            if len(actual)
            else float("nan"),
        }
        for name, value in figures.items():
            rows.setdefault(name, []).append(Cell(value))
        counts.append(round(len(actual) / len(same)))
    columns = tuple(each.name for each in folds[0])
    cells = {name: tuple(values) for name, values in rows.items()}
    return MetricTable(QUANTILES_OF_SUMS, columns, cells, tuple(counts), _NOTE, counted="sums")
