"""Scores of candidate sources as chances of a purchase, by interpolation between knots."""

from __future__ import annotations

import numpy as np

from features.contracts.arrays import Float32Array, Float64Array, Int64Array
from models.compiled.compile import compile_kernel

# Beside the numbers of sources.
SKIPPED, NO_SOURCE = -1, -2


def interpolate_chances_numpy(
    scores: Float32Array, knots: Float64Array, chances: Float64Array
) -> Float64Array:
    """Do the same one source at a time."""
    interpolated = np.zeros(scores.shape)
    for source in range(len(knots)):
        known = ~np.isnan(scores[:, source])
        interpolated[known, source] = np.interp(
            scores[known, source], knots[source], chances[source]
        )
    return interpolated


@compile_kernel()
def interpolate_chances(
    scores: Float32Array, knots: Float64Array, chances: Float64Array
) -> Float64Array:
    """Return the chances (n, sources) of `scores` (n, sources), 0 for a missing score.

    knots, chances   (sources, K): the ascending scores of each source whose chances are known

    Only for answers that are explained: 4 µs against 80 of numpy, 7 % of such an answer.
    """
    interpolated = np.empty(scores.shape)
    for source in range(len(knots)):
        for row in range(len(scores)):
            interpolated[row, source] = _interpolate_chance(
                scores[row, source], knots[source], chances[source]
            )
    return interpolated


def likeliest_sources_numpy(
    matrix: Float32Array,
    score_columns: Int64Array,
    skip_column: int,
    knots: Float64Array,
    chances: Float64Array,
) -> Int64Array:
    """Do the same by the chances of all rows."""
    likeliest = np.full(len(matrix), NO_SOURCE)
    if len(knots):
        scores = matrix[:, score_columns]
        of_sources = np.where(scores > 0, interpolate_chances_numpy(scores, knots, chances), -1.0)
        likeliest = np.where((scores > 0).any(1), of_sources.argmax(1), NO_SOURCE)
    return np.where(np.isnan(matrix[:, skip_column]), likeliest, SKIPPED)


@compile_kernel()
def likeliest_sources(
    matrix: Float32Array,
    score_columns: Int64Array,
    skip_column: int,
    knots: Float64Array,
    chances: Float64Array,
) -> Int64Array:
    """Return the source that gives each row (n,) the highest chance; the first of equal ones.

    Only a source with a score above 0 counts: an item without a planned promotion has a reach of 0,
    and that is no reason. A row that no source speaks for gets NO_SOURCE.

    matrix          float32 (n, columns), the ranker's input
    score_columns   (sources,) the columns that hold the sources' scores
    skip_column     rows that have a value in this column get SKIPPED

    For the ten rows of a slate 4 µs against 92 of numpy: 9 % of an answer.
    """
    likeliest = np.full(len(matrix), NO_SOURCE)
    for row in range(len(matrix)):
        if matrix[row, skip_column] == matrix[row, skip_column]:
            likeliest[row] = SKIPPED
            continue
        highest = -1.0
        for source in range(len(knots)):
            score = matrix[row, score_columns[source]]
            if not score > 0:  # 0, below, or missing
                continue
            chance = _interpolate_chance(score, knots[source], chances[source])
            if chance > highest:
                highest, likeliest[row] = chance, source
    return likeliest


@compile_kernel()
def _interpolate_chance(score: np.float32, knots: Float64Array, chances: Float64Array) -> float:
    """Return the chance of one score of one source."""
    if score != score:
        return 0.0
    right = np.searchsorted(knots, score)  # the first knot that is no lower
    if right == 0:
        return float(chances[0])
    if right == len(knots):
        return float(chances[-1])
    share = (score - knots[right - 1]) / (knots[right] - knots[right - 1])
    return float(chances[right - 1] + share * (chances[right] - chances[right - 1]))
