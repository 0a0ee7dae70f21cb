"""Quantiles of aggregates: of one item over several weeks, and of categories, departments, zones.

Quantiles of an aggregate are not sums of quantiles, and errors are not independent: a week that is
too high for one item is too high for its neighbours and for its next week. So every kind of
aggregate has a distribution of its own, fitted to the errors of past forecasts of such aggregates:
of items as in `counts`, of items together a negative binomial with

    variance = mean + own × mean + common × mean²

own is the part of the error that items make each by itself, common the part they make together.
Both shapes are recalibrated on backtests like those of single weeks, so the quantiles are
conformal. A level with few aggregates is shrunk towards the level below it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypedDict

import numpy as np

from features.contracts.arrays import BoolArray, Float64Array
from models.demand.uncertainty.counts import (
    QUANTILES,
    SHAPE_LEVELS,
    CountDistribution,
    fit_shape,
    log_likelihood,
)

FILE = "sums.json"
SPANS = (1, 2, 4, 8)  # weeks over which sums are fitted; other numbers of weeks are interpolated
NEAR = 4  # horizons up to here share a distribution, those beyond another
_PRIOR_DEVIATION = 0.5  # of a level's logarithms around those of the level below
_LOG_BOUNDS = (-12.0, 5.0)
_TINY = 1e-6
_FINEST = "category"  # of the levels of reconcile, which servers do not load


@dataclass(frozen=True)
class ItemSpread:
    """Distributions of sparse and of dense series."""

    sparse: CountDistribution
    dense: CountDistribution

    def quantiles(
        self, mean: Float64Array, dense: BoolArray, levels: Sequence[float] = QUANTILES
    ) -> Float64Array:
        """Return n × levels quantiles around n means."""
        result = np.empty((len(mean), len(levels)))
        for counts, rows in self._split(dense):
            result[rows] = counts.quantiles(mean[rows], levels)
        return result

    def pit(
        self, actual: Float64Array, mean: Float64Array, dense: BoolArray, rng: np.random.Generator
    ) -> Float64Array:
        """Return the randomised probability integral transform of n counts."""
        result = np.empty(len(mean))
        for counts, rows in self._split(dense):
            result[rows] = counts.pit(actual[rows], mean[rows], rng)
        return result

    def alpha(self, mean: Float64Array, dense: BoolArray) -> Float64Array:
        """Return the dispersion at each of n means."""
        result = np.empty(len(mean))
        for counts, rows in self._split(dense):
            result[rows] = counts.alpha(mean[rows])
        return result

    def _split(self, dense: BoolArray) -> list[tuple[CountDistribution, BoolArray]]:
        return [(self.sparse, ~dense), (self.dense, dense)]


@dataclass(frozen=True)
class AggregateSpread:
    """Of sums over items: variance = mean + own × mean + common × mean².

    shape    levels of the negative binomial below which SHAPE_LEVELS of past sums lay; () for none
    """

    own: float
    common: float
    shape: tuple[float, ...] = ()

    def quantiles(self, mean: Float64Array, levels: Sequence[float] = QUANTILES) -> Float64Array:
        """Return n × levels quantiles around n means."""
        from scipy import stats  # as in `counts`

        size, chance = self._scipy_parameters(mean)
        plain = np.interp(levels, SHAPE_LEVELS, self.shape) if self.shape else np.asarray(levels)
        quantiles = stats.nbinom.ppf(plain[None, :], size[:, None], chance[:, None])
        return np.asarray(np.maximum(quantiles, 0.0), np.float64)

    def pit(
        self, actual: Float64Array, mean: Float64Array, rng: np.random.Generator
    ) -> Float64Array:
        """Return the randomised probability integral transform of n sums."""
        from scipy import stats

        count = np.maximum(np.rint(actual), 0.0)
        size, chance = self._scipy_parameters(mean)
        upper = self._recalibrate(stats.nbinom.cdf(count, size, chance))
        lower = self._recalibrate(stats.nbinom.cdf(count - 1, size, chance))
        return np.asarray(lower + rng.random(len(mean)) * (upper - lower), np.float64)

    def _recalibrate(self, levels: Float64Array) -> Float64Array:
        return np.interp(levels, self.shape, SHAPE_LEVELS) if self.shape else levels

    def _scipy_parameters(self, mean: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Return scipy's n and p of negative binomials."""
        mean = np.maximum(mean, _TINY)
        alpha = self.own / mean + self.common
        return 1.0 / alpha, 1.0 / (1.0 + alpha * mean)


