"""Launches: weeks before the first sale of a series that began later say nothing of its level."""

from __future__ import annotations

import numpy as np

from features.contracts.arrays import AnyArray, Float64Array, Int64Array

# A launch is a first sale after weeks in which more than this many units were to be expected: the
# chance that an item which was there all along sold none is exp(-3) = 5 %.
_UNITS_MISSED = 3.0


def find_launch_weeks(units: AnyArray) -> Int64Array:
    """Return N: the week of the first sale of a launched series, 0 of one that was there before.

    A first sale is a launch when the rate since then makes the weeks before it improbable.
    """
    n_weeks = units.shape[1]
    sold = units > 0
    first = np.where(sold.any(axis=1), np.argmax(sold, axis=1), 0)
    rows = np.arange(len(units))
    after = units.sum(axis=1) - units[rows, first]
    rate = after / np.maximum(n_weeks - first - 1, 1)
    return np.where(rate * first > _UNITS_MISSED, first, 0).astype(np.int64)


def count_weeks_since_launch(units: AnyArray) -> Int64Array:
    """Return N: the weeks from the launch of a series on; all, where it was there before."""
    return np.asarray(units.shape[1] - find_launch_weeks(units), np.int64)


def mean_since_launch(units: Float64Array, n_weeks: int) -> Float64Array:
    """Return the mean of the last `n_weeks`, without weeks before a launch."""
    age = np.arange(units.shape[1])[::-1]
    return _weighted_mean(units, (age < n_weeks).astype(np.float64))


def decaying_mean(units: Float64Array, share: float) -> Float64Array:
    """Return the mean with weights that shrink by `share` a week, without weeks before a launch.

    Unlike simple exponential smoothing it does not start from the first week.
    """
    age = np.arange(units.shape[1])[::-1]
    return _weighted_mean(units, np.power(1 - share, age, dtype=np.float64))


def _weighted_mean(units: Float64Array, weights: Float64Array) -> Float64Array:
    since_launch = np.arange(units.shape[1]) >= find_launch_weeks(units)[:, None]
    by_series = since_launch * weights
    return np.asarray((units * by_series).sum(axis=1) / by_series.sum(axis=1), np.float64)
