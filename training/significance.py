"""How sure a difference is: paired tests, corrected p-values, bootstrap intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy import stats

from features.contracts.arrays import Float64Array

_N_PARTS = 10  # in which draws are multiplied: all at once would take eight bytes a draw and user


def compute_paired_p_value(ours: Float64Array, theirs: Float64Array) -> float:
    """Return the p-value of a two-sided paired t-test over users; 1 without any difference.

    Users without a value (NaN) are left out.
    """
    difference = ours - theirs
    difference = difference[~np.isnan(difference)]
    if len(difference) < 2 or not np.ptp(difference):
        return 1.0
    return float(stats.ttest_1samp(difference, 0.0).pvalue)


def correct_p_values(p_values: Mapping[str, float]) -> dict[str, float]:
    """Correct p-values for their number by Holm's method.

    The chance of one false alarm among all of them stays below the level: the smallest p-value
    times m, the next times m - 1 and so on, never falling, at most 1. Holm, A simple sequentially
    rejective multiple test procedure, Scand. J. Statist. 1979.

    3 × .01, 2 × .03, and .04 raised to the one before it:

    >>> correct_p_values({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'b': 0.06, 'c': 0.06}
    """
    corrected: dict[str, float] = {}
    highest = 0.0
    for n_smaller, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        highest = max(highest, min(1.0, (len(p_values) - n_smaller) * p_values[name]))
        corrected[name] = highest
    return {name: corrected[name] for name in p_values}


class Intervals(NamedTuple):
    """Ends of 95 % intervals, float64 (columns,); NaN without users."""

    low: Float64Array
    high: Float64Array


class Bootstrap:
    """95 % percentile intervals of means over users, with the same drawn users for every column.

    All intervals cost one product of matrices. Efron and Tibshirani, An Introduction to the
    Bootstrap, 1993.
    """

    def __init__(self, n_users: int, rng: np.random.Generator, *, n_draws: int = 1000) -> None:
        self._times_drawn = np.zeros((n_draws, n_users), np.uint16)
        for draw in self._times_drawn:
            draw[:] = np.bincount(rng.integers(0, n_users, n_users), minlength=n_users)

    def intervals(self, values: Float64Array) -> Intervals:
        """Return the interval of each column's mean.

        values   (users, columns); a user without a value in a column (NaN) does not count there
        """
        known = ~np.isnan(values)
        sums_and_counts = np.concatenate([np.where(known, values, 0.0), known], axis=1)
        products = [
            part.astype(np.float64) @ sums_and_counts
            for part in np.array_split(self._times_drawn, _N_PARTS)
        ]
        sums, counts = np.split(np.concatenate(products), 2, axis=1)
        means = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
        ends = np.full((2, values.shape[1]), np.nan)
        complete = ~np.isnan(means).all(0)
        if complete.any():
            ends[:, complete] = np.nanquantile(means[:, complete], [0.025, 0.975], axis=0)
        return Intervals(ends[0], ends[1])


def bootstrap_interval(
    values: Float64Array, rng: np.random.Generator, *, n_draws: int = 1000
) -> tuple[float, float]:
    """Return the 95 % percentile interval of the mean over users."""
    low, high = Bootstrap(len(values), rng, n_draws=n_draws).intervals(values[:, None])
    return float(low[0]), float(high[0])
