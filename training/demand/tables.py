"""Metrics of a demand evaluation by segment, week ahead, volume and level of the hierarchy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array
from features.contracts.categories import codes
from models.demand.blend import SEGMENTS, Segments
from models.demand.reconcile import ITEM, LEVELS
from models.demand.uncertainty.counts import P10, P90, QUANTILE_NAMES, QUANTILES
from training.demand.folds import N_FIFTHS, RECONCILED, Fold
from training.demand.metrics import bias, interval_coverage, ks_uniform, pinball, wmape
from training.results import OURS, Cell, MetricTable

BY_SEGMENT = "WMAPE by segment"
BY_WEEK = "WMAPE by week ahead"
BY_VOLUME = "Quantiles by volume"
BY_LEVEL = "WMAPE by level"
_MIN_SERIES = 20
_OURS_ONLY = "ours; fifths of the series by weekly units before the first origin, smallest first"


def build_tables(folds: Sequence[Fold]) -> tuple[MetricTable, ...]:
    """Return all tables in the order of the report."""
    return (
        tabulate_segments(folds),
        tabulate_weeks(folds),
        tabulate_volumes(folds),
        tabulate_levels(folds),
    )


def tabulate_segments(folds: Sequence[Fold]) -> MetricTable:
    """Return WMAPE by method and segment; segments of few series are left out."""
    code_of_row = Segments.concatenate([fold.segments for fold in folds]).codes
    counts = np.bincount(code_of_row, minlength=len(SEGMENTS))
    reported = np.flatnonzero(counts >= _MIN_SERIES * len(folds)).tolist()
    actual = _stack(folds, None)
    rows = {}
    for method in _methods(folds):
        forecast = _stack(folds, method)
        rows[method] = [
            wmape(actual[code_of_row == code], forecast[code_of_row == code]) for code in reported
        ]
    columns = [SEGMENTS[code].name for code in reported]
    sizes = [round(counts[code] / len(folds)) for code in reported]
    return _build_table(BY_SEGMENT, columns, rows, sizes)


def tabulate_weeks(folds: Sequence[Fold]) -> MetricTable:
    """Return WMAPE by method and week ahead."""
    actual = _stack(folds, None)
    weeks = range(actual.shape[1])
    rows = {}
    for method in _methods(folds):
        forecast = _stack(folds, method)
        rows[method] = [wmape(actual[:, week], forecast[:, week]) for week in weeks]
    columns = [f"week {week + 1}" for week in weeks]
    return _build_table(BY_WEEK, columns, rows, [len(folds[0].actual)] * len(weeks))


def tabulate_volumes(folds: Sequence[Fold]) -> MetricTable:
    """Return metrics of our quantiles by fifth of the series by volume."""
    rows: dict[str, list[float]] = {}
    for fifth in range(N_FIFTHS):
        for name, value in _compute_quantile_metrics(folds, fifth).items():
            rows.setdefault(name, []).append(value)
    counts = [int((folds[0].fifths == fifth).sum()) for fifth in range(N_FIFTHS)]
    columns = [f"fifth {fifth + 1}" for fifth in range(N_FIFTHS)]
    return _build_table(BY_VOLUME, columns, rows, counts, note=_OURS_ONLY)


def _compute_quantile_metrics(folds: Sequence[Fold], fifth: int) -> dict[str, float]:
    actual = np.concatenate([fold.actual[fold.fifths == fifth] for fold in folds])
    means = np.concatenate([fold.means[fold.fifths == fifth] for fold in folds])
    quantiles = np.concatenate([fold.quantiles[fold.fifths == fifth] for fold in folds])
    pit = np.concatenate([fold.pit[fold.fifths == fifth] for fold in folds])
    return {
        "coverage p10-p90": interval_coverage(actual, quantiles[..., P10], quantiles[..., P90]),
        "PIT KS": ks_uniform(pit.ravel()),
        "bias": bias(actual, means),
        **compute_pinball_losses(actual, quantiles),
    }


def compute_pinball_losses(actual: Float64Array, quantiles: Float64Array) -> dict[str, float]:
    """Return the loss of each of QUANTILES; `quantiles` has one more axis than `actual`."""
    return {
        f"pinball {name}": pinball(actual, quantiles[..., q], level)
        for q, (name, level) in enumerate(zip(QUANTILE_NAMES, QUANTILES, strict=True))
    }


def tabulate_levels(folds: Sequence[Fold]) -> MetricTable:
    """Return WMAPE by method and level: sums of item forecasts against sums of units."""
    rows: dict[str, list[float]] = {}
    counts = []
    levels = (ITEM, *reversed(LEVELS))
    for level in levels:
        members = [_encode_aggregates(fold, level) for fold in folds]
        counts.append(int(members[0].max()) + 1)
        actual = _sum_members([fold.actual for fold in folds], members)
        for method in (*_methods(folds), RECONCILED):
            forecast = _sum_members([fold.forecast(method) for fold in folds], members)
            rows.setdefault(method, []).append(wmape(actual, forecast))
    return _build_table(BY_LEVEL, levels, rows, counts)


def _encode_aggregates(fold: Fold, level: str) -> Int64Array:
    """Return for each series the code of its aggregate of the level."""
    if level == ITEM:
        return np.arange(len(fold.actual))
    return codes([str(category) for category in fold.categories], LEVELS.index(level))


def _sum_members(values: Sequence[Float64Array], members: Sequence[Int64Array]) -> Float64Array:
    """Return sums of series × weeks values over the members of each aggregate, fold by fold."""
    sums = []
    for fold_values, fold_members in zip(values, members, strict=True):
        fold_sums = np.zeros((int(fold_members.max()) + 1, fold_values.shape[1]))
        np.add.at(fold_sums, fold_members, fold_values)
        sums.append(fold_sums)
    return np.concatenate(sums)


def _methods(folds: Sequence[Fold]) -> list[str]:
    return [OURS, *folds[0].baselines]


def _stack(folds: Sequence[Fold], method: str | None) -> Float64Array:
    """Return series × weeks of all folds: forecasts of a method, or (None) units sold."""
    return np.concatenate(
        [fold.actual if method is None else fold.forecast(method) for fold in folds]
    )


def _build_table(
    title: str,
    columns: Sequence[str],
    rows: Mapping[str, Sequence[float]],
    counts: Sequence[int],
    note: str = "",
) -> MetricTable:
    cells = {name: tuple(Cell(value) for value in values) for name, values in rows.items()}
    return MetricTable(title, tuple(columns), cells, tuple(counts), note, counted="series")
