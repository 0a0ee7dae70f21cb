"""Price response: a slope of log units on log price per item and zone, drawn towards its category's and department's.

Within an item, weeks are compared with each other after the common movement of the zone's other items in a week is
taken out: a holiday is no response to a price. A week with few units says little about log units, so it weighs little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from features.contracts.categories import codes
from features.contracts.errors import BadInput
from features.contracts.pricing import EvidenceGrade
from models.artifact import read_arrays, read_meta, write_arrays, write_meta
from models.pricing.shrinkage import Doubles, shrink

KIND = "pricing"
_NO_EVIDENCE = 1e4  # the variance of a slope that nothing is known about
_WEEK_VARIANCE = 0.02  # of the common movement of log units from week to week, before the data are seen
_GRADES = tuple(EvidenceGrade)


@dataclass(frozen=True)
class ElasticityConfig:
    """`noise`: variance of log units beyond the Poisson part 1 / units. `min_weeks`: selling weeks a slope needs.

    A change is a move of more than `min_change` in log price from one selling week to the next.
    """

    noise: float = 0.2
    min_weeks: int = 8
    min_change: float = 0.05
    category_depths: tuple[int, ...] = (2, 1)


@dataclass(frozen=True)
class PricePanel:
    """Selling weeks, sorted by series and week; a series is an item in a zone.

    series           position of the row's series in `item_ids` and `zones`
    week             running number of the week
    log_price        log of the mean price paid in the week
    log_units        log of the units sold, which are above 0
    """

    item_ids: npt.NDArray[np.object_]
    zones: npt.NDArray[np.object_]
    category: npt.NDArray[np.object_]
    series: npt.NDArray[np.int64]
    week: npt.NDArray[np.int64]
    log_price: Doubles
    log_units: Doubles

    def rows(self, keep: npt.NDArray[np.bool_]) -> PricePanel:
        """The same series with some of the rows."""
        return PricePanel(
            self.item_ids,
            self.zones,
            self.category,
            self.series[keep],
            self.week[keep],
            self.log_price[keep],
            self.log_units[keep],
        )


@dataclass(frozen=True)
class Response:
    """Price response of some items in one zone; unknown ones have grade D and NaN prices."""

    elasticity: Doubles
    error: Doubles
    grade: list[EvidenceGrade]
    lowest_minor: Doubles
    highest_minor: Doubles


class ElasticityModel:
    """Fitted slopes, aligned by series.

    elasticity, error   posterior mean and standard error
    own                 the item's own slope before shrinkage
    n_changes           price moves seen; lowest, highest: prices tried, minor units
    """

    def __init__(
        self, item_ids: npt.NDArray[np.object_], zones: npt.NDArray[np.object_], **columns: npt.NDArray
    ) -> None:
        self.item_ids = item_ids
        self.zones = zones
        self.columns = columns
        self._index = {key: place for place, key in enumerate(zip(item_ids, zones, strict=True))}

    def response(self, item_ids: Sequence[str], zone: str) -> Response:
        """What is known about `item_ids` in `zone`, in that order."""
        places = np.array([self._index.get((item_id, zone), -1) for item_id in item_ids], np.int64)
        known = places >= 0

        def column(name: str) -> Doubles:
            values = np.full(len(places), np.nan)
            values[known] = self.columns[name][places[known]]
            return values

        grade = np.where(known, self.columns["grade"][places], _GRADES.index(EvidenceGrade.D))
        grades = [_GRADES[code] for code in grade]
        return Response(column("elasticity"), column("error"), grades, column("lowest"), column("highest"))

    def save(self, folder: Path) -> None:
        """Writes `model.json` and `elasticities.npz`."""
        write_meta(folder, KIND, {"n_series": len(self.item_ids)})
        write_arrays(folder / "elasticities.npz", item_ids=self.item_ids, zones=self.zones, **self.columns)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote; BadInput when the folder holds something else."""
        read_meta(folder, KIND)
        return cls(**read_arrays(folder / "elasticities.npz"))


