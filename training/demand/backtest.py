"""Models fitted at past origins, each calibrated by the forecasts of earlier origins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime
from functools import wraps
from typing import TypeVar, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.contracts.arrays import Float32Array, Float64Array, Int64Array
from features.contracts.seeds import generator
from features.contracts.tables import TIMESTAMP
from models.demand.blend import Blend, expect_learner, segment_series, serve_alone
from models.demand.censoring import fill_censored_weeks, find_unstocked_weeks
from models.demand.daily import (
    WEEKDAYS,
    DayDistributions,
    DayProfiles,
    fit_day_distributions,
    fit_profiles,
)
from models.demand.learner import Trees, fit_trees
from models.demand.level_drift import measure_past_drift
from models.demand.model import DemandModel, predict_all_methods, predict_without_learner
from models.demand.new_items import ItemRates, fit_item_rates
from models.demand.panel import DemandPanel
from models.demand.plan_horizon import find_plan_ends
from models.demand.sold_history import SoldHistory
from models.demand.uncertainty.aggregate_errors import PastAggregates, fit_level_spreads
from models.demand.uncertainty.aggregates import NEAR
from models.demand.uncertainty.backtest_calibration import (
    Calibration,
    PastForecasts,
    calibrate,
)
from training.demand.aggregates import CatalogueAggregates
from training.demand.catalogue_items import build_unsold_panel
from training.demand.config import DemandConfig
from training.demand.daily import build_day_forecasts
from training.demand.data import DemandData
from training.demand.origins import MOST_OF_LARGE, MOST_OF_SMALL, calibration_origins
from training.demand.plan_views import PlanView, find_same_view, hide_plans_at
from training.task import Progress

_ALIVE_WEEKS = 26  # a series that sold in none of them calibrates nothing
_ALL_STEPS = 8  # a calibration reads each of these weeks, so that their sums are known,
_FAR_STEPS = (10, 12)  # and these
# Origins at which the simple methods alone are compared: this many weeks apart, as many as fit.
_SIMPLE_STEP, _MOST_SIMPLE, _SIMPLE_ROWS = 2, 40, 100_000
_MIN_SIMPLE_FIT = 3
_ROWS_OF_LARGE = 100_000  # training rows from which a fit takes long: then few origins calibrate
T = TypeVar("T")


@dataclass(frozen=True)
class DenseSeries:
    """Series that are forecast by day, and the weekday profiles of all series."""

    series: Int64Array
    profiles: DayProfiles


def _cache_by_origin(method: Callable[[Backtest, int], T]) -> Callable[[Backtest, int], T]:
    """Compute a method of an origin once for each origin."""

    @wraps(method)
    def read_or_compute(self: Backtest, origin: int) -> T:
        return _read_or_compute(self._cached, method, self, origin)

    return read_or_compute


def _cache_for_all_views(method: Callable[[Backtest, int], T]) -> Callable[[Backtest, int], T]:
    """Compute a method that depends on no plan of the weeks to come once for each origin."""

    @wraps(method)
    def read_or_compute(self: Backtest, origin: int) -> T:
        return _read_or_compute(self._cached_for_all, method, self, origin)

    return read_or_compute


def _read_or_compute(
    caches: dict[str, dict[int, object]],
    method: Callable[[Backtest, int], T],
    backtest: Backtest,
    origin: int,
) -> T:
    cache = cast(dict[int, T], caches.setdefault(method.__name__, {}))
    if origin not in cache:
        cache[origin] = method(backtest, origin)
    return cache[origin]


class Backtest:
    """Models fitted at origins, each once.

    What it returns for an origin depends on the data, the configuration and the origin alone, not
    on the order in which origins are asked for.
    """

    def __init__(
        self, data: DemandData, config: DemandConfig, seed: int, progress: Progress
    ) -> None:
        self.data = data
        self.config = config
        self.plans = PlanView.FULL
        self.aggregates = CatalogueAggregates(data.panel, data.items)
        self._demand = fill_censored_weeks(data.panel).units
        self._counted = ~find_unstocked_weeks(data.panel)
        self._plan_ends = find_plan_ends(data.panel)
        self.seed = seed
        self._progress = progress
        self._cached_for_all: dict[str, dict[int, object]] = {}
        self._reset_view(PlanView.FULL)
        self._views = {PlanView.FULL: self}
        self._only: Blend | None = None

    def _reset_view(self, plans: PlanView) -> None:
        self.plans = plans
        self._cached: dict[str, dict[int, object]] = {}
        self._means: dict[int, Float32Array] = {}

    def with_plans(self, plans: PlanView) -> Backtest:
        """Return the backtest whose forecasts know the plans of the view, with the same learners.

        Where plans leave no difference, two views are one.
        """
        ends, n_weeks = self._plan_ends, self.data.panel.n_known
        plans = find_same_view(ends, n_weeks, self.config.fit.horizon, plans)
        if plans not in self._views:
            view = copy(self)
            view._reset_view(plans)
            self._views[plans] = view
        return self._views[plans]

    def serve_alone(self, method: str) -> Backtest:
        """Return the backtest in which one of METHODS serves alone, with the same learners."""
        alone = copy(self)
        alone._reset_view(PlanView.FULL)
        alone._views = {PlanView.FULL: alone}
        alone._only = serve_alone(method)
        return alone

    @_cache_by_origin
    def panel_at(self, origin: int) -> DemandPanel:
        """Return what was known after `origin` weeks: their units, and the plans at that time."""
        ends, n_weeks = self._plan_ends, self.data.panel.n_known
        return hide_plans_at(self._planned_panel_at(origin), ends, n_weeks, self.plans)

    @_cache_for_all_views
    def _planned_panel_at(self, origin: int) -> DemandPanel:
        """Return the panel after `origin` weeks with all later plans."""
        panel = self.data.panel
        planned = panel if origin == panel.n_known else self.data.panel_planned_at(origin)
        return planned.truncate(origin)

    def find_counted_weeks(self, origin: int, horizon: int) -> Float64Array:
        """Return N × horizon: 1 for weeks after `origin` that are evaluated, else 0.

        What sold while an item was out of stock does not tell what a forecast of the demand is
        worth, and a method that forecasts empty shelves would win.
        """
        return self._counted[:, origin : origin + horizon].astype(np.float64)

    @_cache_for_all_views
    def unsold_at(self, origin: int) -> DemandPanel:
        """Return the catalogue's items that had not sold after `origin` weeks."""
        return build_unsold_panel(self._panel_of_sold(origin), self.data.items)

    def _panel_of_sold(self, origin: int) -> DemandPanel:
        panel = self.panel_at(origin)
        return panel.take(np.flatnonzero((panel.units > 0).any(axis=1)))

    @_cache_for_all_views
    def trees_at(self, origin: int) -> Trees:
        """Return the learner fitted after `origin` weeks."""
        self._progress(f"fitting demand on {origin} weeks")
        return fit_trees(self.panel_at(origin), self.config.fit, self.seed)

    def predict_methods(self, origin: int, steps: Sequence[int]) -> Float64Array:
        """Return N × steps × METHODS means; all weeks ahead are computed at once."""
        if origin not in self._means:
            ahead = range(1, self.config.fit.horizon + 1)
            trees, panel = self.trees_at(origin), self.panel_at(origin)
            means = predict_all_methods(trees, panel, ahead)
            self._means[origin] = means.astype(np.float32)  # many origins are held at once
        return self._means[origin][:, np.array(steps, np.int64) - 1].astype(np.float64)

    def _calibration_steps(self, n_weeks: int | None = None) -> list[int]:
        """Return the weeks ahead that calibrate, of the first `n_weeks` (None: of the horizon)."""
        near = range(1, max(_ALL_STEPS, self.config.horizon) + 1)
        most = self.config.fit.horizon if n_weeks is None else n_weeks
        last = min(most, self.config.fit.horizon)
        return [step for step in sorted({*near, *_FAR_STEPS}) if step <= last]

    def earlier_origins(self, origin: int) -> list[int]:
        """Return the origins whose forecasts calibrate the model of `origin`, newest first."""
        rows = self.data.panel.n_series * self.config.fit.memory_weeks * self.config.fit.horizon
        most = MOST_OF_LARGE if rows > _ROWS_OF_LARGE else MOST_OF_SMALL
        earlier = calibration_origins(origin, self.data.panel.n_known, self.config, most)
        return [past_origin for past_origin in earlier if past_origin > 0]

    @_cache_by_origin
    def calibration_at(self, origin: int) -> Calibration:
        """Return the calibration by the forecasts of earlier origins."""
        rng = generator(self.seed, f"calibration {origin}")
        earlier = self.earlier_origins(origin)
        past = [self._past_forecasts(past_origin, origin) for past_origin in earlier]
        simple = [
            self._past_simple_forecasts(past_origin) for past_origin in self._simple_origins(origin)
        ]
        learner_share = expect_learner(self.panel_at(origin))
        calibration = calibrate(past, origin, rng, simple, learner_share, self._only)
        aggregates = [
            self._past_aggregates(past_origin, origin, calibration.blend) for past_origin in earlier
        ]
        levels = fit_level_spreads(aggregates, self.aggregates.hierarchy.levels, rng)
        return replace(calibration, levels=levels)

    def _past_forecasts(self, past_origin: int, origin: int) -> PastForecasts:
        """Return what was forecast at `past_origin` of the weeks before `origin`."""
        steps = self._calibration_steps(origin - past_origin)
        means = self.predict_methods(past_origin, steps)
        weeks = np.array(steps, np.int64) + past_origin - 1
        known, trees = self._planned_panel_at(origin), self.trees_at(past_origin)
        drift = measure_past_drift(known, trees.effects, trees.season_strength, past_origin, weeks)
        return self._compare(past_origin, steps, means, drift)

    @_cache_by_origin
    def _past_simple_forecasts(self, past_origin: int) -> PastForecasts:
        """Return what simple methods forecast at `past_origin` of the weeks after it."""
        steps = range(1, min(NEAR, self.data.panel.n_known - past_origin) + 1)
        ends, n_weeks = self._plan_ends, self.data.panel.n_known
        panel = hide_plans_at(self.data.panel.truncate(past_origin), ends, n_weeks, self.plans)
        return self._compare(past_origin, steps, predict_without_learner(panel, steps))

    def _compare(
        self,
        past_origin: int,
        steps: Sequence[int],
        means: Float64Array,
        drift: Float64Array | None = None,
    ) -> PastForecasts:
        """Return the forecasts of series that are alive at `past_origin`, and what sold."""
        panel = self.data.panel.truncate(past_origin)
        alive = np.flatnonzero((panel.units[:, -_ALIVE_WEEKS:] > 0).any(axis=1))
        weeks = np.array(steps, np.int64) + past_origin - 1
        return PastForecasts(
            origin=past_origin,
            steps=tuple(steps),
            segments=segment_series(panel).take(alive),
            means=means[alive],
            actual=self._demand[alive][:, weeks].astype(np.float64),
            drift=None if drift is None else drift[alive],
        )

    def _simple_origins(self, origin: int) -> list[int]:
        """Return further origins, at which simple methods alone are compared, newest first."""
        n_origins = min(_MOST_SIMPLE, _SIMPLE_ROWS // max(NEAR * self.data.panel.n_series, 1))
        learnt = set(self.earlier_origins(origin))
        recent = range(origin - 1, _MIN_SIMPLE_FIT - 1, -1)[: _SIMPLE_STEP * n_origins]
        return [past_origin for past_origin in recent[::_SIMPLE_STEP] if past_origin not in learnt]

    def _past_aggregates(self, past_origin: int, origin: int, blend: Blend) -> PastAggregates:
        """Return what was forecast at `past_origin` of aggregates in the weeks before `origin`."""
        n_weeks = min(_ALL_STEPS, origin - past_origin)
        panel = self.panel_at(past_origin)
        by_method = self.predict_methods(past_origin, range(1, n_weeks + 1))
        means = blend.combine(by_method, segment_series(panel))
        units = self._demand[:, past_origin : past_origin + n_weeks].astype(np.float64)
        return PastAggregates(
            self.aggregates.sum_means(panel, self.rates_at(past_origin), means),
            self.aggregates.sum_units(units),
        )

    @_cache_for_all_views
    def rates_at(self, origin: int) -> ItemRates:
        """Return the rates of items without a sale, fitted after `origin` weeks."""
        return fit_item_rates(self._panel_of_sold(origin), self.unsold_at(origin))

    @_cache_for_all_views
    def dense_at(self, origin: int) -> DenseSeries:
        """Return the series that were dense after `origin` weeks, and the profiles at that time."""
        days = self.data.days.truncate(origin)
        series = days.find_dense(self.config.daily)
        return DenseSeries(series, fit_profiles(days, series))

    @_cache_by_origin
    def day_distributions_at(self, origin: int) -> DayDistributions | None:
        """Return the distributions of days, fitted to forecasts of earlier origins.

        None when no series was dense at any of them.
        """
        blend = self.calibration_at(origin).blend
        days = self.data.days
        actual, means, days_ahead = [], [], []
        for past_origin in self.earlier_origins(origin):
            dense = self.dense_at(past_origin)
            steps = self._calibration_steps(origin - past_origin)
            segments = segment_series(self.panel_at(past_origin)).take(dense.series)
            by_method = self.predict_methods(past_origin, steps)[dense.series]
            weekly = blend.combine(by_method, segments)
            weeks = np.array(steps) + past_origin - 1
            by_day = dense.profiles.divide_weeks(days, dense.series, weekly, weeks)
            sold = [days.by_day(dense.series, week, week + 1)[:, 0] for week in weeks]
            means.append(by_day.ravel())
            actual.append(np.stack(sold, axis=1).ravel())
            days_ahead.append(np.tile(np.repeat(steps, WEEKDAYS), len(dense.series)))
        if not sum(len(units) for units in actual):
            return None
        rng = generator(self.seed, f"days {origin}")
        return fit_day_distributions(
            np.concatenate(actual), np.concatenate(means), np.concatenate(days_ahead), rng
        )

    @_cache_by_origin
    def model_at(self, origin: int) -> DemandModel:
        """Return the model fitted after `origin` weeks, without forecasts."""
        return DemandModel(
            rates=self.rates_at(origin),
            calibration=self.calibration_at(origin),
            trees=self.trees_at(origin),
            cut=self.data.panel.week_starts[origin],
            config=self.config.fit,
        )

    def forecast_means(self, origin: int, horizon: int | None = None) -> Float64Array:
        """Return N × horizon means as served after `origin` weeks; None: the evaluated horizon."""
        model = self.model_at(origin)
        by_method = self.predict_methods(origin, range(1, (horizon or self.config.horizon) + 1))
        return model.blend_means(self.panel_at(origin), by_method)

    def model_with_forecasts_at(self, origin: int, n_skipped: int = 0) -> DemandModel:
        """Return the model of `origin` with forecasts of every series and every unsold item.

        Those of the first `n_skipped` weeks, which are in the past, are left out.
        """
        panel, model = self.panel_at(origin), self.model_at(origin)
        unsold = build_unsold_panel(panel, self.data.items)
        self._progress(f"forecasting {panel.n_series + unsold.n_series} series")
        by_method = self.predict_methods(origin, range(1, self.config.fit.horizon + 1))
        weekly = [model.build_forecasts(panel, by_method), model.predict(unsold)]
        dense, distributions = self.dense_at(origin), self.day_distributions_at(origin)
        daily = None
        if distributions is not None and len(dense.series):
            weeks = np.arange(origin, origin + self.config.fit.horizon)
            week_means = model.blend_means(panel, by_method)[dense.series]
            means = dense.profiles.divide_weeks(self.data.days, dense.series, week_means, weeks)
            quantiles = distributions.quantiles(means)
            daily = build_day_forecasts(panel, dense.series, means, quantiles, self.data.timezone)
            daily = _skip_weeks_before(daily, panel.week_starts[origin + n_skipped])
        rows = pa.concat_tables(weekly).combine_chunks()
        rows = _skip_weeks_before(rows, panel.week_starts[origin + n_skipped])
        sold = SoldHistory.from_panel(panel, self.config.fit.horizon)
        return model.with_forecasts(rows, daily, sold)


def _skip_weeks_before(rows: pa.Table, start: datetime) -> pa.Table:
    return rows.filter(pc.greater_equal(rows["ds"], pa.scalar(start, TIMESTAMP)))
