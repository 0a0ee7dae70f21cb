"""Statistical baselines, vectorised over series: each gives one level per series, N × weeks -> N.

Those of days give a level per weekday, N × weeks × 7 -> N × 7.

They equal statsforecast's of the same names (a test compares them; ADIDA searches a grid), and are
fast enough for every evaluation. References: Croston (1972); Syntetos & Boylan (2005); Teunter,
Syntetos & Babai (2011); Nikolopoulos et al. (2011).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array

YEAR, MONTH = 52, 4
_SMOOTHING = 0.1
_GRID = np.linspace(0.1, 0.3, 21)


def naive(units: Float64Array) -> Float64Array:
    """Return the last week."""
    return units[:, -1]


def mean_of_8(units: Float64Array) -> Float64Array:
    """Return the mean of the last 8 weeks."""
    return np.asarray(units[:, -8:].mean(axis=1))


def median_of_8(units: Float64Array) -> Float64Array:
    """Return the median of the last 8 weeks: biased low where demand is skewed."""
    return np.asarray(np.median(units[:, -8:], axis=1))


def seasonal_naive(units: Float64Array, horizon: int) -> Float64Array:
    """Return N × horizon: the week a year before if a year is known, else that 4 weeks before."""
    n_weeks = units.shape[1]
    season = YEAR if n_weeks >= YEAR else min(MONTH, n_weeks)
    return np.asarray(units[:, [n_weeks - season + step % season for step in range(horizon)]])


def ses(units: Float64Array, alpha: float = _SMOOTHING) -> Float64Array:
    """Return the level of simple exponential smoothing from the first week on."""
    level = units[:, 0].copy()
    for week in range(1, units.shape[1]):
        level += alpha * (units[:, week] - level)
    return level


def croston_sba(units: Float64Array) -> Float64Array:
    """Return Croston's smoothed size over interval, corrected by 0.95 (Syntetos-Boylan)."""
    size, interval = _smooth_sizes_and_intervals(units)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(interval > 0, 0.95 * size / interval, 0.0)


def tsb(units: Float64Array, alpha_size: float = 0.2, alpha_chance: float = 0.2) -> Float64Array:
    """Return smoothed size × smoothed chance of a sale, which falls while nothing sells."""
    sold = (units > 0).astype(np.float64)
    chance = ses(sold, alpha_chance)
    size, started = np.zeros(len(units)), np.zeros(len(units), bool)
    for week in range(units.shape[1]):
        now = units[:, week]
        smoothed = np.where(started, size + alpha_size * (now - size), now)
        size = np.where(now > 0, smoothed, size)
        started |= now > 0
    return size * chance


def adida(units: Float64Array) -> Float64Array:
    """Return the level of sums over blocks of the mean interval between sales, by the week.

    Sums are smoothed exponentially with the best share.
    """
    n_weeks = units.shape[1]
    blocks = _mean_intervals(units)
    result = np.zeros(len(units))
    for block in np.unique(blocks[blocks > 0]):
        rows = np.flatnonzero(blocks == block)
        n_blocks = n_weeks // block
        recent = units[rows, n_weeks - n_blocks * block :]
        sums = recent.reshape(len(rows), n_blocks, block).sum(axis=2)
        result[rows] = _fit_ses(sums) / block
    return result


def weekday_naive(days: Float64Array) -> Float64Array:
    """Return N × 7: the same weekday a week before."""
    return days[:, -1]


def weekday_mean_of_8(days: Float64Array) -> Float64Array:
    """Return N × 7: the mean of the same weekday over the last 8 weeks."""
    return np.asarray(days[:, -8:].mean(axis=1))


def weekday_ses(days: Float64Array) -> Float64Array:
    """Return N × 7: simple exponential smoothing of each weekday by itself."""
    return ses(days)


def mean_of_56_days(days: Float64Array) -> Float64Array:
    """Return N × 7: the mean of the last 8 weeks, the same on each day."""
    return np.repeat(days[:, -8:].mean(axis=(1, 2))[:, None], days.shape[2], axis=1)


UNBIASED: Mapping[str, Callable[[Float64Array], Float64Array]] = {
    "naive": naive,
    "CrostonSBA": croston_sba,
    "TSB": tsb,
    "SES": ses,
    "mean of 8 weeks": mean_of_8,
    "ADIDA": adida,
}
DAILY: Mapping[str, Callable[[Float64Array], Float64Array]] = {
    "seasonal naive, weekday": weekday_naive,
    "mean of 8 of the weekday": weekday_mean_of_8,
    "SES of the weekday": weekday_ses,
    "mean of 56 days": mean_of_56_days,
}
BIASED: Mapping[str, Callable[[Float64Array], Float64Array]] = {"median of 8 weeks": median_of_8}


def _smooth_sizes_and_intervals(units: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return each series' exponentially smoothed size of a sale and interval between sales."""
    n = len(units)
    size, interval, count, gap = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n)
    for week in range(units.shape[1]):
        now = units[:, week]
        gap += 1
        sold, first = now > 0, count == 0
        size = np.where(sold, np.where(first, now, size + _SMOOTHING * (now - size)), size)
        interval = np.where(
            sold, np.where(first, gap, interval + _SMOOTHING * (gap - interval)), interval
        )
        count, gap = count + sold, np.where(sold, 0, gap)
    return size, interval


def _mean_intervals(units: Float64Array) -> Int64Array:
    """Return the rounded mean gap between sales, the first from the start; 0 without a sale."""
    sold = units > 0
    count = sold.sum(axis=1)
    last = units.shape[1] - np.argmax(sold[:, ::-1], axis=1)
    return np.where(count > 0, np.round(last / np.maximum(count, 1)), 0).astype(np.int64)


def _fit_ses(units: Float64Array) -> Float64Array:
    """Return each series' smoothed level, with the share of _GRID of smallest one-step errors."""
    best, error = units[:, 0].copy(), np.full(len(units), np.inf)
    for alpha in _GRID:
        level, squared = units[:, 0].copy(), np.zeros(len(units))
        for week in range(1, units.shape[1]):
            squared += (units[:, week] - level) ** 2
            level = level + alpha * (units[:, week] - level)
        better = squared < error
        best, error = np.where(better, level, best), np.where(better, squared, error)
    return best
