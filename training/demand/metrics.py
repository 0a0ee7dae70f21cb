"""Figures of a forecast against what was sold. Arrays are series × weeks ahead unless said
otherwise."""

from __future__ import annotations

import numpy as np
from scipy import stats

from features.contracts.arrays import Float64Array


def wmape(actual: Float64Array, forecast: Float64Array) -> float:
    """Sum of absolute errors over the sum of what was sold."""
    return float(np.abs(actual - forecast).sum() / actual.sum())


def bias(actual: Float64Array, forecast: Float64Array) -> float:
    """How much too much was foretold in all, as a share of what was sold."""
    return float(forecast.sum() / actual.sum() - 1.0)


def weighted_rmsse(
    actual: Float64Array, forecast: Float64Array, past: Float64Array, weight: Float64Array
) -> float:
    """Root mean squared scaled error, weighted (by revenue): each series by its own week-on-week
    changes before.

    `past` series × known weeks, from each series' first sale on; `weight` per series. Series that
    never changed are left out. Makridakis, Spiliotis & Assimakopoulos (2022), M5.
    """
    started = np.cumsum(past > 0, axis=1) > 0
    steps = started[:, 1:] & started[:, :-1]
    count = steps.sum(axis=1)
    scale = (np.diff(past, axis=1) ** 2 * steps).sum(axis=1) / np.maximum(count, 1)
    usable = (scale > 0) & (weight > 0)
    squared = ((actual - forecast) ** 2).mean(axis=1)
    scaled = np.sqrt(squared[usable] / scale[usable])
    return (
        float((scaled * weight[usable]).sum() / weight[usable].sum())
        if usable.any()
        else float("nan")
    )


def pinball(actual: Float64Array, quantile: Float64Array, level: float) -> float:
    """Mean quantile loss at `level`."""
    error = actual - quantile
    return float(np.maximum(level * error, (level - 1) * error).mean())


def interval_coverage(actual: Float64Array, low: Float64Array, high: Float64Array) -> float:
    """Share of weeks within the interval, its ends included."""
    return float(((actual >= low) & (actual <= high)).mean())


def ks_uniform(values: Float64Array) -> float:
    """The largest distance between the share of `values` up to x and x: 0 when they are uniform on
    0..1."""
    return float(stats.kstest(values, "uniform").statistic)


def paired_gain(actual: Float64Array, ours: Float64Array, theirs: Float64Array) -> float:
    """p-value that our absolute error is not smaller, paired by series (t-test, one-sided)."""
    gain = (np.abs(actual - theirs) - np.abs(actual - ours)).sum(axis=1)
    if len(gain) < 2 or np.ptp(gain) == 0:
        return 1.0
    return float(stats.ttest_1samp(gain, 0.0, alternative="greater").pvalue)


def gain_interval(
    actual: Float64Array,
    ours: Float64Array,
    theirs: Float64Array,
    *,
    n_draws: int = 500,
    seed: int = 7,
) -> tuple[float, float]:
    """95 % bootstrap interval, over series, of 1 - WMAPE of ours / WMAPE of theirs. A series keeps
    all its weeks."""
    errors = np.column_stack([np.abs(actual - forecast).sum(axis=1) for forecast in (ours, theirs)])
    rng = np.random.default_rng(seed)
    n = len(errors)
    sums = np.array([errors[rng.integers(0, n, n)].sum(axis=0) for _ in range(n_draws)])
    low, high = np.quantile(1 - sums[:, 0] / np.maximum(sums[:, 1], 1e-9), [0.025, 0.975])
    return float(low), float(high)
