"""The blend of two methods, the learner and TSB, with weights by segment fitted on backtests.

Segments are volume × intermittence of the last year. The weights also take out the bias: they need
not sum to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from features.contracts.arrays import BoolArray, Float64Array, Int64Array
from models.demand.panel import DemandPanel

METHODS = ("trees", "TSB")
TREES, TSB = range(len(METHODS))  # their positions on the last axis of an array of means
VOLUMES = (0.15, 0.4, 1.0, 2.5, 8.0, 25.0)  # weekly units at which one volume class ends
DENSE = 0.25  # a series is dense that sold in at least this share of the weeks
_MEMORY = 52
# Rows that a segment needs before its own weights count as much as those of all series.
_SEGMENT_STRENGTH = 3_000
# Rows that a shop needs before its weights count as much as the learner alone.
_SHOP_STRENGTH = 1_000
_FLOOR = 0.05


@dataclass(frozen=True)
class Segment:
    """One segment: a volume class, 0 below VOLUMES[0] and so on, of dense or of sparse series."""

    volume: int
    dense: bool

    @property
    def name(self) -> str:
        """The segment in words.

        >>> Segment(1, True).name, Segment(6, False).name
        ('0.15 to 0.4 units a week, dense', 'over 25 units a week, sparse')
        """
        if self.volume == 0:
            size = f"under {VOLUMES[0]:g}"
        elif self.volume == len(VOLUMES):
            size = f"over {VOLUMES[-1]:g}"
        else:
            size = f"{VOLUMES[self.volume - 1]:g} to {VOLUMES[self.volume]:g}"
        return f"{size} units a week, {'dense' if self.dense else 'sparse'}"


SEGMENTS = tuple(
    Segment(volume, dense) for volume in range(len(VOLUMES) + 1) for dense in (False, True)
)


@dataclass(frozen=True)
class Segments:
    """The segments of n series: their volume classes and whether they are dense, n each."""

    volume: Int64Array
    dense: BoolArray

    @property
    def codes(self) -> Int64Array:
        """The position of each in SEGMENTS, n."""
        return 2 * self.volume + self.dense

    def take(self, series: Int64Array) -> Segments:
        """Return the segments of some series."""
        return Segments(self.volume[series], self.dense[series])

    def repeat(self, count: int) -> Segments:
        """Return each segment `count` times, one after the other."""
        return Segments(self.volume.repeat(count), self.dense.repeat(count))

    @classmethod
    def concatenate(cls, parts: Sequence[Segments]) -> Segments:
        """Return the segments of all parts, in their order."""
        return cls(
            np.concatenate([part.volume for part in parts]),
            np.concatenate([part.dense for part in parts]),
        )


def segment_series(panel: DemandPanel) -> Segments:
    """Return the segments of the panel's series, by what they sold in the last year."""
    units = panel.units[:, -_MEMORY:]
    volume = np.searchsorted(VOLUMES, units.mean(axis=1), side="right")
    dense = (units > 0).mean(axis=1) >= DENSE
    return Segments(np.asarray(volume, np.int64), np.asarray(dense))


@dataclass(frozen=True)
class Blend:
    """Weights of METHODS by segment, in the order of SEGMENTS."""

    weights: tuple[tuple[float, ...], ...]

    def combine(self, means: Float64Array, segments: Segments) -> Float64Array:
        """Return n × ... blended means of the n × ... × METHODS `means` of n series."""
        weights = np.array(self.weights)[segments.codes]
        return np.asarray(np.einsum("i...m,im->i...", means, weights), np.float64)


def fit_blend(actual: Float64Array, means: Float64Array, segments: Segments) -> Blend:
    """Fit the weights by non-negative least squares, errors weighted by one over the mean.

    Weights of a segment with few rows are shrunk towards those of all rows.
    `actual` R, `means` R × METHODS, `segments` of R rows.
    """
    weight = 1.0 / np.maximum(means[:, TREES], _FLOOR)
    learner_alone = np.eye(len(METHODS))[TREES]
    overall = _fit_weights(actual, means, weight, _Prior(learner_alone, _SHOP_STRENGTH))
    prior = _Prior(overall, _SEGMENT_STRENGTH)
    codes = segments.codes
    fitted = []
    for code in range(len(SEGMENTS)):
        rows = np.flatnonzero(codes == code)
        fitted.append(
            _fit_weights(actual[rows], means[rows], weight[rows], prior) if len(rows) else overall
        )
    return Blend(tuple(tuple(weights.tolist()) for weights in fitted))


@dataclass(frozen=True)
class _Prior:
    """Weights of METHODS that count as much as `strength` rows."""

    weights: Float64Array
    strength: float


def _fit_weights(
    actual: Float64Array, means: Float64Array, weight: Float64Array, prior: _Prior
) -> Float64Array:
    """Return the weights of METHODS, shrunk towards the prior."""
    n_methods = len(prior.weights)
    gram = (means * weight[:, None]).T @ means
    ridge = prior.strength * np.trace(gram) / n_methods / max(len(actual), 1)
    if ridge <= 0:
        return prior.weights
    root = np.linalg.cholesky(gram + ridge * np.eye(n_methods))
    moment = means.T @ (weight * actual) + ridge * prior.weights
    return np.asarray(nnls(root.T, np.linalg.solve(root, moment))[0], np.float64)
