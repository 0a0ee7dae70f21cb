"""Quantiles of sums: of one item over several weeks, and of categories, departments and zones.

Quantiles of a sum are no sums of quantiles, and errors are no strangers to each other: a week that
is too high for one item is too high for its neighbours and for its next week. So every kind of sum
has a spread of its own, learnt on what sums of past forecasts missed: of items as in
`distribution`, of nodes a negative binomial with

    variance = mean + own × mean + common × mean²

own is what its items err each by itself, common what they err together. Both shapes are bent to the
past like those of single weeks, so the quantiles are conformal. Few nodes say little: a level is
drawn to the one below it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import optimize, stats

from features.contracts.arrays import BoolArray, Float64Array, Int64Array
from models.demand.uncertainty.counts import PLACES, QUANTILES, Counts, bent, log_likelihood

FILE = "sums.json"
SPANS = (1, 2, 4, 8)  # weeks of which sums were looked at; others lie between their neighbours
_DRAW = 0.5  # a level's logarithms are thought to lie so far from those of the level below
_TINY = 1e-6


@dataclass(frozen=True)
class Spread:
    """Distributions of sparse and of dense series."""

    sparse: Counts
    dense: Counts

    def quantiles(
        self, mean: Float64Array, segment: Int64Array, at: Sequence[float] = QUANTILES
    ) -> Float64Array:
        """n × levels of n means."""
        result = np.empty((len(mean), len(at)))
        for counts, rows in self._parts(segment):
            result[rows] = counts.quantiles(mean[rows], at)
        return result

    def pit(
        self,
        actual: Float64Array,
        mean: Float64Array,
        segment: Int64Array,
        rng: np.random.Generator,
    ) -> Float64Array:
        """The randomised probability integral transform of n counts."""
        result = np.empty(len(mean))
        for counts, rows in self._parts(segment):
            result[rows] = counts.pit(actual[rows], mean[rows], rng)
        return result

    def alpha(self, mean: Float64Array, segment: Int64Array) -> Float64Array:
        """The dispersion of each of n means."""
        result = np.empty(len(mean))
        for counts, rows in self._parts(segment):
            result[rows] = counts.alpha(mean[rows])
        return result

    def _parts(self, segment: Int64Array) -> list[tuple[Counts, BoolArray]]:
        dense = segment % 2 == 1
        return [(self.sparse, ~dense), (self.dense, dense)]


@dataclass(frozen=True)
class NodeSpread:
    """Of sums over items: variance = mean + own × mean + common × mean², bent by `shape` ('()': not
    at all)."""

    own: float
    common: float
    shape: tuple[float, ...] = ()

    def quantiles(self, mean: Float64Array, at: Sequence[float] = QUANTILES) -> Float64Array:
        """n × levels of n means."""
        size, chance = self._parameters(mean)
        plain = np.interp(at, PLACES, self.shape) if self.shape else np.asarray(at)
        found = stats.nbinom.ppf(plain[None, :], size[:, None], chance[:, None])
        return np.asarray(np.maximum(found, 0.0), np.float64)

    def pit(
        self, actual: Float64Array, mean: Float64Array, rng: np.random.Generator
    ) -> Float64Array:
        """The randomised probability integral transform of n sums."""
        count = np.maximum(np.rint(actual), 0.0)
        size, chance = self._parameters(mean)
        ends = [stats.nbinom.cdf(each, size, chance) for each in (count, count - 1)]
        upper, lower = (np.interp(end, self.shape, PLACES) if self.shape else end for end in ends)
        return np.asarray(lower + rng.random(len(mean)) * (upper - lower), np.float64)

    def _parameters(self, mean: Float64Array) -> tuple[Float64Array, Float64Array]:
        """scipy's (n, p)."""
        mean = np.maximum(mean, _TINY)
        alpha = self.own / mean + self.common
        return 1.0 / alpha, 1.0 / (1.0 + alpha * mean)


FIRST_GUESS = NodeSpread(2.0, 0.01)  # where no level below says more


