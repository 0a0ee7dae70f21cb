"""The training task of demand: evaluated at rolling origins beside the baselines, then refitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from configs.settings import Settings
from features.contracts.arrays import Float64Array
from features.contracts.errors import TooLittleData
from features.contracts.seeds import generator
from features.facts.facts import Facts
from models.demand.baselines import BIASED
from models.demand.model import DemandModel
from models.demand.panel import DemandPanel
from models.demand.uncertainty.counts import P10, P90
from training.demand.aggregate_metrics import evaluate_aggregates, tabulate_aggregates
from training.demand.backtest import Backtest
from training.demand.config import DemandConfig
from training.demand.data import load_demand_data
from training.demand.day_folds import DayFold, compare_days, evaluate_days
from training.demand.folds import EvaluatedSeries, Fold, choose_series, evaluate_origin
from training.demand.metrics import (
    bias,
    bias_error,
    gain_interval,
    gain_p_value,
    interval_coverage,
    ks_uniform,
    wmape,
    wrmsse,
)
from training.demand.new_items import (
    compute_new_item_metrics,
    evaluate_new_items,
    tabulate_new_items,
)
from training.demand.origins import evaluation_origins, shorten_protocol
from training.demand.plan_metrics import (
    compute_plan_metrics,
    evaluate_plans,
    tabulate_plans,
)
from training.demand.plan_views import PlanView
from training.demand.plots import plot_calibration, plot_total
from training.demand.series_values import SeriesWindow
from training.demand.served_weights import describe_weights, tabulate_weights
from training.demand.tables import build_tables, compute_pinball_losses
from training.non_inferiority import UnitValues
from training.results import OURS, Comparison, Evaluation, Trained
from training.task import TIME, Progress

PRIMARY = "WMAPE"
MAX_BIAS = 0.05
# Methods of the blend that are a baseline of another name: the same without a first week's weight.
_SERVED_AS = {"SES": "decaying mean"}


def train(
    facts: Facts,
    settings: Settings,
    config: DemandConfig,
    *,
    until: datetime | None,
    refit: bool = True,
    progress: Progress,
) -> Trained[DemandModel]:
    """Evaluate at rolling origins within the weeks before `until`, then refit on all of them.

    With few weeks the protocol is shorter, and simple methods serve alone. Where the blend is
    measurably behind a baseline, that baseline serves. With less than three weeks, or without an
    item that sells in enough of them, forecasts are made that nothing was compared with. Raises
    TooLittleData without a whole week of sales.
    """
    progress("reading weekly demand")
    data = load_demand_data(facts, settings, until=until, ahead=config.fit.horizon)
    panel = data.panel
    # Forecasts begin with the week of the present: they reach over the weeks that are missing.
    horizon = config.fit.horizon + data.n_missing
    config = replace(config, fit=replace(config.fit, horizon=horizon))
    try:
        protocol = shorten_protocol(config, panel.n_known)
        origins = evaluation_origins(panel.n_known, protocol)
        backtest = Backtest(data, protocol, settings.seed, progress)
        at_origins = evaluate_origins(backtest, origins, config)
    except TooLittleData as error:
        return _train_unevaluated(Backtest(data, config, settings.seed, progress), error.what)
    if not at_origins.evaluation.passed:
        backtest, at_origins = _serve_best(backtest, at_origins, config)
    evaluation = at_origins.evaluation
    evaluated, known = backtest.model_at(origins[-1]), backtest.panel_at(origins[-1])
    last = at_origins.folds[-1]
    window = SeriesWindow(known, at_origins.series.rows, last.actual, last.counted)

    def measure(folder: Path | None) -> dict[str, UnitValues]:
        return window.measure(evaluated if folder is None else DemandModel.load(folder))

    fitted_on = panel.n_known if refit else origins[-1]
    # Served forecasts are calibrated by backtests that know as little of the plans as they do.
    view = PlanView.AS_KNOWN if refit else PlanView.FULL
    served = backtest.with_plans(view).model_with_forecasts_at(
        fitted_on, data.n_missing if refit else 0
    )
    fitted_until = evaluation.cut if fitted_on == origins[-1] else panel.week_starts[fitted_on]
    return Trained(evaluation, evaluated if refit else served, served, fitted_until, measure)


def _train_unevaluated(backtest: Backtest, reason: str) -> Trained[DemandModel]:
    """Return the model of all known weeks, where too few are known to compare it with anything."""
    data, n_known = backtest.data, backtest.data.panel.n_known
    cut = data.panel.week_starts[n_known]
    note = f"{reason}. Until then simple methods serve, which nothing was compared with"
    evaluation = Evaluation(
        task="demand",
        cut=cut,
        primary=PRIMARY,
        comparisons=(),
        failed_bars=(),
        notes=(*data.notes, note),
    )
    served = backtest.model_with_forecasts_at(n_known, data.n_missing)
    return Trained(evaluation, served, served, cut, lambda _: {})


def _serve_best(
    backtest: Backtest, failing: EvaluatedOrigins, config: DemandConfig
) -> tuple[Backtest, EvaluatedOrigins]:
    """Return what serves where the blend fails a bar: it, or the strongest baseline if better."""
    comparison, failed = failing.evaluation.comparison(PRIMARY), failing.evaluation.failed_bars
    strongest = comparison.strongest
    if comparison.ours <= comparison.baselines[strongest]:
        note = f"no baseline is better than what serves, though it fails: {'; '.join(failed)}"
        at_origins = failing
    else:
        backtest = backtest.serve_alone(_SERVED_AS.get(strongest, strongest))
        at_origins = evaluate_origins(backtest, [fold.origin for fold in failing.folds], config)
        note = f"{strongest} serves alone, for the blend of all methods fails: {'; '.join(failed)}"
    evaluation = at_origins.evaluation
    notes = (*evaluation.notes, note)
    return backtest, replace(
        at_origins, evaluation=replace(evaluation, failed_bars=(), notes=notes)
    )


@dataclass(frozen=True)
class EvaluatedOrigins:
    """The evaluation of a backtest at some origins, its series, and a fold for each origin."""

    evaluation: Evaluation
    series: EvaluatedSeries
    folds: Sequence[Fold]


def evaluate_origins(
    backtest: Backtest, origins: Sequence[int], config: DemandConfig
) -> EvaluatedOrigins:
    """Return ours beside the baselines at the origins, oldest first.

    config   as requested; that of the backtest may be shorter
    """
    panel, protocol = backtest.data.panel, backtest.config
    series = choose_series(panel, origins[0], protocol)
    folds = [evaluate_origin(backtest, origin, series) for origin in origins]
    day_folds = [evaluate_days(backtest, origin, series) for origin in origins]
    horizon = protocol.horizon
    new_items = [evaluate_new_items(backtest, panel, origin, horizon) for origin in origins]
    rng = generator(backtest.seed, "sums")
    aggregates = [evaluate_aggregates(backtest, origin, series, rng) for origin in origins]
    n_weeks = panel.n_known - protocol.skip_last_weeks
    plan_folds = [evaluate_plans(backtest, origin, series, n_weeks) for origin in origins]
    evaluation = _summarize(panel, config, folds, [fold for fold in day_folds if fold is not None])
    evaluated, known = backtest.model_at(origins[-1]), backtest.panel_at(origins[-1])
    evaluation = replace(
        evaluation,
        metrics={
            **evaluation.metrics,
            **compute_new_item_metrics(new_items),
            **compute_plan_metrics(plan_folds),
        },
        tables=(
            *tabulate_plans(plan_folds),
            *evaluation.tables,
            tabulate_aggregates(aggregates),
            tabulate_new_items(new_items),
            tabulate_weights(evaluated, known),
        ),
        notes=(
            *backtest.data.notes,
            *evaluation.notes,
            *describe_weights(evaluated, known),
        ),
    )
    return EvaluatedOrigins(evaluation, series, folds)


def evaluate(
    facts: Facts,
    settings: Settings,
    config: DemandConfig,
    *,
    until: datetime | None,
    split: str = TIME,  # noqa: ARG001
    progress: Progress,
) -> Evaluation:
    """Return ours beside the baselines at the rolling origins; the same metrics as `train`."""
    return train(facts, settings, config, until=until, refit=False, progress=progress).evaluation


def _summarize(
    panel: DemandPanel,
    config: DemandConfig,
    folds: Sequence[Fold],
    day_folds: Sequence[DayFold],
) -> Evaluation:
    """Return the metrics of all origins together; RMSSE is the mean of the origins."""
    actual = np.concatenate([fold.actual for fold in folds])
    ours = np.concatenate([fold.means for fold in folds])
    baselines = {
        name: np.concatenate([fold.baselines[name] for fold in folds])
        for name in folds[0].baselines
        if name not in BIASED
    }
    error, our_bias = wmape(actual, ours), bias(actual, ours)
    errors = {name: wmape(actual, forecast) for name, forecast in baselines.items()}
    strongest = min(errors, key=lambda name: errors[name])
    by_series = _stack_by_series(folds, strongest)
    p_value, (low, high) = gain_p_value(*by_series), gain_interval(*by_series)
    scaled = {name: _mean_wrmsse(folds, name) for name in baselines}
    strongest_scaled = min(scaled, key=lambda name: scaled[name])
    comparisons = [
        Comparison(PRIMARY, error, errors, "lower", strongest, p_value),
        Comparison(
            "revenue-weighted RMSSE",
            _mean_wrmsse(folds, OURS),
            scaled,
            "lower",
            strongest_scaled,
        ),
    ]
    day_metrics: Mapping[str, float] = {}
    if day_folds:
        day_comparison, day_metrics = compare_days(day_folds)
        comparisons.append(day_comparison)
    # A short history may bias every method: then ours may be no more biased than the baseline it
    # replaces, or than chance explains.
    most_bias = max(
        MAX_BIAS,
        abs(bias(actual, baselines[strongest])),
        2 * bias_error(by_series[0], by_series[1]),
    )
    return Evaluation(
        task="demand",
        cut=panel.week_starts[folds[-1].origin],
        primary=PRIMARY,
        comparisons=tuple(comparisons),
        failed_bars=_find_failed_bars(comparisons[0], high, our_bias, most_bias),
        metrics={
            "bias": our_bias,
            "WMAPE gain low": low,
            "WMAPE gain high": high,
            **_compute_metrics(folds),
            **{f"bias {name}": bias(actual, forecast) for name, forecast in baselines.items()},
            **day_metrics,
        },
        notes=_write_notes(panel, config, folds),
        figures={
            "demand_total": plot_total(panel, folds),
            "demand_calibration": plot_calibration(folds),
        },
        tables=build_tables(folds),
    )


def _find_failed_bars(
    comparison: Comparison, gain_high: float, our_bias: float, most_bias: float
) -> tuple[str, ...]:
    """Return what the forecast must reach and does not.

    It may not be measurably behind the strongest baseline in hindsight, nor more biased than
    `most_bias`. Where nothing sold the values are NaN, and no bar fails.
    """
    bars = []
    if gain_high < 0:
        bars.append(f"measurably behind its baseline: {comparison.describe()}")
    if abs(our_bias) > most_bias:
        bars.append(f"bias {our_bias:+.1%} of the units sold, at most {most_bias:.1%} is allowed")
    return tuple(bars)


def _compute_metrics(folds: Sequence[Fold]) -> dict[str, float]:
    actual = np.concatenate([fold.actual for fold in folds])
    quantiles = np.concatenate([fold.quantiles for fold in folds])
    per_origin = {f"bias origin {fold.origin}": bias(fold.actual, fold.means) for fold in folds}
    coverage = interval_coverage(actual, quantiles[..., P10], quantiles[..., P90])
    return {
        **per_origin,
        **compute_pinball_losses(actual, quantiles),
        "coverage p10-p90": coverage,
        "PIT KS": ks_uniform(np.concatenate([fold.pit.ravel() for fold in folds])),
        "n_series": float(len(folds[0].actual)),
    }


def _stack_by_series(
    folds: Sequence[Fold], baseline: str
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return units, ours and the baseline: series × weeks of all origins."""
    return (
        np.concatenate([fold.actual for fold in folds], axis=1),
        np.concatenate([fold.means for fold in folds], axis=1),
        np.concatenate([fold.baselines[baseline] for fold in folds], axis=1),
    )


