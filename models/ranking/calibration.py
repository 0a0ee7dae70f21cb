"""What a source's score is worth: the chance that an item of such a score is bought in a window.

Scores of different sources have units of their own; as chances they compare. Isotonic regression
over equally many rows a knot (Zadrozny and Elkan, Transforming classifier scores into accurate
multiclass probability estimates, KDD 2002), on the windows that the ranker learns from: the sources
were fitted before them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.optimize import isotonic_regression

from features.contracts.arrays import BoolArray, Float32Array, Float64Array, Int64Array
from features.contracts.recommendations import Reason
from models.compiled.source_chances import interpolate_chances, likeliest_sources

# For each source: the ranker column that holds its score, and the reason it gives an item.
SOURCES: dict[str, tuple[str, Reason]] = {
    "EASE": ("ease", Reason.SIMILAR),
    "EASE, decayed": ("ease_decayed", Reason.SIMILAR),
    "ALS": ("als", Reason.SIMILAR),
    "popular": ("item_orders_4w", Reason.POPULAR),
    "promoted": ("item_promotion_reach_next_4w", Reason.PROMOTED),
    "bought before": ("decayed_frequency", Reason.BUY_AGAIN),
}
_N_KNOTS = 40
_PRIOR = 20.0  # each knot starts from so many imagined rows at the mean


@dataclass(frozen=True)
class Calibration:
    """Per source (S of them) K knots: `scores` ascending and their `chances`, both float64 (S, K).

    Between two knots a chance is interpolated, beyond the ends it is the end's.
    """

    sources: tuple[str, ...]
    scores: Float64Array
    chances: Float64Array

    def of(self, scores: Float32Array) -> Float64Array:
        """Chances (n, S) of the sources' scores (n, S), 0 where a source says nothing."""
        return interpolate_chances(scores, self.scores, self.chances)

    def likeliest(self, matrix: Float32Array, at: Int64Array, but: int) -> Int64Array:
        """Which source gives each row (n,) of `matrix` (n, columns) the highest chance; of equal
        ones the first.

        at    (S,) the columns that hold the sources' scores
        but   a column; rows that have a value in it get -1
        """
        return likeliest_sources(matrix, at, but, self.scores, self.chances)

    def meta(self) -> dict[str, Any]:
        """As `read` takes it."""
        return {
            "sources": list(self.sources),
            "scores": self.scores.tolist(),
            "chances": self.chances.tolist(),
        }

    @classmethod
    def read(cls, meta: dict[str, Any]) -> Self:
        """From `meta`."""
        shape = len(meta["sources"]), _N_KNOTS
        scores, chances = (
            np.array(meta[name], np.float64).reshape(shape) for name in ("scores", "chances")
        )
        return cls(tuple(meta["sources"]), scores, chances)


def fit_calibration(
    matrix: Float32Array, relevant: BoolArray, weights: Float64Array, columns: Sequence[str]
) -> Calibration:
    """Of the sources that say something of the rows: `matrix` (n, columns), `relevant` and
    `weights` (n,)."""
    mean = float((weights * relevant).sum() / weights.sum())
    found: dict[str, tuple[Float64Array, Float64Array]] = {}
    for source, (name, _) in SOURCES.items():
        values = (
            matrix[:, columns.index(name)].astype(np.float64) if name in columns else np.zeros(0)
        )
        known = np.flatnonzero(~np.isnan(values))
        if not len(known):
            continue
        order = known[np.argsort(values[known], kind="stable")]
        parts = np.array_split(order, min(_N_KNOTS, len(order)))
        n = np.array([weights[part].sum() for part in parts])
        bought = np.array([(weights[part] * relevant[part]).sum() for part in parts])
        middle = np.array([np.average(values[part], weights=weights[part]) for part in parts])
        chance = isotonic_regression((bought + _PRIOR * mean) / (n + _PRIOR), weights=n + _PRIOR).x
        # Knots of equal scores are one, whose chance is theirs on average; all sources have the
        # same number.
        at, which = np.unique(middle, return_inverse=True)
        joined = np.bincount(which, n * chance) / np.bincount(which, n)
        rest = _N_KNOTS - len(at)
        found[source] = np.pad(at, (0, rest), mode="edge"), np.pad(joined, (0, rest), mode="edge")
    scores, chances = (
        np.array([each[side] for each in found.values()]).reshape(len(found), _N_KNOTS)
        for side in (0, 1)
    )
    return Calibration(tuple(found), scores, chances)