def fit_elasticities(panel: PricePanel, config: ElasticityConfig) -> ElasticityModel:
    """Fits all series that sold in at least `min_weeks` weeks. BadInput when there is none."""
    n_weeks = np.bincount(panel.series, minlength=len(panel.item_ids))
    kept = np.flatnonzero(n_weeks >= config.min_weeks)
    if not len(kept):
        raise BadInput(
            f"no item sold in {config.min_weeks} weeks or more, so no price response can be told",
            hint="Import more history, or lower min_weeks with --set",
        )
    slopes, variances = own_slopes(panel, config)
    levels = [codes(panel.category[kept], depth) for depth in config.category_depths]
    mean, variance = shrink(slopes[kept], variances[kept], levels)
    n_changes, lowest, highest = _tried(panel, config.min_change)
    error = np.sqrt(variance)
    grade = _grade(mean, error, n_changes[kept], lowest[kept], highest[kept])
    return ElasticityModel(
        panel.item_ids[kept],
        panel.zones[kept],
        elasticity=mean,
        error=error,
        own=slopes[kept],
        n_changes=n_changes[kept],
        lowest=lowest[kept],
        highest=highest[kept],
        grade=grade,
    )


def own_slopes(panel: PricePanel, config: ElasticityConfig) -> tuple[Doubles, Doubles]:
    """Each series' own weighted least-squares slope (n_series,) and its sampling variance."""
    n, series = len(panel.item_ids), panel.series
    weights = 1 / (np.exp(-panel.log_units) + config.noise)
    price = panel.log_price - _means(series, panel.log_price, weights, n)[series]
    units = panel.log_units - _means(series, panel.log_units, weights, n)[series]
    units -= _common(panel, units, weights)
    spread = np.bincount(series, weights * price**2, n)
    slopes = np.bincount(series, weights * price * units, n) / np.maximum(spread, 1e-9)
    residual = units - slopes[series] * price
    n_rows = np.bincount(series, minlength=n)
    noise = np.bincount(series, weights * residual**2, n) / np.maximum(n_rows - 2, 1)
    pooled = float((noise * n_rows).sum() / max(n_rows.sum(), 1))
    # The noise of a short series is itself uncertain: it borrows ten weeks of the pooled one.
    noise = (noise * n_rows + pooled * 10) / (n_rows + 10)
    moved = spread > 1e-4
    variances = np.where(moved, noise / np.maximum(spread, 1e-9), _NO_EVIDENCE)
    return np.where(moved, slopes, 0.0), variances


def _common(panel: PricePanel, units: Doubles, weights: Doubles) -> Doubles:
    """Per row, how the other items of its zone moved in its week, drawn to 0 where they are few.

    Without the item itself: in a small shop it would otherwise explain its own sales, and no response were left.
    """
    zone = np.asarray(np.unique(panel.zones.astype(str), return_inverse=True)[1])[panel.series]
    period = zone * (int(panel.week.max(initial=0)) + 1) + panel.week
    total = np.bincount(period, weights * units)[period] - weights * units
    return np.asarray(total / (np.bincount(period, weights)[period] - weights + 1 / _WEEK_VARIANCE))


def _means(groups: npt.NDArray[np.int64], values: Doubles, weights: Doubles, n: int) -> Doubles:
    total = np.maximum(np.bincount(groups, weights, n), 1e-12)
    return np.asarray(np.bincount(groups, weights * values, n) / total)


def _tried(panel: PricePanel, min_change: float) -> tuple[npt.NDArray[np.int64], Doubles, Doubles]:
    """Per series: moves of the price, and its 5 % and 95 % quantile over selling weeks in minor units."""
    n = len(panel.item_ids)
    follows = (np.diff(panel.series, prepend=-1) == 0) & (np.diff(panel.week, prepend=-9) == 1)
    moves = follows & (np.abs(np.diff(panel.log_price, prepend=0.0)) > min_change)
    order = np.lexsort((panel.log_price, panel.series))
    counts = np.bincount(panel.series, minlength=n)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    sorted_price = panel.log_price[order]
    low = np.minimum(starts + (0.05 * (counts - 1)).astype(np.int64), len(order) - 1)
    high = np.minimum(starts + np.ceil(0.95 * (counts - 1)).astype(np.int64).clip(0), len(order) - 1)
    n_changes = np.bincount(panel.series, moves, n).astype(np.int64)
    return n_changes, np.exp(sorted_price[low]), np.exp(sorted_price[high])


def _grade(
    mean: Doubles, error: Doubles, n_changes: npt.NDArray[np.int64], lowest: Doubles, highest: Doubles
) -> npt.NDArray[np.int64]:
    """A to D by how often the price moved, how far, and how narrow the interval is; a slope not below 0 is D."""
    tried = np.log(highest / lowest)
    grade = np.full(len(mean), 3, np.int64)
    grade[n_changes >= 3] = 2
    grade[(n_changes >= 6) & (tried >= 0.08) & (error <= 0.6)] = 1
    grade[(n_changes >= 12) & (tried >= 0.15) & (error <= 0.35)] = 0
    grade[mean + error >= 0] = 3
    return grade