FIRST_GUESS = AggregateSpread(2.0, 0.01)  # the prior of the finest level


def fit_aggregate_spread(
    actual: Float64Array, mean: Float64Array, below: AggregateSpread, rng: np.random.Generator
) -> AggregateSpread:
    """Fit the spread to n sums: the likeliest, with logarithms shrunk towards those of `below`.

    It is recalibrated where there are enough sums.
    """
    from scipy import optimize

    mean, count = np.maximum(mean, _TINY), np.maximum(np.rint(actual), 0.0)
    centre = np.log([below.own, below.common])

    def negative_log_posterior(logs: Float64Array) -> float:
        own, common = np.exp(np.clip(logs, *_LOG_BOUNDS))
        penalty = 0.5 * float((((logs - centre) / _PRIOR_DEVIATION) ** 2).sum())
        return penalty - log_likelihood(count, mean, own / mean + common)

    best = optimize.minimize(negative_log_posterior, centre, method="Nelder-Mead").x
    own, common = np.exp(np.clip(best, *_LOG_BOUNDS))
    plain = AggregateSpread(float(own), float(common))
    return replace(plain, shape=fit_shape(plain, count, mean, rng))


@dataclass(frozen=True)
class LevelSpreads:
    """Spreads of one level of the hierarchy.

    spans    of sums over the first SPANS weeks after the origin
    far      of a week beyond the near ones
    """

    spans: tuple[AggregateSpread, ...]
    far: AggregateSpread

    def quantiles(
        self, mean: Float64Array, weeks: float, levels: Sequence[float] = QUANTILES
    ) -> Float64Array:
        """Return n × levels quantiles of n sums over `weeks` weeks."""
        span = _locate_span(weeks)
        return span.interpolate(
            self.spans[span.low].quantiles(mean, levels),
            self.spans[span.high].quantiles(mean, levels),
        )

    def quantiles_by_week(self, mean: Float64Array) -> Float64Array:
        """Return weeks × 3 quantiles of single weeks, the first one after the origin first."""
        near = (np.arange(len(mean)) < NEAR)[:, None]
        return np.where(near, self.quantiles(mean, 1), self.far.quantiles(mean))

    def pit(
        self, actual: Float64Array, mean: Float64Array, weeks: float, rng: np.random.Generator
    ) -> Float64Array:
        """Return the randomised PIT of n sums over `weeks` weeks, by the nearest of SPANS."""
        return self.spans[_locate_span(weeks).nearest].pit(actual, mean, rng)


