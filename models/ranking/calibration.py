"""The chance that an item with a given score of a source is bought in a window.

Scores of different sources have different units; as chances they can be compared. Isotonic
regression over knots with equally many rows each (Zadrozny and Elkan, Transforming classifier
scores into accurate multiclass probability estimates, KDD 2002), on the windows that the ranker is
fitted on: the sources were fitted before them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypedDict

import numpy as np

from features.contracts.arrays import BoolArray, Float32Array, Float64Array, Int64Array
from features.contracts.recommendations import Reason
from models.compiled.source_chances import interpolate_chances, likeliest_sources

# By source: the ranker's column that holds its score, and the reason that it gives.
SOURCES: dict[str, tuple[str, Reason]] = {
    "EASE": ("ease", Reason.SIMILAR),
    "EASE, decayed": ("ease_decayed", Reason.SIMILAR),
    "ALS": ("als", Reason.SIMILAR),
    "popular": ("item_orders_4w", Reason.POPULAR),
    "promoted": ("item_promotion_reach_next_4w", Reason.PROMOTED),
    "bought before": ("decayed_frequency", Reason.BUY_AGAIN),
}
_N_KNOTS = 40
_PRIOR = 20.0  # rows at the mean chance that are added to each knot


class CalibrationMeta(TypedDict):
    """A calibration as JSON."""

    sources: list[str]
    scores: list[list[float]]
    chances: list[list[float]]


@dataclass(frozen=True)
class Calibration:
    """S sources with K knots each.

    Between two knots a chance is interpolated; beyond the ends it is that of the end.

    scores    float64 (S, K), ascending
    chances   float64 (S, K)
    """

    sources: tuple[str, ...]
    scores: Float64Array
    chances: Float64Array

    def chances_of(self, scores: Float32Array) -> Float64Array:
        """Return the chances (n, S) of the sources' scores (n, S), 0 for a missing score."""
        return interpolate_chances(scores, self.scores, self.chances)

    def likeliest_sources(
        self, matrix: Float32Array, score_columns: Int64Array, known_column: int
    ) -> Int64Array:
        """Return the source of the highest chance of each row (n,), the first of equal ones.

        NO_SOURCE where no source has a score above 0.

        matrix          (n, columns)
        score_columns   (S,), the columns that hold the sources' scores
        known_column    rows with a value in this column get SKIPPED
        """
        return likeliest_sources(matrix, score_columns, known_column, self.scores, self.chances)

    def to_meta(self) -> CalibrationMeta:
        """Return the calibration as JSON."""
        return {
            "sources": list(self.sources),
            "scores": self.scores.tolist(),
            "chances": self.chances.tolist(),
        }

    @classmethod
    def from_meta(cls, meta: CalibrationMeta) -> Self:
        """Return what `to_meta` wrote."""
        sources = tuple(meta["sources"])
        shape = len(sources), _N_KNOTS
        scores = np.array(meta["scores"], np.float64).reshape(shape)
        chances = np.array(meta["chances"], np.float64).reshape(shape)
        return cls(sources, scores, chances)


def fit_calibration(
    matrix: Float32Array, relevant: BoolArray, weights: Float64Array, columns: Sequence[str]
) -> Calibration:
    """Fit the sources that have a score in at least one row.

    matrix              (n, columns)
    relevant, weights   (n,)
    """
    mean = float((weights * relevant).sum() / weights.sum())
    sources: list[str] = []
    knots: list[Float64Array] = []
    chances: list[Float64Array] = []
    for source, (name, _) in SOURCES.items():
        if name not in columns:
            continue
        values = matrix[:, columns.index(name)].astype(np.float64)
        known = np.flatnonzero(~np.isnan(values))
        if not len(known):
            continue
        source_knots, source_chances = _fit_knots(
            values[known], relevant[known], weights[known], mean
        )
        # All sources have the same number of knots: the last one is repeated.
        padding = (0, _N_KNOTS - len(source_knots))
        sources.append(source)
        knots.append(np.pad(source_knots, padding, mode="edge"))
        chances.append(np.pad(source_chances, padding, mode="edge"))
    shape = len(sources), _N_KNOTS
    return Calibration(
        tuple(sources), np.array(knots).reshape(shape), np.array(chances).reshape(shape)
    )


def _fit_knots(
    values: Float64Array, relevant: BoolArray, weights: Float64Array, mean: float
) -> tuple[Float64Array, Float64Array]:
    """Return the ascending knots of one source, at most _N_KNOTS, and their chances."""
    from scipy.optimize import isotonic_regression  # a server fits nothing

    order = np.argsort(values, kind="stable")
    parts = np.array_split(order, min(_N_KNOTS, len(order)))
    n = np.array([weights[part].sum() for part in parts])
    bought = np.array([(weights[part] * relevant[part]).sum() for part in parts])
    middle = np.array([np.average(values[part], weights=weights[part]) for part in parts])
    chances = isotonic_regression((bought + _PRIOR * mean) / (n + _PRIOR), weights=n + _PRIOR).x
    # Knots of equal scores become one, with their mean chance.
    knots, knot_of_part = np.unique(middle, return_inverse=True)
    joined = np.bincount(knot_of_part, n * chances) / np.bincount(knot_of_part, n)
    return knots, joined
