"""Forecasts of new items: those that had sold for a few weeks only, and those without a sale.

They stand beside what launches of their category had sold at the same age. A first sale in the
data's first weeks does not make an item new. Which items have not sold yet is read off the
catalogue; an item without a date is taken to have been listed all along.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array, ObjectArray
from features.contracts.categories import prefix
from models.demand.baselines import mean_of_8, tsb
from models.demand.panel import DemandPanel, encode
from training.demand.backtest import Backtest
from training.demand.metrics import bias, gain_interval, wmape
from training.results import OURS, Cell, MetricTable

NEW_ITEMS = "WMAPE of new items"
LAUNCHES = "launches of the category"
AGES = (1, 2, 3, 4)  # weeks since the first sale within which an item is new
_FIRST_WEEKS = 8  # of the data, in which a first sale does not make an item new
# Launches that a category needs for a mean, else that of its department is used, then of its zone,
# then of all.
_MIN_LAUNCHES = 20
_NOTE = (
    "by weeks since the first sale, as known at the origin; "
    "an item without one stands in the catalogue"
)


@dataclass(frozen=True)
class NewItems:
    """New items at one origin.

    age         N, weeks since the first sale; 0: had not sold
    actual      N × H units in the weeks ahead
    forecasts   N × H by method
    """

    age: Int64Array
    actual: Float64Array
    forecasts: Mapping[str, Float64Array]


def evaluate_new_items(
    backtest: Backtest, panel: DemandPanel, origin: int, horizon: int
) -> NewItems:
    """Return the forecasts made at `origin` of items new at that time; `panel` has later sales."""
    young = _evaluate_young(backtest, panel, origin, horizon)
    return _concatenate([young, _evaluate_unsold(backtest, panel, origin, horizon)])


def _evaluate_young(backtest: Backtest, panel: DemandPanel, origin: int, horizon: int) -> NewItems:
    """Return the forecasts of items that first sold one to four weeks before the origin."""
    known = backtest.panel_at(origin)
    first = _first_sale(known)
    young = np.flatnonzero((first >= max(origin - max(AGES), _FIRST_WEEKS)) & (first < origin))
    past = known.units[young].astype(np.float64)
    counted = backtest.find_counted_weeks(origin, horizon)[young]
    forecasts = {
        OURS: backtest.forecast_means(origin)[young],
        LAUNCHES: _launch_means_by_age(known, young, horizon),
        "mean of 8 weeks": np.repeat(mean_of_8(past)[:, None], horizon, axis=1),
        "TSB": np.repeat(tsb(past)[:, None], horizon, axis=1),
    }
    return NewItems(
        age=origin - first[young],
        actual=panel.units[young, origin : origin + horizon] * counted,
        forecasts={name: forecast * counted for name, forecast in forecasts.items()},
    )


def _evaluate_unsold(backtest: Backtest, panel: DemandPanel, origin: int, horizon: int) -> NewItems:
    """Return the forecasts of items of the catalogue that had not sold.

    Their launches are the items that had not sold a horizon before.
    """
    unsold, known = backtest.unsold_at(origin), backtest.panel_at(origin)
    model = backtest.model_at(origin)
    row_of = {key: row for row, key in enumerate(zip(panel.zones, panel.item_ids, strict=True))}
    keys = zip(unsold.zones, unsold.item_ids, strict=True)
    rows = np.array([row_of.get(key, -1) for key in keys], np.int64)
    actual = np.zeros((unsold.n_series, horizon))
    actual[rows >= 0] = panel.units[rows[rows >= 0], origin : origin + horizon]
    none = np.zeros((unsold.n_series, horizon))
    return NewItems(
        age=np.zeros(unsold.n_series, np.int64),
        actual=actual,
        forecasts={
            OURS: model.blend_means(unsold, model.predict_methods(unsold, horizon)),
            LAUNCHES: np.repeat(
                _launch_means_of_unsold(known, unsold, horizon)[:, None], horizon, axis=1
            ),
            "mean of 8 weeks": none,
            "TSB": none,
        },
    )


def _launch_means_of_unsold(known: DemandPanel, unsold: DemandPanel, horizon: int) -> Float64Array:
    """Return for each unsold item the mean of the last weeks of items that had not sold before."""
    first, n = _first_sale(known), unsold.n_series
    late = np.flatnonzero((first >= known.n_known - horizon) & (first < known.n_known))
    groups = _encode_groups(
        np.concatenate([unsold.zones, known.zones[late]]),
        np.concatenate([unsold.categories, known.categories[late]]),
    )
    since = np.concatenate([np.zeros(n), known.units[late, -horizon:].mean(axis=1)])
    launches = _Launches(np.arange(len(since)), since)
    return launches.group_means(np.arange(n), groups)


def _first_sale(known: DemandPanel) -> Int64Array:
    """Return N: the week of the first sale; the first unknown week where there was none."""
    sold = known.units > 0
    return np.where(sold.any(axis=1), sold.argmax(axis=1), known.n_known).astype(np.int64)


def _launch_means_by_age(known: DemandPanel, young: Int64Array, horizon: int) -> Float64Array:
    """Return len(young) × horizon means of earlier launches of the category at the same age."""
    first, groups = _first_sale(known), _encode_groups(known.zones, known.categories)
    means = np.full((len(young), horizon), np.nan)
    for age in AGES:
        rows = np.flatnonzero(first[young] == known.n_known - age)
        for step in range(horizon):
            old = np.flatnonzero((first >= _FIRST_WEEKS) & (first + age + step < known.n_known))
            units = known.units[old, first[old] + age + step].astype(np.float64)
            means[rows, step] = _Launches(old, units).group_means(young[rows], groups)
    return means


@dataclass(frozen=True)
class _Launches:
    """Units of launches, n series."""

    series: Int64Array
    units: Float64Array

    def group_means(self, series: Int64Array, groups: Sequence[Int64Array]) -> Float64Array:
        """Return for each series the mean of the narrowest of its groups with enough launches."""
        means = np.full(len(series), self.units.mean() if len(self.units) else 0.0)
        for group in groups:
            size = int(group.max(initial=0)) + 1
            launch_groups = group[self.series]
            counts = np.bincount(launch_groups, minlength=size)[group[series]]
            sums = np.bincount(launch_groups, weights=self.units, minlength=size)[group[series]]
            means = np.where(counts >= _MIN_LAUNCHES, sums / np.maximum(counts, 1), means)
        return means


def _encode_groups(zones: ObjectArray, categories: ObjectArray) -> list[Int64Array]:
    """Return codes of the zone, its departments and its whole categories, the widest first."""
    pairs = list(zip(zones.tolist(), categories.tolist(), strict=True))
    return [
        encode([zone for zone, _ in pairs]),
        encode([f"{zone}\x1f{prefix(category, 1)}" for zone, category in pairs]),
        encode([f"{zone}\x1f{category}" for zone, category in pairs]),
    ]


def tabulate_new_items(origins: Sequence[NewItems]) -> MetricTable:
    """Return WMAPE by method and both biases, of all new items, by age, and of those unsold."""
    items = _concatenate(origins)
    young = items.age > 0
    groups = [young, *(items.age == age for age in AGES), ~young]
    columns = ("1 to 4 weeks", "1 week", *(f"{age} weeks" for age in AGES[1:]), "no sale yet")
    rows = {
        method: tuple(Cell(wmape(items.actual[group], forecast[group])) for group in groups)
        for method, forecast in items.forecasts.items()
    }
    for method in (OURS, LAUNCHES):
        forecast = items.forecasts[method]
        rows[f"bias, {method}"] = tuple(
            Cell(bias(items.actual[group], forecast[group])) for group in groups
        )
    counts = tuple(round(int(group.sum()) / len(origins)) for group in groups)
    return MetricTable(NEW_ITEMS, columns, rows, counts, _NOTE, counted="series")


def compute_new_item_metrics(origins: Sequence[NewItems]) -> dict[str, float]:
    """Return metrics of items that first sold one to four weeks before the origins, over all.

    Empty where none of them sold.
    """
    items = _concatenate(origins)
    young = items.age > 0
    actual = items.actual[young]
    ours, launches = items.forecasts[OURS][young], items.forecasts[LAUNCHES][young]
    if actual.sum() <= 0:
        return {}
    low, high = gain_interval(actual, ours, launches)
    metrics = {
        "n_new_items": float(young.sum()),
        "new items WMAPE": wmape(actual, ours),
        f"new items WMAPE, {LAUNCHES}": wmape(actual, launches),
        "new items WMAPE gain low": low,
        "new items WMAPE gain high": high,
        "new items bias": bias(actual, ours),
    }
    unsold_actual = items.actual[~young]
    if unsold_actual.sum() > 0:
        metrics["no sale yet bias"] = bias(unsold_actual, items.forecasts[OURS][~young])
    return metrics


def _concatenate(parts: Sequence[NewItems]) -> NewItems:
    return NewItems(
        age=np.concatenate([part.age for part in parts]),
        actual=np.concatenate([part.actual for part in parts]),
        forecasts={
            method: np.concatenate([part.forecasts[method] for part in parts])
            for method in parts[0].forecasts
        },
    )
