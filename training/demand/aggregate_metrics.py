"""Calibration of the quantiles of aggregates: items over weeks, categories, departments, zones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float64Array
from models.demand.blend import segment_series
from models.demand.reconcile import ITEM, LEVELS
from training.demand.backtest import Backtest
from training.demand.folds import EvaluatedSeries
from training.demand.metrics import interval_coverage, ks_uniform
from training.results import Cell, MetricTable

QUANTILES_OF_AGGREGATES = "Quantiles of sums"
_INTERVAL = (0.1, 0.9)
_UPPER = 0.95
_MIN_MEAN = 1.0  # units forecast a week below which an aggregate is left out
_NOTE = (
    "ours; items: the evaluated series; other sums: over all items, of a unit a week at least. "
    "PIT .1 to .9 is .80 when right, PIT below .95 is what reorder points rest on; coverage is "
    "higher where counts are small. added: the sum of the quantiles of items and weeks"
)


@dataclass(frozen=True)
class AggregateFold:
    """One kind of aggregate at one origin, n of them.

    actual     n units
    interval   n × 2, its p10 and p90
    added      n × 2, the sums of p10 and p90 of its items and weeks
    pit        n, the randomised probability integral transform
    """

    name: str
    actual: Float64Array
    interval: Float64Array
    added: Float64Array
    pit: Float64Array


def evaluate_aggregates(
    backtest: Backtest, origin: int, series: EvaluatedSeries, rng: np.random.Generator
) -> list[AggregateFold]:
    """Return the forecasts made at `origin` of aggregates over the horizon.

    First the evaluated series over all weeks; then, level by level, all aggregates by week and over
    all weeks.
    """
    horizon = backtest.config.horizon
    known, means = backtest.panel_at(origin), backtest.forecast_means(origin)
    counted = backtest.find_counted_weeks(origin, horizon)
    means = means * counted
    units = backtest.data.panel.units[:, origin : origin + horizon] * counted
    item_intervals = backtest.model_at(origin).quantiles(known, means, _INTERVAL)
    items = _Weekly(units, means, item_intervals).take(series.rows)
    folds = [_evaluate_items(backtest, origin, items, series, rng)]
    aggregates = backtest.aggregates
    weekly = _Weekly(
        aggregates.sum_units(units),
        aggregates.sum_means(known, backtest.rates_at(origin), means),
        np.stack([aggregates.sum_units(item_intervals[:, :, end]) for end in range(2)], axis=2),
    )
    spreads = backtest.model_at(origin).aggregates.levels
    for level in reversed(LEVELS):
        is_level = aggregates.hierarchy.levels == level
        of_level = weekly.take(is_level & (weekly.means.mean(axis=1) >= _MIN_MEAN))
        for weeks, name in ((1, f"{level}, a week"), (horizon, _name_span(level, horizon))):
            sums = of_level.sum_weeks(weeks)
            interval = spreads[level].quantiles(sums.means, weeks, _INTERVAL)
            pit = spreads[level].pit(sums.actual, sums.means, weeks, rng)
            folds.append(AggregateFold(name, sums.actual, interval, sums.added, pit))
    return folds


@dataclass(frozen=True)
class _Weekly:
    """Units and forecasts of n rows: actual and means n × weeks, added n × weeks × 2."""

    actual: Float64Array
    means: Float64Array
    added: Float64Array

    def take(self, rows: np.ndarray) -> _Weekly:
        return _Weekly(self.actual[rows], self.means[rows], self.added[rows])

    def sum_weeks(self, weeks: int) -> _Weekly:
        """Return sums over each `weeks` successive weeks, as more rows of one week."""
        return _Weekly(
            self.actual.reshape(-1, weeks).sum(axis=1),
            self.means.reshape(-1, weeks).sum(axis=1),
            self.added.reshape(-1, weeks, 2).sum(axis=1),
        )


def _evaluate_items(
    backtest: Backtest,
    origin: int,
    weekly: _Weekly,
    series: EvaluatedSeries,
    rng: np.random.Generator,
) -> AggregateFold:
    """Return the forecasts of each series over all weeks."""
    horizon = weekly.means.shape[1]
    actual, means = weekly.actual.sum(axis=1), weekly.means.sum(axis=1)
    dense = segment_series(backtest.panel_at(origin)).take(series.rows).dense
    distributions = backtest.model_at(origin).aggregates
    pit = distributions.pit(actual, means, dense, horizon, rng)
    interval = distributions.quantiles(means, dense, horizon, _INTERVAL)
    added = weekly.added.sum(axis=1)
    return AggregateFold(_name_span(ITEM, horizon), actual, interval, added, pit)


def _name_span(level: str, weeks: int) -> str:
    return f"{level}, {weeks} weeks"


def tabulate_aggregates(folds: Sequence[Sequence[AggregateFold]]) -> MetricTable:
    """Return coverage and randomised PIT by kind of aggregate, over all origins.

    folds   by origin, the same kinds for each; the counts are aggregates at an origin
    """
    rows: dict[str, list[Cell]] = {}
    counts = []
    for of_kind in zip(*folds, strict=True):
        merged = _merge(of_kind)
        for name, compute in _METRICS.items():
            value = compute(merged) if len(merged.actual) else float("nan")
            rows.setdefault(name, []).append(Cell(value))
        counts.append(round(len(merged.actual) / len(of_kind)))
    columns = tuple(fold.name for fold in folds[0])
    cells = {name: tuple(values) for name, values in rows.items()}
    return MetricTable(
        QUANTILES_OF_AGGREGATES, columns, cells, tuple(counts), _NOTE, counted="sums"
    )


def _merge(folds: Sequence[AggregateFold]) -> AggregateFold:
    return AggregateFold(
        name=folds[0].name,
        actual=np.concatenate([fold.actual for fold in folds]),
        interval=np.concatenate([fold.interval for fold in folds]),
        added=np.concatenate([fold.added for fold in folds]),
        pit=np.concatenate([fold.pit for fold in folds]),
    )


_METRICS: Mapping[str, Callable[[AggregateFold], float]] = {
    "coverage p10-p90": lambda fold: interval_coverage(fold.actual, *fold.interval.T),
    "PIT .1 to .9": lambda fold: float(
        ((fold.pit > _INTERVAL[0]) & (fold.pit <= _INTERVAL[1])).mean()
    ),
    "PIT below .95": lambda fold: float((fold.pit <= _UPPER).mean()),
    "PIT KS": lambda fold: ks_uniform(fold.pit),
    "coverage, added": lambda fold: interval_coverage(fold.actual, *fold.added.T),
}
