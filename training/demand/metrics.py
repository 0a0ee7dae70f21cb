"""Metrics of a forecast against what sold; arrays are series × weeks unless stated otherwise.

Weeks that do not count have units and forecasts of 0, and quantiles and transforms of NaN.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from features.contracts.arrays import Float64Array


def wmape(actual: Float64Array, forecast: Float64Array) -> float:
    """Return the sum of absolute errors over the units sold; NaN if nothing sold."""
    total = actual.sum()
    return float(np.abs(actual - forecast).sum() / total) if total > 0 else float("nan")


def bias(actual: Float64Array, forecast: Float64Array) -> float:
    """Return the excess of all forecasts, as a share of the units sold; NaN if nothing sold."""
    total = actual.sum()
    return float(forecast.sum() / total - 1.0) if total > 0 else float("nan")


def bias_error(actual: Float64Array, forecast: Float64Array) -> float:
    """Return the standard error of the bias, from how the sums of weeks err; 0 with fewer than 4.

    >>> actual, forecast = np.full((3, 4), 10.0), np.full((3, 4), 10.0)
    >>> forecast[:, 1], forecast[:, 2] = 12.0, 8.0
    >>> round(bias_error(actual, forecast), 4)  # weeks err by 0, 6, -6 and 0 of 30 units
    0.0816
    """
    total, n_weeks = actual.sum(), actual.shape[1]
    if n_weeks < 4 or total <= 0:
        return 0.0
    errors = (forecast - actual).sum(axis=0)
    return float(errors.std(ddof=1) * np.sqrt(n_weeks) / total)


def wrmsse(
    actual: Float64Array, forecast: Float64Array, past: Float64Array, weight: Float64Array
) -> float:
    """Return the weighted root mean squared scaled error.

    Errors of a series are scaled by its own week-on-week changes before. `past` is series × known
    weeks, used from each series' first sale on; `weight` (revenue) is per series. Series that never
    changed are left out. Makridakis, Spiliotis & Assimakopoulos (2022), M5.
    """
    started = np.cumsum(past > 0, axis=1) > 0
    steps = started[:, 1:] & started[:, :-1]
    count = steps.sum(axis=1)
    scale = (np.diff(past, axis=1) ** 2 * steps).sum(axis=1) / np.maximum(count, 1)
    usable = (scale > 0) & (weight > 0)
    squared = ((actual - forecast) ** 2).mean(axis=1)
    scaled = np.sqrt(squared[usable] / scale[usable])
    if not usable.any():
        return float("nan")
    return float((scaled * weight[usable]).sum() / weight[usable].sum())


def pinball(actual: Float64Array, quantile: Float64Array, level: float) -> float:
    """Return the mean quantile loss at `level`; NaN without a value."""
    error = actual - quantile
    losses = np.maximum(level * error, (level - 1) * error)[np.isfinite(quantile)]
    return float(losses.mean()) if losses.size else float("nan")


def interval_coverage(actual: Float64Array, low: Float64Array, high: Float64Array) -> float:
    """Return the share of weeks within the interval, its ends included; NaN without a week."""
    covered = ((actual >= low) & (actual <= high))[np.isfinite(low)]
    return float(covered.mean()) if covered.size else float("nan")


def ks_uniform(values: Float64Array) -> float:
    """Return the largest distance between the distribution of values and the uniform; or NaN."""
    values = values[np.isfinite(values)]
    return float("nan") if not len(values) else float(stats.kstest(values, "uniform").statistic)


def gain_p_value(actual: Float64Array, ours: Float64Array, baseline: Float64Array) -> float:
    """Return the p-value that our absolute error is not smaller, paired by series (t-test)."""
    gain = (np.abs(actual - baseline) - np.abs(actual - ours)).sum(axis=1)
    if len(gain) < 2 or np.ptp(gain) == 0:
        return 1.0
    return float(stats.ttest_1samp(gain, 0.0, alternative="greater").pvalue)


def gain_interval(
    actual: Float64Array,
    ours: Float64Array,
    baseline: Float64Array,
    *,
    n_draws: int = 500,
    seed: int = 7,
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of 1 - WMAPE of ours / WMAPE of the baseline.

    Series are drawn, each with all its weeks.
    """
    errors = np.column_stack(
        [np.abs(actual - forecast).sum(axis=1) for forecast in (ours, baseline)]
    )
    rng = np.random.default_rng(seed)
    n = len(errors)
    sums = np.array([errors[rng.integers(0, n, n)].sum(axis=0) for _ in range(n_draws)])
    low, high = np.quantile(1 - sums[:, 0] / np.maximum(sums[:, 1], 1e-9), [0.025, 0.975])
    return float(low), float(high)