def fit_node_spread(
    actual: Float64Array, mean: Float64Array, below: NodeSpread, rng: np.random.Generator
) -> NodeSpread:
    """The likeliest spread of n sums, its logarithms drawn to those of the level below; bent where
    there are enough."""
    mean, count = np.maximum(mean, _TINY), np.maximum(np.rint(actual), 0.0)
    centre = np.log([below.own, below.common])

    def unlikely(logs: Float64Array) -> float:
        own, common = np.exp(np.clip(logs, -12.0, 5.0))
        drawn = 0.5 * float((((logs - centre) / _DRAW) ** 2).sum())
        return drawn - log_likelihood(count, mean, own / mean + common)

    own, common = np.exp(
        np.clip(optimize.minimize(unlikely, centre, method="Nelder-Mead").x, -12.0, 5.0)
    )
    plain = NodeSpread(float(own), float(common))
    return NodeSpread(plain.own, plain.common, bent(plain, count, mean, rng))


@dataclass(frozen=True)
class NodeSums:
    """Of one level of the hierarchy: over SPANS weeks from the first one on, and of a week beyond
    the near ones."""

    spans: tuple[NodeSpread, ...]
    far: NodeSpread

    def quantiles(
        self, mean: Float64Array, weeks: float, at: Sequence[float] = QUANTILES
    ) -> Float64Array:
        """n × levels of n sums over so many weeks."""
        low, high, share = _between(weeks)
        return _mixed(
            self.spans[low].quantiles(mean, at), self.spans[high].quantiles(mean, at), share
        )

    def pit(
        self, actual: Float64Array, mean: Float64Array, weeks: float, rng: np.random.Generator
    ) -> Float64Array:
        """The randomised probability integral transform of n sums, by the nearest of SPANS."""
        low, high, share = _between(weeks)
        return self.spans[high if share > 0.5 else low].pit(actual, mean, rng)


@dataclass(frozen=True)
class Sums:
    """What sums were seen to do: of items by SPANS, of nodes by level of the hierarchy (none
    without backtests)."""

    items: tuple[Spread, ...]
    nodes: Mapping[str, NodeSums]

    def quantiles(
        self,
        mean: Float64Array,
        dense: BoolArray,
        weeks: float,
        at: Sequence[float] = QUANTILES,
    ) -> Float64Array:
        """n × levels of what n items sell in so many weeks: whole units; mean is of all these weeks
        together."""
        low, high, share = _between(weeks)
        segment = dense.astype(np.int64)
        below, above = (self.items[place].quantiles(mean, segment, at) for place in (low, high))
        return _mixed(below, above, share)

    def pit(
        self,
        actual: Float64Array,
        mean: Float64Array,
        dense: BoolArray,
        weeks: float,
        rng: np.random.Generator,
    ) -> Float64Array:
        """The randomised probability integral transform of n sums of items, by the nearest of
        SPANS."""
        low, high, share = _between(weeks)
        return self.items[high if share > 0.5 else low].pit(
            actual, mean, dense.astype(np.int64), rng
        )

    def save(self, folder: Path) -> None:
        """Writes sums.json."""
        nodes = {level: asdict(each) for level, each in self.nodes.items()}
        stored = {"items": [asdict(spread) for spread in self.items], "nodes": nodes}
        (folder / FILE).write_text(json.dumps(stored), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Sums | None:
        """None for a model of an earlier release."""
        path = folder / FILE
        if not path.is_file():
            return None
        stored = json.loads(path.read_text(encoding="utf-8"))
        nodes = {
            level: NodeSums(tuple(_node(spread) for spread in each["spans"]), _node(each["far"]))
            for level, each in stored["nodes"].items()
        }
        return cls(tuple(spread_of(each) for each in stored["items"]), nodes)


def spread_of(stored: Mapping[str, Any]) -> Spread:
    """From what `asdict` made of it."""
    sparse, dense = (
        Counts(
            tuple(each["edges"]),
            tuple(each["alphas"]),
            tuple(tuple(shape) for shape in each["shapes"]),
        )
        for each in (stored["sparse"], stored["dense"])
    )
    return Spread(sparse, dense)


def _node(stored: Mapping[str, Any]) -> NodeSpread:
    return NodeSpread(stored["own"], stored["common"], tuple(stored["shape"]))


def _between(weeks: float) -> tuple[int, int, float]:
    """The SPANS below and above so many weeks, and how far it is to the upper one by the logarithm
    of the time."""
    place = float(np.interp(np.log(max(weeks, 1.0)), np.log(SPANS), np.arange(len(SPANS))))
    low = int(place)
    return low, min(low + 1, len(SPANS) - 1), place - low


def _mixed(low: Float64Array, high: Float64Array, share: float) -> Float64Array:
    return np.asarray(
        np.maximum(np.ceil((1 - share) * low + share * high - 1e-9), 0.0) + 0.0, np.float64
    )
