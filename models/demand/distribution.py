"""Counts around a mean: a negative binomial whose dispersion is fitted by volume bucket on backtest residuals.

Variance = mean + alpha × mean². Quantiles below the share of zeros cannot be learnt by a quantile loss; a count
distribution has them. References: Snyder, Ord & Beaumont (2012), Forecasting the intermittent demand for slow-moving
inventories; Czado, Gneiting & Held (2009), Predictive model assessment for count data (the randomised PIT).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special, stats

Doubles = npt.NDArray[np.float64]
QUANTILES = (0.1, 0.5, 0.9)
_EDGES = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 15.0, 50.0)
_ALPHAS = np.geomspace(0.01, 30.0, 60)
_MIN_ROWS = 200
_GRID = 0.01  # means are rounded to steps of 1 % before quantiles are looked up


@dataclass(frozen=True)
class Dispersion:
    """alpha of each volume bucket; bucket i holds means from edges[i-1] to below edges[i]."""

    edges: tuple[float, ...]
    alphas: tuple[float, ...]

    def alpha(self, mean: Doubles) -> Doubles:
        """alpha of each mean."""
        return np.asarray(np.array(self.alphas)[np.searchsorted(self.edges, mean, side="right")], np.float64)

    def quantiles(self, mean: Doubles) -> Doubles:
        """n × 3: p10, p50, p90 of each mean; whole units, never crossing."""
        rounded = np.exp(np.round(np.log(np.maximum(mean, 1e-6)) / _GRID) * _GRID)
        values, back = np.unique(rounded, return_inverse=True)
        size, chance = _parameters(values, self.alpha(values))
        table = np.column_stack([stats.nbinom.ppf(q, size, chance) for q in QUANTILES])
        return np.asarray(np.maximum(table, 0)[back], np.float64)

    def pit(self, actual: Doubles, mean: Doubles, rng: np.random.Generator) -> Doubles:
        """The randomised probability integral transform: uniform on 0..1 when the distribution is right."""
        size, chance = _parameters(mean, self.alpha(mean))
        count = np.rint(actual)
        upper = stats.nbinom.cdf(count, size, chance)
        lower = np.where(count > 0, stats.nbinom.cdf(count - 1, size, chance), 0.0)
        return np.asarray(lower + rng.random(len(mean)) * (upper - lower), np.float64)


def fit_dispersion(actual: Doubles, mean: Doubles) -> Dispersion:
    """The likeliest alpha of each volume bucket; a bucket of few rows takes the one of all rows."""
    actual, mean = np.asarray(actual, np.float64), np.maximum(np.asarray(mean, np.float64), 1e-6)
    buckets = np.searchsorted(_EDGES, mean, side="right")
    overall = _likeliest(actual, mean)
    alphas = []
    for bucket in range(len(_EDGES) + 1):
        rows = np.flatnonzero(buckets == bucket)
        alphas.append(_likeliest(actual[rows], mean[rows]) if len(rows) >= _MIN_ROWS else overall)
    return Dispersion(_EDGES, tuple(alphas))


def _likeliest(actual: Doubles, mean: Doubles, *, most: int = 8_000) -> float:
    if not len(actual):
        return 1.0
    stride = max(1, len(actual) // most)
    y, mu = np.rint(actual[::stride]), mean[::stride]
    return float(_ALPHAS[int(np.argmax([_log_likelihood(y, mu, alpha) for alpha in _ALPHAS]))])


def _log_likelihood(y: Doubles, mu: Doubles, alpha: float) -> float:
    """Of a negative binomial, less the terms that do not hold alpha."""
    size = 1.0 / alpha
    terms = special.gammaln(y + size) - special.gammaln(size) - (y + size) * np.log1p(alpha * mu) + y * np.log(alpha)
    return float(terms.sum())


def _parameters(mean: Doubles, alpha: Doubles) -> tuple[Doubles, Doubles]:
    """scipy's (n, p) of the distribution."""
    return 1.0 / alpha, 1.0 / (1.0 + alpha * np.maximum(mean, 1e-9))
