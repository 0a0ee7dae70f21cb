"""Forecasts with the plan, without it and as known at the origin, up to 13 weeks ahead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float64Array
from models.demand import planned_baseline
from models.demand.baselines import UNBIASED
from models.demand.planned_baseline import forecast_by_plan
from training.demand.backtest import Backtest
from training.demand.folds import EvaluatedSeries
from training.demand.metrics import bias, wmape
from training.demand.plan_views import PlanView
from training.results import OURS, Cell, MetricTable

ERROR_BY_PLAN = "WMAPE by plan and weeks ahead"
BIAS_BY_PLAN = "Bias by plan and weeks ahead"
SPANS = ((1, 4), (5, 8), (9, 13))  # weeks ahead, both ends included
_NOTE = (
    "only the plans of the weeks to come differ; a span counts the origins after which all of its "
    "weeks are known"
)


@dataclass(frozen=True)
class PlanFold:
    """Forecasts made at one origin and what sold in all known weeks after it, at most 13.

    actual      S × W units
    forecasts   S × W means by method: ours by view of the plans, the baselines by name
    """

    origin: int
    actual: Float64Array
    forecasts: Mapping[str, Float64Array]


def list_views(backtest: Backtest) -> Mapping[PlanView, Backtest]:
    """Return a backtest of each view; views that know the same plans have the same one."""
    return {view: backtest.with_plans(view) for view in PlanView}


def name_ours(view: PlanView) -> str:
    """Return the name of our forecasts in a view.

    >>> name_ours(PlanView.NONE)
    'Shopwright, without a plan'
    """
    return f"{OURS}, {view}"


def evaluate_plans(
    backtest: Backtest, origin: int, series: EvaluatedSeries, n_weeks: int
) -> PlanFold:
    """Return the forecasts made at `origin` by view of the plans.

    n_weeks   of the data that are over, the last of which is the last one evaluated
    """
    rows = series.rows
    horizon = min(backtest.config.fit.horizon, n_weeks - origin)
    units = backtest.data.panel.units
    past = units[rows, :origin].astype(np.float64)
    forecasts: dict[str, Float64Array] = {}
    for view, of_view in list_views(backtest).items():
        forecasts[name_ours(view)] = of_view.forecast_means(origin, horizon)[rows]
    for name, level in UNBIASED.items():
        forecasts[name] = np.repeat(level(past)[:, None], horizon, axis=1)
    panel = backtest.panel_at(origin)
    if len(panel.kinds):
        planned = forecast_by_plan(panel, range(1, horizon + 1))
        forecasts[planned_baseline.NAME] = planned[rows]
    counted = backtest.find_counted_weeks(origin, horizon)[rows]
    actual = units[rows, origin : origin + horizon] * counted
    counted_forecasts = {name: forecast * counted for name, forecast in forecasts.items()}
    return PlanFold(origin, actual, counted_forecasts)


def compute_plan_metrics(folds: Sequence[PlanFold]) -> dict[str, float]:
    """Return WMAPE and bias of the first span by view, and the bias of each origin."""
    metrics = {}
    for view in PlanView:
        name = name_ours(view)
        pairs = [_select(fold, name, SPANS[0]) for fold in folds]
        metrics[f"WMAPE {view}"] = wmape(*_stack(pairs))
        metrics[f"bias {view}"] = bias(*_stack(pairs))
        for fold, pair in zip(folds, pairs, strict=True):
            metrics[f"bias {view}, origin {fold.origin}"] = bias(*pair)
    return metrics


def tabulate_plans(folds: Sequence[PlanFold]) -> tuple[MetricTable, ...]:
    """Return WMAPE and bias by method and span of weeks ahead."""
    columns = tuple(f"weeks {first}-{last}" for first, last in SPANS)
    whole = [[fold for fold in folds if fold.actual.shape[1] >= last] for _, last in SPANS]
    counts = tuple(len(of_span) for of_span in whole)
    tables = []
    for title, metric in ((ERROR_BY_PLAN, wmape), (BIAS_BY_PLAN, bias)):
        rows = {}
        for name in folds[0].forecasts:
            cells = []
            for span, of_span in zip(SPANS, whole, strict=True):
                pairs = [_select(fold, name, span) for fold in of_span]
                cells.append(Cell(metric(*_stack(pairs)) if pairs else float("nan")))
            rows[name] = tuple(cells)
        tables.append(MetricTable(title, columns, rows, counts, _NOTE, counted="origins"))
    return tuple(tables)


def _select(fold: PlanFold, name: str, span: tuple[int, int]) -> tuple[Float64Array, Float64Array]:
    """Return units and forecasts of a span of weeks ahead."""
    weeks = slice(span[0] - 1, span[1])
    return fold.actual[:, weeks], fold.forecasts[name][:, weeks]


def _stack(pairs: Sequence[tuple[Float64Array, Float64Array]]) -> tuple[Float64Array, Float64Array]:
    """Return all units and forecasts; the last origins of a short history have fewer weeks."""
    return (
        np.concatenate([actual.ravel() for actual, _ in pairs]),
        np.concatenate([forecast.ravel() for _, forecast in pairs]),
    )
