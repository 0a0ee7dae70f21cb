"""Which method answers in which segment: a blend of the learner and TSB, weighted by what backtests
saw.

Segments are volume × intermittence of the last year. The weights also take the bias out: they need
not sum to 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from features.contracts.arrays import Float64Array, Int64Array
from models.demand.panel import DemandPanel

METHODS = ("trees", "TSB")
VOLUMES = (
    0.15,
    0.4,
    1.0,
    2.5,
    8.0,
    25.0,
)  # weekly units at which one volume ends and the next begins
DENSE = 0.25  # a series is dense that sold in at least this share of the weeks
N_SEGMENTS = 2 * (len(VOLUMES) + 1)
_MEMORY = 52
_OWN = (
    3_000  # rows that a segment needs before its own weights count as much as those of all series
)
_ALL = 1_000  # rows that a shop needs before its weights count as much as the learner alone
_FLOOR = 0.05


def segments(panel: DemandPanel) -> Int64Array:
    """Of each series, 2 × volume + 1 if dense, else + 0."""
    known = panel.units[:, -_MEMORY:]
    volume = np.searchsorted(VOLUMES, known.mean(axis=1), side="right")
    return np.asarray(2 * volume + ((known > 0).mean(axis=1) >= DENSE), np.int64)


def segment_name(segment: int) -> str:
    """In words.

    >>> segment_name(3), segment_name(12)
    ('0.15 to 0.4 units a week, dense', 'over 25 units a week, sparse')
    """
    volume, dense = divmod(segment, 2)
    if volume == 0:
        size = f"under {VOLUMES[0]:g}"
    elif volume == len(VOLUMES):
        size = f"over {VOLUMES[-1]:g}"
    else:
        size = f"{VOLUMES[volume - 1]:g} to {VOLUMES[volume]:g}"
    return f"{size} units a week, {'dense' if dense else 'sparse'}"


@dataclass(frozen=True)
class Blend:
    """Weights of METHODS by segment."""

    weights: tuple[tuple[float, ...], ...]

    def __call__(self, means: Float64Array, segment: Int64Array) -> Float64Array:
        """... × M means of the methods -> blended means; `segment` is of the first axis."""
        chosen = np.array(self.weights)[segment]
        return np.asarray(np.einsum("i...m,im->i...", means, chosen), np.float64)


def fit_blend(actual: Float64Array, means: Float64Array, segment: Int64Array) -> Blend:
    """Non-negative least squares, errors weighted by one over the mean; few rows are drawn to what
    all rows say.

    actual R, means R × M, segment R.
    """
    weight = 1.0 / np.maximum(means[:, 0], _FLOOR)
    alone = np.eye(len(METHODS))[0]
    overall = _weights(actual, means, weight, alone, _ALL)
    rows = [np.flatnonzero(segment == each) for each in range(N_SEGMENTS)]
    found = [
        _weights(actual[r], means[r], weight[r], overall, _OWN) if len(r) else overall for r in rows
    ]
    return Blend(tuple(tuple(each.tolist()) for each in found))


def _weights(
    actual: Float64Array,
    means: Float64Array,
    weight: Float64Array,
    prior: Float64Array,
    strength: float,
) -> Float64Array:
    """Drawn towards `prior` as if by `strength` more rows."""
    gram = (means * weight[:, None]).T @ means
    pull = strength * np.trace(gram) / len(prior) / max(len(actual), 1)
    if pull <= 0:
        return prior
    drawn = gram + pull * np.eye(len(prior))
    root = np.linalg.cholesky(drawn)
    moment = means.T @ (weight * actual) + pull * prior
    return np.asarray(nnls(root.T, np.linalg.solve(root, moment))[0], np.float64)
