"""Demand: rolling origins beside the statistical baselines -> the model fitted on all weeks -> the
next 13 weeks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np

from configs.settings import Settings
from features.contracts.arrays import Float64Array, Int64Array
from features.contracts.errors import BadInput
from features.contracts.seeds import generator
from features.facts.facts import Facts
from models.demand.baselines import BIASED, UNBIASED
from models.demand.model import DemandModel
from models.demand.panel import DemandPanel
from models.demand.uncertainty.counts import QUANTILES
from training.demand import plots, tables
from training.demand.aggregate_metrics import sum_folds, sums_table
from training.demand.backtest import SEASONAL, Backtester, Fold
from training.demand.config import DemandConfig
from training.demand.daily import DayFold, build_days, judged_days
from training.demand.metrics import (
    bias,
    gain_interval,
    interval_coverage,
    ks_uniform,
    paired_gain,
    pinball,
    weighted_rmsse,
    wmape,
)
from training.demand.new_items import new_figures, new_items, new_table
from training.demand.origins import MIN_ORIGIN, evaluation_origins
from training.demand.panel import as_planned, build_panel, catalogue
from training.results import Comparison, Evaluation, Trained
from training.task import TIME, Progress

PRIMARY = "WMAPE"
MAX_BIAS = 0.05


def train(
    facts: Facts,
    settings: Settings,
    config: DemandConfig,
    *,
    until: datetime | None,
    refit: bool = True,
    progress: Progress,
) -> Trained[DemandModel]:
    """Evaluates at rolling origins within the weeks before `until`, then refits the same on all of
    them.

    Raises BadInput with too little history, saying how many weeks there are and how many are
    needed.
    """
    progress("reading weekly demand")
    panel, revenue = build_panel(facts, settings, until=until, ahead=config.fit.horizon)
    origins = _origins(panel, config)

    def planned(origin: int) -> DemandPanel:
        """The whole panel with the prices that were planned when `origin` weeks were over."""
        return as_planned(panel, facts, settings, known_at=panel.week_starts[origin])

    days = build_days(panel, facts, settings)
    shop = Backtester(
        panel, planned, config, settings.seed, progress, days, settings.timezone, catalogue(facts)
    )
    judged = _judged(panel, origins[0], config)
    folds = [shop.fold(origin, revenue, judged, origins[0]) for origin in origins]
    by_day = [fold for origin in origins if (fold := shop.day_fold(origin, judged)) is not None]
    new = [new_items(shop, panel, origin, config.horizon) for origin in origins]
    rng = generator(settings.seed, "sums")
    sums = [sum_folds(shop, panel, judged, origin, config.horizon, rng) for origin in origins]
    evaluated = shop.fitted(origins[-1]) if refit else shop.model(origins[-1])
    evaluation = _evaluation(panel, folds, by_day, config, origins)
    evaluation = replace(
        evaluation,
        metrics={**evaluation.metrics, **new_figures(new)},
        tables=(*evaluation.tables, sums_table(sums), new_table(new)),
    )
    return Trained(evaluation, evaluated, shop.model(panel.n_known) if refit else evaluated)


def evaluate(
    facts: Facts,
    settings: Settings,
    config: DemandConfig,
    *,
    until: datetime | None,
    split: str = TIME,  # noqa: ARG001
    progress: Progress,
) -> Evaluation:
    """Ours beside the baselines at the rolling origins; the same figures as `train`."""
    return train(facts, settings, config, until=until, refit=False, progress=progress).evaluation


def _origins(panel: DemandPanel, config: DemandConfig) -> Sequence[int]:
    origins = evaluation_origins(panel.n_known, config)
    if not origins:
        needed = MIN_ORIGIN + config.horizon + config.skip_last_weeks
        raise BadInput(
            f"{panel.n_known} whole weeks of sales are too few to judge a demand model; {needed} are needed",
            hint="Import more history, or lower horizon or skip_last_weeks in configs/models/demand.yaml",
        )
    return origins


def _judged(panel: DemandPanel, first: int, config: DemandConfig) -> Int64Array:
    """Series sold in enough of the weeks before the first origin."""
    needed = math.ceil(config.min_share_sold * first)
    judged = np.flatnonzero((panel.units[:, :first] > 0).sum(axis=1) >= needed)
    if not len(judged):
        raise BadInput(
            f"no item sold in {needed} of the first {first} weeks, so no forecast can be judged",
            hint="Lower min_share_sold in configs/models/demand.yaml",
        )
    return judged


def _evaluation(
    panel: DemandPanel,
    folds: Sequence[Fold],
    by_day: Sequence[DayFold],
    config: DemandConfig,
    origins: Sequence[int],
) -> Evaluation:
    """Figures over all origins together; RMSSE is the mean of the origins."""
    actual = np.concatenate([fold.actual for fold in folds])
    ours = np.concatenate([fold.means for fold in folds])
    theirs = {
        name: np.concatenate([fold.baselines[name] for fold in folds])
        for name in (*UNBIASED, SEASONAL)
    }
    errors = {name: wmape(actual, forecast) for name, forecast in theirs.items()}
    strongest = min(errors, key=lambda name: errors[name])
    p_value = _paired(folds, strongest)
    low, high = gain_interval(*_by_series(folds, strongest))
    scaled = {name: _scaled(folds, name) for name in theirs}
    rival = min(scaled, key=lambda name: scaled[name])
    off = bias(actual, ours)
    error = wmape(actual, ours)
    days, figures_by_day = judged_days(by_day) if by_day else (None, {})
    comparisons = (
        Comparison(PRIMARY, error, errors, "lower", strongest, p_value),
        Comparison("revenue-weighted RMSSE", _scaled(folds, None), scaled, "lower", rival),
        *(() if days is None else (days,)),
    )
    return Evaluation(
        task="demand",
        cut=panel.week_starts[origins[-1]],
        primary=PRIMARY,
        comparisons=comparisons,
        # A short history may bias every method: then ours may be no more biased than the baseline
        # it replaces.
        passed=error < errors[strongest]
        and abs(off) <= max(MAX_BIAS, abs(bias(actual, theirs[strongest]))),
        metrics={
            "bias": off,
            "WMAPE gain low": low,
            "WMAPE gain high": high,
            **_figures(folds, actual),
            **{f"bias {n}": bias(actual, f) for n, f in theirs.items()},
            **figures_by_day,
        },
        notes=_notes(panel, folds, config, actual),
        figures={
            "demand_total": plots.total(panel, folds),
            "demand_calibration": plots.calibration(folds),
        },
        tables=tables.all_tables(folds),
    )


def _figures(folds: Sequence[Fold], actual: Float64Array) -> dict[str, float]:
    quantiles = np.concatenate([fold.quantiles for fold in folds])
    losses = {
        f"pinball p{level * 100:.0f}": pinball(actual, quantiles[:, :, q], level)
        for q, level in enumerate(QUANTILES)
    }
    per_origin = {f"bias origin {fold.origin}": bias(fold.actual, fold.means) for fold in folds}
    return {
        **per_origin,
        **losses,
        "coverage p10-p90": interval_coverage(actual, quantiles[:, :, 0], quantiles[:, :, 2]),
        "PIT KS": ks_uniform(np.concatenate([fold.pit.ravel() for fold in folds])),
        "n_series": float(len(folds[0].actual)),
    }


def _paired(folds: Sequence[Fold], rival: str) -> float:
    """Paired by series: its absolute errors of all origins together."""
    return paired_gain(*_by_series(folds, rival))


def _by_series(
    folds: Sequence[Fold], rival: str
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Sold, ours, theirs: series × weeks of all origins."""
    parts = zip(*((fold.actual, fold.means, fold.baselines[rival]) for fold in folds), strict=True)
    actual, ours, theirs = (np.concatenate(each, axis=1) for each in parts)
    return actual, ours, theirs


