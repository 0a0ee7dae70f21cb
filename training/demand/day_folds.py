"""Daily forecasts of one origin beside daily baselines, and their metrics over all origins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float64Array
from features.contracts.seeds import generator
from models.demand.baselines import DAILY
from models.demand.daily import WEEKDAYS
from models.demand.uncertainty.counts import P10, P90
from training.demand.backtest import Backtest
from training.demand.folds import EvaluatedSeries
from training.demand.metrics import bias, gain_p_value, interval_coverage, ks_uniform, wmape
from training.results import Comparison

DAILY_WMAPE = "daily WMAPE"
EVEN = "ours, the same on each day"


@dataclass(frozen=True)
class DayFold:
    """Forecasts by day made at one origin and what sold: S dense series × H weeks ahead × 7.

    actual, means, pit   S × H × 7
    quantiles            S × H × 7 × QUANTILES
    baselines            S × H × 7 by name
    """

    actual: Float64Array
    means: Float64Array
    quantiles: Float64Array
    pit: Float64Array
    baselines: Mapping[str, Float64Array]


def evaluate_days(backtest: Backtest, origin: int, series: EvaluatedSeries) -> DayFold | None:
    """Return the forecasts made at `origin` of the series that were dense; None without any."""
    dense, distributions = backtest.dense_at(origin), backtest.day_distributions_at(origin)
    rows = np.intersect1d(dense.series, series.rows)
    if distributions is None or not len(rows):
        return None
    horizon, sales = backtest.config.horizon, backtest.data.days
    weekly = backtest.forecast_means(origin)[rows]
    weeks = np.arange(origin, origin + horizon)
    means = dense.profiles.divide_weeks(sales, rows, weekly, weeks)
    past = sales.by_day(rows, 0, origin)
    actual = sales.by_day(rows, origin, origin + horizon)
    rng = generator(backtest.seed, f"daily pit {origin}")
    baselines = {
        name: np.repeat(level(past)[:, None], horizon, axis=1) for name, level in DAILY.items()
    }
    baselines[EVEN] = np.repeat(weekly[:, :, None] / WEEKDAYS, WEEKDAYS, axis=2)
    counted = backtest.find_counted_weeks(origin, horizon)[rows][:, :, None]
    actual, means = actual * counted, means * counted
    pit, quantiles = distributions.pit(actual, means, rng), distributions.quantiles(means)
    return DayFold(
        actual=actual,
        means=means,
        quantiles=np.where(counted[..., None] > 0, quantiles, np.nan),
        pit=np.where(counted > 0, pit, np.nan),
        baselines={name: forecast * counted for name, forecast in baselines.items()},
    )


def compare_days(folds: Sequence[DayFold]) -> tuple[Comparison, dict[str, float]]:
    """Return daily WMAPE of ours beside the baselines, and metrics, over all origins together."""
    actual = np.concatenate([fold.actual.ravel() for fold in folds])
    ours = np.concatenate([fold.means.ravel() for fold in folds])
    baselines = {
        name: np.concatenate([fold.baselines[name].ravel() for fold in folds])
        for name in folds[0].baselines
    }
    errors = {name: wmape(actual, forecast) for name, forecast in baselines.items()}
    rivals = [name for name in errors if name != EVEN]
    strongest = min(rivals, key=lambda name: errors[name])
    p_value = gain_p_value(
        np.concatenate([_flatten_days(fold.actual) for fold in folds]),
        np.concatenate([_flatten_days(fold.means) for fold in folds]),
        np.concatenate([_flatten_days(fold.baselines[strongest]) for fold in folds]),
    )
    p10 = np.concatenate([fold.quantiles[..., P10].ravel() for fold in folds])
    p90 = np.concatenate([fold.quantiles[..., P90].ravel() for fold in folds])
    metrics = {
        "daily bias": bias(actual, ours),
        "daily coverage p10-p90": interval_coverage(actual, p10, p90),
        "daily PIT KS": ks_uniform(np.concatenate([fold.pit.ravel() for fold in folds])),
        "n_daily_series": float(np.mean([len(fold.actual) for fold in folds])),
        **{f"daily bias {name}": bias(actual, forecast) for name, forecast in baselines.items()},
    }
    ours_error = wmape(actual, ours)
    comparison = Comparison(DAILY_WMAPE, ours_error, errors, "lower", strongest, p_value)
    return comparison, metrics


def _flatten_days(days: Float64Array) -> Float64Array:
    return days.reshape(len(days), -1)
