"""Weekly forecasts of one origin beside the baselines and what sold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array, ObjectArray
from features.contracts.errors import TooLittleData
from features.contracts.seeds import generator
from models.demand import planned_baseline
from models.demand.baselines import BIASED, UNBIASED, seasonal_naive
from models.demand.blend import Segments, segment_series
from models.demand.panel import DemandPanel
from models.demand.planned_baseline import forecast_by_plan
from training.demand.backtest import Backtest
from training.demand.config import DemandConfig
from training.results import OURS

SEASONAL = "seasonal naive"
RECONCILED = "Shopwright, MinTrace"
N_FIFTHS = 5
_REVENUE_WEEKS = 4


@dataclass(frozen=True)
class EvaluatedSeries:
    """The S series that are evaluated.

    rows     S, of the panel, ascending
    fifths   S, 0 for the fifth of series with fewest units before the first origin, to 4
    """

    rows: Int64Array
    fifths: Int64Array


def choose_series(panel: DemandPanel, first_origin: int, config: DemandConfig) -> EvaluatedSeries:
    """Return the series sold in enough of the weeks before the first origin; else all that sold.

    Raises TooLittleData when there are none.
    """
    n_needed = math.ceil(config.min_share_sold * first_origin)
    units = panel.units[:, :first_origin]
    rows = np.flatnonzero((units > 0).sum(axis=1) >= n_needed)
    if not len(rows):
        rows = np.flatnonzero((units > 0).any(axis=1))
    if not len(rows):
        raise TooLittleData(
            f"no item sold in the first {first_origin} weeks, so no forecast can be evaluated",
            hint="Import more history, or train again when more weeks are over",
        )
    return EvaluatedSeries(rows, divide_into_fifths(panel.units[rows, :first_origin].mean(axis=1)))


def divide_into_fifths(volume: Float64Array) -> Int64Array:
    """Return for each series its fifth by volume, 0 for the smallest to 4."""
    edges = np.quantile(volume, [0.2, 0.4, 0.6, 0.8])
    return np.searchsorted(edges, volume, side="right").astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class Fold:
    """Forecasts made at one origin and what sold: S series × H weeks ahead.

    counted      S × H, 1 for the weeks that are evaluated, 0 for those out of stock, in which units
                 and means are 0, and quantiles and pit NaN
    actual       S × H units
    means        S × H, as served
    reconciled   S × H, the means after MinTrace
    quantiles    S × H × QUANTILES
    pit          S × H, the randomised probability integral transform
    baselines    S × H by name
    past         S × origin units
    weight       S, revenue of the last weeks, minor units
    segments     of the S series at the origin
    fifths       S, as in EvaluatedSeries
    categories   S
    """

    origin: int
    counted: Float64Array
    actual: Float64Array
    means: Float64Array
    reconciled: Float64Array
    quantiles: Float64Array
    pit: Float64Array
    baselines: Mapping[str, Float64Array]
    past: Float64Array
    weight: Float64Array
    segments: Segments
    fifths: Int64Array
    categories: ObjectArray

    def forecast(self, method: str) -> Float64Array:
        """Return the S × H means of ours, of ours after MinTrace, or of a baseline."""
        if method == RECONCILED:
            return self.reconciled
        return self.means if method == OURS else self.baselines[method]


def evaluate_origin(backtest: Backtest, origin: int, series: EvaluatedSeries) -> Fold:
    """Return the forecasts made at `origin`, and what sold in the weeks after it."""
    panel, horizon, rows = backtest.data.panel, backtest.config.horizon, series.rows
    model, served = backtest.model_at(origin), backtest.forecast_means(origin)
    counted = backtest.find_counted_weeks(origin, horizon)[rows]
    means = served[rows] * counted
    actual = panel.units[rows, origin : origin + horizon].astype(np.float64) * counted
    past = panel.units[rows, :origin].astype(np.float64)
    known = backtest.panel_at(origin)
    segments = segment_series(known).take(rows)
    rng = generator(backtest.seed, f"pit {origin}")
    baselines = {
        name: np.repeat(level(past)[:, None], horizon, axis=1)
        for name, level in {**UNBIASED, **BIASED}.items()
    }
    if known.kinds:
        planned = forecast_by_plan(known, range(1, horizon + 1))
        baselines[planned_baseline.NAME] = planned[rows]
    baselines[SEASONAL] = seasonal_naive(past, horizon)
    is_counted = counted > 0
    quantiles = model.calibration.quantiles(means, segments)
    return Fold(
        origin=origin,
        counted=counted,
        actual=actual,
        means=means,
        reconciled=model.reconcile(known, served)[rows] * counted,
        quantiles=np.where(is_counted[:, :, None], quantiles, np.nan),
        pit=np.where(is_counted, model.calibration.pit(actual, means, segments, rng), np.nan),
        baselines={name: forecast * counted for name, forecast in baselines.items()},
        past=past,
        weight=backtest.data.revenue[rows, origin - _REVENUE_WEEKS : origin].sum(axis=1),
        segments=segments,
        fifths=series.fifths,
        categories=panel.categories[rows],
    )
