"""Counts around a mean: a negative binomial by volume bucket, then bent to what the backtest saw.

Variance = mean + alpha × mean². Quantiles below the share of zeros cannot be learnt by a quantile
loss; a count distribution has them. Where its shape is wrong (packs bought by the ten), the
distribution of past probability integral transforms corrects it at every level: a conformal
predictive distribution. References: Snyder, Ord & Beaumont (2012), Forecasting the intermittent
demand for slow-moving inventories; Czado, Gneiting & Held (2009), Predictive model assessment for
count data (the randomised PIT); Vovk et al. (2018), Cross-conformal predictive distributions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import special, stats

from features.contracts.arrays import Float64Array, Int64Array

QUANTILES = (0.1, 0.5, 0.9)
_EDGES = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 15.0, 50.0)
_ALPHAS = np.geomspace(0.01, 30.0, 60)
_COARSE = 8
_MIN_ROWS = 200
_MIN_SHAPE_ROWS = 500
_MOST_ROWS = 20_000
PLACES = np.linspace(0, 1, 101)
_GRID = 0.01  # means are rounded to steps of 1 % before quantiles are looked up


@dataclass(frozen=True)
class Counts:
    """One distribution a mean; bucket i holds means from edges[i-1] to below edges[i].

    alphas   dispersion of each bucket
    shapes   of each bucket, the plain distribution's level at which each hundredth of what was sold
             lay below; empty
             where the plain distribution stands
    """

    edges: tuple[float, ...]
    alphas: tuple[float, ...]
    shapes: tuple[tuple[float, ...], ...]

    def alpha(self, mean: Float64Array) -> Float64Array:
        """alpha of each mean."""
        return np.asarray(np.array(self.alphas)[self._bucket(mean)], np.float64)

    def quantiles(self, mean: Float64Array, at: Sequence[float] = QUANTILES) -> Float64Array:
        """n × levels: a quantile of each mean at each level of `at`; whole units, never
        crossing."""
        rounded = np.exp(np.round(np.log(np.maximum(mean, 1e-6)) / _GRID) * _GRID)
        values, back = np.unique(rounded, return_inverse=True)
        size, chance = _parameters(values, self.alpha(values))
        bucket = self._bucket(values)
        table = np.empty((len(values), len(at)))
        for column, level in enumerate(at):
            plain = np.array(
                [np.interp(level, PLACES, shape) if shape else level for shape in self.shapes]
            )
            table[:, column] = stats.nbinom.ppf(plain[bucket], size, chance)
        return np.asarray(np.maximum(table, 0)[back], np.float64)

    def below(self, count: Float64Array, mean: Float64Array) -> Float64Array:
        """The chance of at most `count` units."""
        size, chance = _parameters(mean, self.alpha(mean))
        plain = np.where(count >= 0, stats.nbinom.cdf(count, size, chance), 0.0)
        bucket = self._bucket(mean)
        for place, shape in enumerate(self.shapes):
            rows = bucket == place
            if shape and rows.any():
                plain[rows] = np.interp(plain[rows], shape, PLACES)
        return np.asarray(np.where(count >= 0, plain, 0.0), np.float64)

    def pit(
        self, actual: Float64Array, mean: Float64Array, rng: np.random.Generator
    ) -> Float64Array:
        """The randomised probability integral transform: uniform on 0..1 when the distribution is
        right."""
        count = np.rint(actual)
        upper, lower = self.below(count, mean), self.below(count - 1, mean)
        return np.asarray(lower + rng.random(len(mean)) * (upper - lower), np.float64)

    def _bucket(self, mean: Float64Array) -> Int64Array:
        return np.searchsorted(self.edges, mean, side="right").astype(np.int64)


def fit_counts(actual: Float64Array, mean: Float64Array, rng: np.random.Generator) -> Counts:
    """The likeliest alpha of each volume bucket, and the shape that was seen; few rows take what
    all rows say."""
    actual, mean = np.asarray(actual, np.float64), np.maximum(np.asarray(mean, np.float64), 1e-6)
    buckets = np.searchsorted(_EDGES, mean, side="right")
    overall = _likeliest(actual, mean)
    places = [np.flatnonzero(buckets == bucket) for bucket in range(len(_EDGES) + 1)]
    alphas = [
        _likeliest(actual[rows], mean[rows]) if len(rows) >= _MIN_ROWS else overall
        for rows in places
    ]
    plain = Counts(_EDGES, tuple(alphas), ((),) * len(alphas))
    return Counts(
        _EDGES, plain.alphas, tuple(bent(plain, actual[rows], mean[rows], rng) for rows in places)
    )


class _Plain(Protocol):
    def pit(
        self, actual: Float64Array, mean: Float64Array, rng: np.random.Generator
    ) -> Float64Array: ...


def bent(
    plain: _Plain, actual: Float64Array, mean: Float64Array, rng: np.random.Generator
) -> tuple[float, ...]:
    """The plain distribution's level below which each hundredth of what was sold lay; empty with
    too few rows."""
    if len(actual) < _MIN_SHAPE_ROWS:
        return ()
    some = slice(None, None, max(1, len(actual) // _MOST_ROWS))
    seen = np.quantile(plain.pit(actual[some], mean[some], rng), PLACES)
    seen[0], seen[-1] = 0.0, 1.0
    return tuple(np.round(seen, 5).tolist())


def _likeliest(actual: Float64Array, mean: Float64Array, *, most: int = 8_000) -> float:
    if not len(actual):
        return 1.0
    stride = max(1, len(actual) // most)
    y, mu = np.rint(actual[::stride]), mean[::stride]
    coarse = (
        int(np.argmax([log_likelihood(y, mu, alpha) for alpha in _ALPHAS[::_COARSE]])) * _COARSE
    )
    near = range(
        max(coarse - _COARSE, 0), min(coarse + _COARSE + 1, len(_ALPHAS))
    )  # the likelihood has one peak
    return float(_ALPHAS[max(near, key=lambda place: log_likelihood(y, mu, float(_ALPHAS[place])))])


def log_likelihood(y: Float64Array, mu: Float64Array, alpha: float | Float64Array) -> float:
    """Of counts y under negative binomials of means mu, less the terms that do not hold alpha."""
    size = 1.0 / alpha
    terms = (
        special.gammaln(y + size)
        - special.gammaln(size)
        - (y + size) * np.log1p(alpha * mu)
        + y * np.log(alpha)
    )
    return float(terms.sum())


def _parameters(mean: Float64Array, alpha: Float64Array) -> tuple[Float64Array, Float64Array]:
    """scipy's (n, p) of the distribution."""
    return 1.0 / alpha, 1.0 / (1.0 + alpha * np.maximum(mean, 1e-9))
