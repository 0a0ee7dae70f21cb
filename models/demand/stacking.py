"""Weights of forecasts that sum to one, and a common factor, fitted to backtests with a prior.

Stacked regression (Breiman 1996) on the simplex: the weights minimise squared errors over the level
of the series, as a Poisson count's variance demands, plus the squared distance from prior weights.
Squared errors make the combination estimate the mean; absolute ones would reward a forecast below
it, since the median of small counts lies below their mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from features.contracts.arrays import Float64Array, Int64Array

_FLOOR = 0.05  # weekly units below which a level counts as this one
_HALF_LIFE = 52.0  # weeks after which a backtest counts half
# The share of the error variance that the series of one week have in common is at least this one. A
# week of n series is evidence of n / (1 + share × (n - 1)) rows (the design effect: Kish 1965).
_LEAST_COMMON_SHARE = 0.002
# The errors of successive weeks are alike, so their mean is less certain than that of as many
# independent weeks.
_SCALE_INFLATION, _SCALE_WEEKS = 1.5, 4
_SUM_PENALTY = 1e3  # of the sum of weights off 1, in root-mean-squares of the columns


@dataclass(frozen=True)
class Evidence:
    """R backtested forecasts: what sold, and the M forecasts of it.

    actual   R units
    means    R × M
    origin   R, the number of weeks that were known
    week     R, the number of the week that was forecast
    """

    actual: Float64Array
    means: Float64Array
    origin: Int64Array
    week: Int64Array

    def take(self, rows: Int64Array) -> Evidence:
        """Return some rows."""
        return Evidence(self.actual[rows], self.means[rows], self.origin[rows], self.week[rows])

    def count_rows(self, errors: Float64Array) -> Float64Array:
        """Return R: how much each row counts, given R standardized errors of one forecast.

        Rows of an old week count less, a week that several origins forecast counts once, and the
        many series of one week count less the more their errors have in common.
        """
        if not len(self.week):
            return np.zeros(0)
        pairs, pair_row = np.unique(np.stack([self.week, self.origin]), axis=1, return_inverse=True)
        pair_row = pair_row.ravel()
        n_origins = np.bincount(pairs[0])[self.week]
        n_series = np.bincount(pair_row)
        sums, squares = np.bincount(pair_row, errors), np.bincount(pair_row, errors**2)
        possible = ((n_series - 1) * squares).sum()
        share = (sums**2 - squares).sum() / possible if possible > 0 else 0.0
        design_effect = 1 + np.clip(share, _LEAST_COMMON_SHARE, 1.0) * (n_series - 1)
        recency = 0.5 ** ((self.week.max() - self.week) / _HALF_LIFE)
        return np.asarray(recency / n_origins / design_effect[pair_row], np.float64)


@dataclass(frozen=True)
class Prior:
    """Weights that are expected before any backtest, M, and the standard deviation around them."""

    weights: Float64Array
    deviation: float


def fit_weights(evidence: Evidence, prior: Prior) -> Float64Array:
    """Return M non-negative weights of sum 1; the prior's without evidence.

    >>> weeks = np.arange(40)
    >>> sold, means = np.full(40, 3.0), np.tile([3.0, 6.0], (40, 1))
    >>> evidence = Evidence(sold, means, weeks, weeks + 1)
    >>> fit_weights(evidence, Prior(np.array([0.5, 0.5]), 0.2)).round(2).tolist()
    [0.86, 0.14]
    """
    n_methods = len(prior.weights)
    errors = evidence.means - evidence.actual[:, None]
    level = np.maximum(evidence.means.mean(axis=1), _FLOOR)
    counts = evidence.count_rows(errors @ prior.weights / np.sqrt(level))
    importance = counts / level
    variance = (importance * (errors @ prior.weights) ** 2).sum() / max(counts.sum(), 1e-9)
    if variance <= 0:
        return prior.weights
    scatter = (errors * importance[:, None]).T @ errors / variance
    precision = 1 / prior.deviation**2
    root = np.linalg.cholesky(scatter + precision * np.eye(n_methods)).T
    target = np.linalg.solve(root.T, precision * prior.weights)
    penalty = _SUM_PENALTY * np.sqrt(np.trace(scatter) / n_methods + precision)
    matrix = np.vstack([root, np.full((1, n_methods), penalty)])
    weights = nnls(matrix, np.append(target, penalty), maxiter=100 * n_methods)[0]
    return np.asarray(weights / weights.sum(), np.float64)


def fit_scale(
    actual: Float64Array, mean: Float64Array, week: Int64Array, expected_deviation: float = 0.05
) -> float:
    """Return the factor on R means that takes out their bias, shrunk to 1 as far as it is chance.

    Chance is read off how the sums of weeks err: series of one week err together. Before any
    backtest the bias is 0 with a standard deviation of `expected_deviation`.

    >>> week = np.arange(400) // 20
    >>> sold = np.full(400, 11.0)
    >>> round(fit_scale(sold, np.full(400, 10.0), week), 3)  # a tenth low in every week
    1.1
    >>> round(fit_scale(sold + 10 * (-1.0) ** week, np.full(400, 10.0), week), 3)
    1.002
    """
    _, week_row = np.unique(week, return_inverse=True)
    sold, expected = np.bincount(week_row, actual), np.bincount(week_row, mean)
    if len(sold) < _SCALE_WEEKS or sold.sum() <= 0 or expected.sum() <= 0:
        return 1.0
    excess = sold.sum() / expected.sum() - 1
    errors = sold - expected * (1 + excess)
    deviation = errors.std(ddof=1) * np.sqrt(len(errors)) / expected.sum() * _SCALE_INFLATION
    trust = expected_deviation**2 / (expected_deviation**2 + deviation**2)
    return float(1 + excess * trust)