def _mean_wrmsse(folds: Sequence[Fold], method: str) -> float:
    """Return the mean of the origins."""
    errors = [wrmsse(fold.actual, fold.forecast(method), fold.past, fold.weight) for fold in folds]
    return float(np.mean(errors))


def _write_notes(
    panel: DemandPanel, config: DemandConfig, folds: Sequence[Fold]
) -> tuple[str, ...]:
    (name,) = BIASED
    actual = np.concatenate([fold.actual for fold in folds])
    horizon = actual.shape[1]
    median = np.concatenate([fold.baselines[name] for fold in folds])
    starts = ", ".join(f"{panel.week_starts[fold.origin]:%Y-%m-%d}" for fold in folds)
    origins = ", ".join(str(fold.origin) for fold in folds)
    protocol = (
        f"{len(folds[0].actual)} series sold in {config.min_share_sold:.0%} of the weeks before "
        f"the first origin; {horizon} weeks from each of {starts} (after {origins} weeks)"
    )
    left_out = (
        f"{name}: WMAPE {wmape(actual, median):.3f} with a bias of {bias(actual, median):+.1%}, "
        "so it is no rival"
    )
    plans = (
        "promotions: the planned calendar, known in advance, but where a table says otherwise; "
        "prices: the price list only, never a price seen in sales"
    )
    notes = [protocol, left_out, plans]
    if panel.offer_price is None:
        notes.append(
            "no price list was imported: forecasts know planned promotions but no planned prices"
        )
    if len(folds) < config.n_origins or horizon < config.horizon:
        notes.append(
            f"{panel.n_known} weeks of sales leave room for {len(folds)} of {config.n_origins} "
            f"origins and {horizon} of {config.horizon} weeks ahead"
        )
    return tuple(notes)


class DemandTask:
    """Weekly demand forecasts, beside statistical baselines at rolling origins."""

    name = "demand"
    config = DemandConfig
    serves_behind = False
    protocol = ("horizon", "step_weeks", "n_origins", "skip_last_weeks", "min_share_sold")
    splits = (TIME,)
    train = staticmethod(train)
    evaluate = staticmethod(evaluate)
