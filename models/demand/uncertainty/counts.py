"""Distributions of units sold: a negative binomial by volume bucket, recalibrated on backtests.

    variance = mean + alpha × mean²

Quantiles below the share of zeros cannot be learnt by a quantile loss; a count distribution has
them. Where its shape is wrong (packs bought by the ten), the distribution of past probability
integral transforms corrects it at every level: a conformal predictive distribution.

References: Snyder, Ord & Beaumont (2012), Forecasting the intermittent demand for slow-moving
inventories; Czado, Gneiting & Held (2009), Predictive model assessment for count data (the
randomised PIT); Vovk et al. (2018), Cross-conformal predictive distributions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from scipy import special

from features.contracts.arrays import Float64Array, Int64Array

QUANTILES = (0.1, 0.5, 0.9)
QUANTILE_NAMES = ("p10", "p50", "p90")
P10, P50, P90 = range(len(QUANTILES))  # their positions on the last axis of an array of quantiles
SHAPE_LEVELS = np.linspace(0, 1, 101)
_EDGES = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 15.0, 50.0)
_ALPHAS = np.geomspace(0.01, 30.0, 60)
_COARSE = 8
_MIN_ROWS = 200
_MIN_SHAPE_ROWS = 500
_MOST_SHAPE_ROWS = 20_000
_MOST_ALPHA_ROWS = 8_000
_GRID = 0.01  # means are rounded to steps of 1 % before quantiles are looked up


@dataclass(frozen=True)
class CountDistribution:
    """The distribution of a count given its mean; bucket i holds means from edges[i-1] to edges[i].

    alphas   dispersion of each bucket
    shapes   of each bucket, the levels of the negative binomial below which SHAPE_LEVELS of past
             counts lay; () where the negative binomial is used as it is
    """

    edges: tuple[float, ...]
    alphas: tuple[float, ...]
    shapes: tuple[tuple[float, ...], ...]

    def alpha(self, mean: Float64Array) -> Float64Array:
        """Return the dispersion at each of n means."""
        return np.asarray(np.array(self.alphas)[self._bucket(mean)], np.float64)

    def quantiles(self, mean: Float64Array, levels: Sequence[float] = QUANTILES) -> Float64Array:
        """Return n × levels quantiles around n means: whole units, never crossing."""
        from scipy import stats  # half a second: a server starts without it

        rounded = np.exp(np.round(np.log(np.maximum(mean, 1e-6)) / _GRID) * _GRID)
        values, inverse = np.unique(rounded, return_inverse=True)
        size, chance = _scipy_parameters(values, self.alpha(values))
        bucket = self._bucket(values)
        table = np.empty((len(values), len(levels)))
        for column, level in enumerate(levels):
            plain = np.array(
                [np.interp(level, SHAPE_LEVELS, shape) if shape else level for shape in self.shapes]
            )
            table[:, column] = stats.nbinom.ppf(plain[bucket], size, chance)
        return np.asarray(np.maximum(table, 0)[inverse], np.float64)

    def cdf(self, count: Float64Array, mean: Float64Array) -> Float64Array:
        """Return the probability of at most `count` units."""
        from scipy import stats

        size, chance = _scipy_parameters(mean, self.alpha(mean))
        levels = np.where(count >= 0, stats.nbinom.cdf(count, size, chance), 0.0)
        buckets = self._bucket(mean)
        for bucket, shape in enumerate(self.shapes):
            rows = buckets == bucket
            if shape and rows.any():
                levels[rows] = np.interp(levels[rows], shape, SHAPE_LEVELS)
        return np.asarray(np.where(count >= 0, levels, 0.0), np.float64)

    def pit(
        self, actual: Float64Array, mean: Float64Array, rng: np.random.Generator
    ) -> Float64Array:
        """Return the randomised probability integral transform: uniform if the model is right."""
        count = np.rint(actual)
        upper, lower = self.cdf(count, mean), self.cdf(count - 1, mean)
        return np.asarray(lower + rng.random(len(mean)) * (upper - lower), np.float64)

    def _bucket(self, mean: Float64Array) -> Int64Array:
        return np.searchsorted(self.edges, mean, side="right").astype(np.int64)


def fit_count_distribution(
    actual: Float64Array, mean: Float64Array, rng: np.random.Generator
) -> CountDistribution:
    """Fit alpha by maximum likelihood and the shape to n counts, in each volume bucket.

    A bucket of few rows has the alpha of all rows.
    """
    actual, mean = np.asarray(actual, np.float64), np.maximum(np.asarray(mean, np.float64), 1e-6)
    buckets = np.searchsorted(_EDGES, mean, side="right")
    overall = _fit_alpha(actual, mean)
    bucket_rows = [np.flatnonzero(buckets == bucket) for bucket in range(len(_EDGES) + 1)]
    alphas = [
        _fit_alpha(actual[rows], mean[rows]) if len(rows) >= _MIN_ROWS else overall
        for rows in bucket_rows
    ]
    plain = CountDistribution(_EDGES, tuple(alphas), ((),) * len(alphas))
    shapes = [fit_shape(plain, actual[rows], mean[rows], rng) for rows in bucket_rows]
    return replace(plain, shapes=tuple(shapes))


class HasPit(Protocol):
    """A distribution that gives the randomised probability integral transform of counts."""

    def pit(
        self, actual: Float64Array, mean: Float64Array, rng: np.random.Generator
    ) -> Float64Array:
        """Return the randomised probability integral transform of n counts."""


def fit_shape(
    plain: HasPit, actual: Float64Array, mean: Float64Array, rng: np.random.Generator
) -> tuple[float, ...]:
    """Return the levels of `plain` below which SHAPE_LEVELS of n counts lay; () with few rows."""
    if len(actual) < _MIN_SHAPE_ROWS:
        return ()
    sample = slice(None, None, max(1, len(actual) // _MOST_SHAPE_ROWS))
    levels = np.quantile(plain.pit(actual[sample], mean[sample], rng), SHAPE_LEVELS)
    levels[0], levels[-1] = 0.0, 1.0
    return tuple(np.round(levels, 5).tolist())


def _fit_alpha(actual: Float64Array, mean: Float64Array) -> float:
    """Return the likeliest of _ALPHAS; the likelihood has one peak, so few of them are tried."""
    if not len(actual):
        return 1.0
    stride = max(1, len(actual) // _MOST_ALPHA_ROWS)
    count, mu = np.rint(actual[::stride]), mean[::stride]
    likelihoods = [log_likelihood(count, mu, alpha) for alpha in _ALPHAS[::_COARSE]]
    coarse = int(np.argmax(likelihoods)) * _COARSE
    near = _ALPHAS[max(coarse - _COARSE, 0) : coarse + _COARSE + 1]
    return float(max(near, key=lambda alpha: log_likelihood(count, mu, float(alpha))))


def log_likelihood(count: Float64Array, mean: Float64Array, alpha: float | Float64Array) -> float:
    """Return that of counts under negative binomials, without the terms that do not hold alpha."""
    size = 1.0 / alpha
    terms = (
        special.gammaln(count + size)
        - special.gammaln(size)
        - (count + size) * np.log1p(alpha * mean)
        + count * np.log(alpha)
    )
    return float(terms.sum())


def _scipy_parameters(mean: Float64Array, alpha: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return scipy's n and p of negative binomials."""
    return 1.0 / alpha, 1.0 / (1.0 + alpha * np.maximum(mean, 1e-9))
