"""Figures of a demand evaluation by segment, by week ahead, by volume and by level of the
hierarchy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array
from features.contracts.categories import codes
from models.demand.blend import segment_name
from models.demand.uncertainty.counts import QUANTILES
from training.demand.backtest import Fold
from training.demand.metrics import bias, interval_coverage, ks_uniform, pinball, wmape
from training.results import OURS, Cell, MetricTable

BY_SEGMENT, BY_WEEK, BY_VOLUME, BY_LEVEL = (
    "WMAPE by segment",
    "WMAPE by week ahead",
    "Quantiles by volume",
    "WMAPE by level",
)
RECONCILED = "Shopwright, MinTrace"
LEVELS = {"department": 1, "category": 2}
_MIN_SERIES = 20
_ONE_METHOD = "ours; fifths of the series by weekly units before the first origin, smallest first"


def all_tables(folds: Sequence[Fold]) -> tuple[MetricTable, ...]:
    """In the order of the report."""
    return by_segment(folds), by_week(folds), by_volume(folds), by_level(folds)


def by_segment(folds: Sequence[Fold]) -> MetricTable:
    """Segments of few series are left out."""
    segment = np.concatenate([fold.segment for fold in folds])
    found, counts = np.unique(segment, return_counts=True)
    kept = [
        int(each)
        for each, count in zip(found, counts, strict=True)
        if count >= _MIN_SERIES * len(folds)
    ]
    actual = np.concatenate([fold.actual for fold in folds])
    rows = {}
    for name in _methods(folds):
        said = np.concatenate([_said(fold, name) for fold in folds])
        rows[name] = [_wmape(actual[segment == each], said[segment == each]) for each in kept]
    sizes = [round((segment == each).sum() / len(folds)) for each in kept]
    return _table(BY_SEGMENT, tuple(segment_name(each) for each in kept), rows, sizes)


def by_week(folds: Sequence[Fold]) -> MetricTable:
    """How errors grow with the horizon."""
    actual = np.concatenate([fold.actual for fold in folds])
    weeks = range(actual.shape[1])
    rows = {}
    for name in _methods(folds):
        said = np.concatenate([_said(fold, name) for fold in folds])
        rows[name] = [_wmape(actual[:, week], said[:, week]) for week in weeks]
    return _table(
        BY_WEEK,
        tuple(f"week {week + 1}" for week in weeks),
        rows,
        [len(folds[0].actual)] * len(weeks),
    )


def by_volume(folds: Sequence[Fold]) -> MetricTable:
    """Are the quantiles right for small and for large series?"""
    rows: dict[str, list[float]] = {}
    for fifth in range(5):
        actual, means, quantiles, pit = (
            np.concatenate(part)
            for part in zip(*(_of_fifth(fold, fifth) for fold in folds), strict=True)
        )
        figures = {
            "coverage p10-p90": interval_coverage(actual, quantiles[..., 0], quantiles[..., 2]),
            "PIT KS": ks_uniform(pit.ravel()),
            "bias": bias(actual, means) if actual.sum() > 0 else float("nan"),
            **{
                f"pinball p{q * 100:.0f}": pinball(actual, quantiles[..., n], q)
                for n, q in enumerate(QUANTILES)
            },
        }
        for name, value in figures.items():
            rows.setdefault(name, []).append(value)
    counts = [int((folds[0].bucket == fifth).sum()) for fifth in range(5)]
    return _table(
        BY_VOLUME, tuple(f"fifth {n + 1}" for n in range(5)), rows, counts, note=_ONE_METHOD
    )


def _of_fifth(
    fold: Fold, fifth: int
) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array]:
    rows = fold.bucket == fifth
    return fold.actual[rows], fold.means[rows], fold.quantiles[rows], fold.pit[rows]


def by_level(folds: Sequence[Fold]) -> MetricTable:
    """Sums of item forecasts against sums of what sold: forecasts of all levels agree with each
    other."""
    rows: dict[str, list[float]] = {}
    counts = []
    for depth in (None, *sorted(LEVELS.values(), reverse=True), 0):
        members = [_members(fold, depth) for fold in folds]
        counts.append(int(members[0].max()) + 1)
        for name in (*_methods(folds), RECONCILED):
            sums = [
                (_summed(fold.actual, each), _summed(_said(fold, name), each))
                for fold, each in zip(folds, members, strict=True)
            ]
            actual, said = (np.concatenate(part) for part in zip(*sums, strict=True))
            rows.setdefault(name, []).append(wmape(actual, said))
    return _table(BY_LEVEL, ("item", "category", "department", "total"), rows, counts)


def _members(fold: Fold, depth: int | None) -> Int64Array:
    return (
        np.arange(len(fold.actual))
        if depth is None
        else codes([str(c) for c in fold.categories], depth)
    )


def _summed(values: Float64Array, members: Int64Array) -> Float64Array:
    sums = np.zeros((int(members.max()) + 1, values.shape[1]))
    np.add.at(sums, members, values)
    return sums


def _methods(folds: Sequence[Fold]) -> list[str]:
    return [OURS, *folds[0].baselines]


def _said(fold: Fold, name: str) -> Float64Array:
    if name == RECONCILED:
        return fold.reconciled
    return fold.means if name == OURS else fold.baselines[name]


def _wmape(actual: Float64Array, said: Float64Array) -> float:
    return wmape(actual, said) if actual.sum() > 0 else float("nan")


def _table(
    title: str,
    columns: tuple[str, ...],
    rows: dict[str, list[float]],
    counts: list[int],
    note: str = "",
) -> MetricTable:
    cells = {name: tuple(Cell(value) for value in values) for name, values in rows.items()}
    return MetricTable(title, columns, cells, tuple(counts), note, counted="series")