def _scaled(folds: Sequence[Fold], name: str | None) -> float:
    forecasts = [fold.means if name is None else fold.baselines[name] for fold in folds]
    each = [
        weighted_rmsse(f.actual, forecast, f.past, f.weight)
        for f, forecast in zip(folds, forecasts, strict=True)
    ]
    return float(np.mean(each))


def _notes(
    panel: DemandPanel, folds: Sequence[Fold], config: DemandConfig, actual: Float64Array
) -> tuple[str, ...]:
    (name,) = BIASED
    median = np.concatenate([fold.baselines[name] for fold in folds])
    starts = ", ".join(f"{panel.week_starts[fold.origin]:%Y-%m-%d}" for fold in folds)
    protocol = (
        f"{len(folds[0].actual)} series sold in {config.min_share_sold:.0%} of the weeks before the first origin; "
        f"{config.horizon} weeks from each of {starts} (after {', '.join(str(f.origin) for f in folds)} weeks)"
    )
    notes = [
        protocol,
        f"{name}: WMAPE {wmape(actual, median):.3f} with a bias of {bias(actual, median):+.1%}, so it is no rival",
        "promotions: the planned calendar, known in advance; prices: the price list only, never a price seen in sales",
    ]
    if panel.offer_price is None:
        notes.append(
            "no price list was imported: forecasts know planned promotions but no planned prices"
        )
    if len(folds) < config.n_origins:
        notes.append(
            f"{panel.n_known} weeks of sales leave room for {len(folds)} of {config.n_origins} origins"
        )
    return tuple(notes)


class DemandTask:
    """Weekly demand forecasts, beside statistical baselines at rolling origins."""

    name = "demand"
    config = DemandConfig
    protocol = ("horizon", "step_weeks", "n_origins", "skip_last_weeks", "min_share_sold")
    splits = (TIME,)
    train = staticmethod(train)
    evaluate = staticmethod(evaluate)
