"""What backtests before an origin teach the forecasts made at it: how to correct means, how wide to spread counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.demand.distribution import Dispersion, Doubles, fit_dispersion

_BIAS_BOUNDS = (0.8, 1.25)
NEAR = 4  # horizons up to here share a dispersion, those beyond another
_ENOUGH = 1_000
_SIZES = 5


@dataclass(frozen=True)
class Backtest:
    """What a model said at an origin and what then came; rows of series × week."""

    origin: int
    step: npt.NDArray[np.int64]
    target: npt.NDArray[np.int64]
    mean: Doubles
    actual: Doubles

    def before(self, n_known: int) -> Backtest:
        """The rows whose week is over after `n_known` weeks."""
        kept = self.target < n_known
        return Backtest(self.origin, self.step[kept], self.target[kept], self.mean[kept], self.actual[kept])


@dataclass(frozen=True)
class Correction:
    """Takes the bias out of a mean by a factor for its size: learners err upwards on small means, downwards on large.

    edges     means at which one size ends and the next begins, ascending; sizes hold the same volume each
    factors   one per size, one more than there are edges
    """

    edges: tuple[float, ...]
    factors: tuple[float, ...]

    def __call__(self, mean: Doubles) -> Doubles:
        """The corrected means, in the shape given."""
        return np.asarray(mean * np.array(self.factors)[np.searchsorted(self.edges, mean)])


@dataclass(frozen=True)
class Calibration:
    """Learnt on backtests before the origin: the correction of the mean, the dispersion near and far."""

    correction: Correction
    near: Dispersion
    far: Dispersion

    def quantiles(self, mean: Doubles, step: int) -> Doubles:
        """n × 3: p10, p50, p90 of means `step` weeks ahead."""
        return (self.near if step <= NEAR else self.far).quantiles(mean)


def calibrate(backtests: Sequence[Backtest], n_known: int) -> Calibration:
    """From backtests of earlier origins, of which only weeks before `n_known` are looked at."""
    seen = [backtest.before(n_known) for backtest in backtests]
    step = np.concatenate([each.step for each in seen])
    mean = np.concatenate([each.mean for each in seen])
    actual = np.concatenate([each.actual for each in seen])
    near = step <= NEAR
    correction = fit_correction(actual[near], mean[near])
    close = fit_dispersion(actual[near], correction(mean[near]))
    enough = int((~near).sum()) >= _ENOUGH
    return Calibration(correction, close, fit_dispersion(actual[~near], correction(mean[~near])) if enough else close)


def fit_correction(actual: Doubles, mean: Doubles) -> Correction:
    """Actual over foretold units in each of up to `_SIZES` sizes of equal volume; 1 where nothing is known.

    A size of few rows is drawn towards the ratio of all: it counts as `_ENOUGH` more rows of that.
    """
    total = float(mean.sum())
    if total <= 0 or actual.sum() <= 0:
        return Correction((), (1.0,))
    order = np.argsort(mean, kind="stable")
    volume = np.cumsum(mean[order])
    places = np.searchsorted(volume, [total * k / _SIZES for k in range(1, _SIZES)])
    edges = np.unique(mean[order][np.minimum(places, len(order) - 1)])
    size = np.searchsorted(edges, mean)
    n_sizes = len(edges) + 1
    rows = np.bincount(size, minlength=n_sizes)
    overall = float(actual.sum()) / total
    ratio = np.bincount(size, actual, n_sizes) / np.maximum(np.bincount(size, mean, n_sizes), 1e-9)
    drawn = (ratio * rows + overall * _ENOUGH) / (rows + _ENOUGH)
    return Correction(tuple(edges.tolist()), tuple(np.clip(drawn, *_BIAS_BOUNDS).tolist()))