@dataclass(frozen=True)
class AggregateDistributions:
    """Distributions of sums over weeks, and over items.

    items    of one item over SPANS weeks
    levels   of all items together by level of the hierarchy; empty without backtests of them
    """

    items: tuple[ItemSpread, ...]
    levels: Mapping[str, LevelSpreads]

    def quantiles(
        self,
        mean: Float64Array,
        dense: BoolArray,
        weeks: float,
        levels: Sequence[float] = QUANTILES,
    ) -> Float64Array:
        """Return n × levels quantiles of the units of n items in `weeks` weeks: whole units.

        mean    n, of all these weeks together
        """
        span = _locate_span(weeks)
        return span.interpolate(
            self.items[span.low].quantiles(mean, dense, levels),
            self.items[span.high].quantiles(mean, dense, levels),
        )

    def pit(
        self,
        actual: Float64Array,
        mean: Float64Array,
        dense: BoolArray,
        weeks: float,
        rng: np.random.Generator,
    ) -> Float64Array:
        """Return the randomised PIT of n items over `weeks` weeks, by the nearest of SPANS."""
        return self.items[_locate_span(weeks).nearest].pit(actual, mean, dense, rng)

    def dispersion(self, mean: Float64Array, dense: BoolArray, weeks: float) -> Float64Array:
        """Return alpha of the units of n items in `weeks` weeks: variance = mean + alpha mean².

        mean    n, of all these weeks together
        """
        span = _locate_span(weeks)
        low, high = (self.items[place].alpha(mean, dense) for place in (span.low, span.high))
        return np.asarray((1 - span.share) * low + span.share * high, np.float64)

    def common_error(self, weeks: float) -> float:
        """Return the standard deviation of the logarithm that the forecasts of a category miss
        together in `weeks` weeks; a first guess without backtests of categories."""
        spreads = self.levels.get(_FINEST)
        if spreads is None:
            return math.sqrt(FIRST_GUESS.common)
        span = _locate_span(weeks)
        low, high = (spreads.spans[place].common for place in (span.low, span.high))
        return math.sqrt((1 - span.share) * low + span.share * high)

    def save(self, folder: Path) -> None:
        """Write sums.json."""
        stored = {
            "items": [asdict(spread) for spread in self.items],
            "nodes": {level: asdict(spreads) for level, spreads in self.levels.items()},
        }
        (folder / FILE).write_text(json.dumps(stored), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> AggregateDistributions | None:
        """Read sums.json; None for a model of an earlier release, which has none."""
        path = folder / FILE
        if not path.is_file():
            return None
        stored: _StoredDistributions = json.loads(path.read_text(encoding="utf-8"))
        levels = {
            level: LevelSpreads(
                tuple(_restore_aggregate_spread(span) for span in spreads["spans"]),
                _restore_aggregate_spread(spreads["far"]),
            )
            for level, spreads in stored["nodes"].items()
        }
        return cls(tuple(restore_item_spread(spread) for spread in stored["items"]), levels)


class _StoredCounts(TypedDict):
    edges: list[float]
    alphas: list[float]
    shapes: list[list[float]]


class StoredItemSpread(TypedDict):
    """An ItemSpread as JSON."""

    sparse: _StoredCounts
    dense: _StoredCounts


class _StoredAggregateSpread(TypedDict):
    own: float
    common: float
    shape: list[float]


class _StoredLevel(TypedDict):
    spans: list[_StoredAggregateSpread]
    far: _StoredAggregateSpread


class _StoredDistributions(TypedDict):
    items: list[StoredItemSpread]
    nodes: dict[str, _StoredLevel]


def restore_item_spread(stored: StoredItemSpread) -> ItemSpread:
    """Return the spread that was stored."""
    return ItemSpread(_restore_counts(stored["sparse"]), _restore_counts(stored["dense"]))


def _restore_counts(stored: _StoredCounts) -> CountDistribution:
    shapes = tuple(tuple(shape) for shape in stored["shapes"])
    return CountDistribution(tuple(stored["edges"]), tuple(stored["alphas"]), shapes)


def _restore_aggregate_spread(stored: _StoredAggregateSpread) -> AggregateSpread:
    return AggregateSpread(stored["own"], stored["common"], tuple(stored["shape"]))


@dataclass(frozen=True)
class _Span:
    """A number of weeks between two of SPANS.

    low, high    positions of the next shorter and next longer one
    share        how far it is to the longer one, 0 to 1, by the logarithm of the time
    """

    low: int
    high: int
    share: float

    @property
    def nearest(self) -> int:
        """The position of the nearest of SPANS."""
        return self.high if self.share > 0.5 else self.low

    def interpolate(self, low: Float64Array, high: Float64Array) -> Float64Array:
        """Return whole units between the quantiles of the two, rounded up."""
        units = (1 - self.share) * low + self.share * high
        return np.asarray(np.maximum(np.ceil(units - 1e-9), 0.0) + 0.0, np.float64)


def _locate_span(weeks: float) -> _Span:
    position = float(np.interp(np.log(max(weeks, 1.0)), np.log(SPANS), np.arange(len(SPANS))))
    low = int(position)
    return _Span(low, min(low + 1, len(SPANS) - 1), position - low)
