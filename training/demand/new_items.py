"""New items: those that had sold for a few weeks only when they were foretold, and those that had
not sold at all.

They stand beside what launches of their category had sold at the same age. A first sale is seen in
sales, so one in the data's first weeks tells nothing. Only the catalogue says which items have not
sold yet; where it has no dates, it is taken to have listed them all along.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array, ObjectArray
from features.contracts.categories import prefix
from models.demand.baselines import mean_of_8, tsb
from models.demand.panel import DemandPanel
from training.demand.backtest import Backtester
from training.demand.metrics import bias, gain_interval, wmape
from training.results import OURS, Cell, MetricTable

NEW_ITEMS = "WMAPE of new items"
LAUNCHES = "launches of the category"
AGES = (1, 2, 3, 4)  # weeks since the first sale within which an item is new
_FIRST_WEEKS = 8  # of the data, in which a first sale does not make an item new
_ENOUGH = (
    20  # launches that a category needs, else its department is looked at, then the zone, then all
)
_NOTE = "by weeks since the first sale, as known at the origin; an item without one stands in the catalogue"


@dataclass(frozen=True)
class NewItems:
    """One origin: age N in weeks (0: had not sold), units and forecasts by method, N × weeks
    ahead."""

    age: Int64Array
    actual: Float64Array
    said: Mapping[str, Float64Array]


def new_items(shop: Backtester, panel: DemandPanel, origin: int, horizon: int) -> NewItems:
    """What was foretold after `origin` weeks of items that were new then; `panel` knows what they
    went on to sell."""
    return _whole([_young(shop, panel, origin, horizon), _unsold(shop, panel, origin, horizon)])


def _young(shop: Backtester, panel: DemandPanel, origin: int, horizon: int) -> NewItems:
    """Items that first sold one to four weeks before the origin."""
    known = shop.known(origin)
    first = _first_sale(known)
    young = np.flatnonzero((first >= max(origin - max(AGES), _FIRST_WEEKS)) & (first < origin))
    past = known.units[young].astype(np.float64)
    said = {
        OURS: shop.served(origin)[young],
        LAUNCHES: _launches(known, young, horizon),
        "mean of 8 weeks": np.repeat(mean_of_8(past)[:, None], horizon, axis=1),
        "TSB": np.repeat(tsb(past)[:, None], horizon, axis=1),
    }
    return NewItems(
        origin - first[young],
        panel.units[young, origin : origin + horizon].astype(np.float64),
        said,
    )


def _unsold(shop: Backtester, panel: DemandPanel, origin: int, horizon: int) -> NewItems:
    """Items of the catalogue that had not sold; their launches are those that had not sold a
    horizon before."""
    unsold, known, model = shop.unsold(origin), shop.known(origin), shop.fitted(origin)
    place = {key: n for n, key in enumerate(zip(panel.zones, panel.item_ids, strict=True))}
    series = np.array(
        [place.get(key, -1) for key in zip(unsold.zones, unsold.item_ids, strict=True)], np.int64
    )
    actual = np.zeros((unsold.n_series, horizon))
    actual[series >= 0] = panel.units[series[series >= 0], origin : origin + horizon]
    first = _first_sale(known)
    late = np.flatnonzero((first >= origin - horizon) & (first < origin))
    n = unsold.n_series
    both = [
        np.concatenate([getattr(unsold, name), getattr(known, name)[late]])
        for name in ("zones", "categories")
    ]
    since = np.concatenate([np.zeros(n), known.units[late, -horizon:].mean(axis=1)])
    level = _group_means(since, np.arange(len(since)), np.arange(n), _groups(*both))
    none = np.zeros((n, horizon))
    ours = model.means(unsold, model.unblended(unsold, horizon))
    said = {
        OURS: ours,
        LAUNCHES: np.repeat(level[:, None], horizon, axis=1),
        "mean of 8 weeks": none,
        "TSB": none,
    }
    return NewItems(np.zeros(n, np.int64), actual, said)


def _first_sale(known: DemandPanel) -> Int64Array:
    """N: the week of the first sale; the first unknown week where there was none."""
    sold = known.units > 0
    return np.where(sold.any(axis=1), sold.argmax(axis=1), known.n_known).astype(np.int64)


def _launches(known: DemandPanel, young: Int64Array, horizon: int) -> Float64Array:
    """len(young) × horizon: what earlier launches of the category had sold at the age that a week
    ahead makes."""
    first, groups = _first_sale(known), _groups(known.zones, known.categories)
    said = np.full((len(young), horizon), np.nan)
    for age in AGES:
        rows = np.flatnonzero(first[young] == known.n_known - age)
        for step in range(horizon):
            old = np.flatnonzero((first >= _FIRST_WEEKS) & (first + age + step < known.n_known))
            then = known.units[old, first[old] + age + step].astype(np.float64)
            said[rows, step] = _group_means(then, old, young[rows], groups)
    return said


def _group_means(
    values: Float64Array, of: Int64Array, asked: Int64Array, groups: Sequence[Int64Array]
) -> Float64Array:
    """Means of `values` (of the series `of`) over the narrowest group with enough of them that each
    asked one is in."""
    result = np.full(len(asked), values.mean() if len(values) else 0.0)
    for group in groups:
        size = int(group.max(initial=0)) + 1
        counts = np.bincount(group[of], minlength=size)[group[asked]]
        sums = np.bincount(group[of], weights=values, minlength=size)[group[asked]]
        result = np.where(counts >= _ENOUGH, sums / np.maximum(counts, 1), result)
    return result


def _groups(zones: ObjectArray, categories: ObjectArray) -> list[Int64Array]:
    """Codes of the zone, its departments and its whole categories, the widest first."""
    pairs = list(zip(zones.tolist(), categories.tolist(), strict=True))
    keys = (
        [zone for zone, _ in pairs],
        [f"{zone}\x1f{prefix(category, 1)}" for zone, category in pairs],
        [f"{zone}\x1f{category}" for zone, category in pairs],
    )
    return [
        np.unique(np.array(each, str), return_inverse=True)[1].astype(np.int64) for each in keys
    ]


def new_table(found: Sequence[NewItems]) -> MetricTable:
    """WMAPE by method and both biases, of all items that are new, by age, and of those that had not
    sold."""
    whole = _whole(found)
    young = whole.age > 0
    rows = [young, *(whole.age == age for age in AGES), ~young]
    columns = ("1 to 4 weeks", "1 week", *(f"{age} weeks" for age in AGES[1:]), "no sale yet")
    figures = {
        name: tuple(Cell(_wmape(whole.actual[r], said[r])) for r in rows)
        for name, said in whole.said.items()
    }
    for name in (OURS, LAUNCHES):
        figures[f"bias, {name}"] = tuple(
            Cell(_bias(whole.actual[r], whole.said[name][r])) for r in rows
        )
    counts = tuple(round(int(r.sum()) / len(found)) for r in rows)
    return MetricTable(NEW_ITEMS, columns, figures, counts, _NOTE, counted="series")


def new_figures(found: Sequence[NewItems]) -> dict[str, float]:
    """Of items that first sold one to four weeks before the origins, over all of them; empty where
    none sold."""
    whole = _whole(found)
    young = whole.age > 0
    actual, ours, theirs = whole.actual[young], whole.said[OURS][young], whole.said[LAUNCHES][young]
    if actual.sum() <= 0:
        return {}
    low, high = gain_interval(actual, ours, theirs)
    later = whole.actual[~young]
    return {
        "n_new_items": float(young.sum()),
        "new items WMAPE": wmape(actual, ours),
        f"new items WMAPE, {LAUNCHES}": wmape(actual, theirs),
        "new items WMAPE gain low": low,
        "new items WMAPE gain high": high,
        "new items bias": bias(actual, ours),
        **({"no sale yet bias": bias(later, whole.said[OURS][~young])} if later.sum() > 0 else {}),
    }


def _whole(found: Sequence[NewItems]) -> NewItems:
    said = {name: np.concatenate([each.said[name] for each in found]) for name in found[0].said}
    return NewItems(
        np.concatenate([each.age for each in found]),
        np.concatenate([each.actual for each in found]),
        said,
    )


def _wmape(actual: Float64Array, said: Float64Array) -> float:
    return wmape(actual, said) if actual.sum() > 0 else float("nan")


def _bias(actual: Float64Array, said: Float64Array) -> float:
    return bias(actual, said) if actual.sum() > 0 else float("nan")
