"""Forecasts with and without the plan from each of nine origins: tables and targets.

It continues a backtest of `tests.benchmarks.demand`, with its learners at the reported origins.
Every learner forecasts with the plan and without it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from features.contracts.arrays import Float64Array
from models.demand import planned_baseline
from models.demand.baselines import UNBIASED
from models.demand.model import DemandModel
from models.demand.panel import DemandPanel
from tests.benchmarks.targets import Target
from training.demand.backtest import Backtest
from training.demand.folds import EvaluatedSeries
from training.demand.metrics import bias, gain_interval, wmape
from training.demand.plan_metrics import SPANS, PlanFold, evaluate_plans, name_ours
from training.demand.plan_views import PlanView

ORIGINS = tuple(range(40, 49))
VIEWS = (PlanView.FULL, PlanView.NONE)
_QUARTER = 13


def evaluate_each_origin(backtest: Backtest, series: EvaluatedSeries) -> list[PlanFold]:
    """Return a fold of each of ORIGINS."""
    n_weeks = backtest.data.panel.n_known - backtest.config.skip_last_weeks
    return [evaluate_plans(backtest, origin, series, n_weeks) for origin in ORIGINS]


def print_origins(folds: Sequence[PlanFold]) -> None:
    """Print WMAPE and bias by origin and span of weeks ahead, of ours and of the baselines."""
    methods = [*(name_ours(view) for view in VIEWS), planned_baseline.NAME, *UNBIASED]
    for span in SPANS:
        print(f"\nweeks {span[0]}-{span[1]} ahead: WMAPE (bias) by origin")
        of_span = [fold for fold in folds if fold.actual.shape[1] >= span[1]]
        print(" ".join(["method".ljust(28), *(f"{fold.origin:>14}" for fold in of_span)]))
        for method in methods:
            cells = []
            for fold in of_span:
                actual, forecast = _select(fold, method, span)
                cells.append(f"{wmape(actual, forecast):.4f} ({bias(actual, forecast):+.1%})")
            print(" ".join([method.ljust(28), *(cell.rjust(14) for cell in cells)]), flush=True)


def bias_targets(folds: Sequence[PlanFold]) -> list[Target]:
    """Return the targets of bias: over all origins together, and of single ones."""
    targets = []
    for view in VIEWS:
        for span in SPANS:
            pairs = [
                _select(fold, name_ours(view), span)
                for fold in folds
                if fold.actual.shape[1] >= span[1]
            ]
            if not pairs:
                continue
            biases = np.array([bias(*pair) for pair in pairs])
            together = bias(*_stack(pairs))
            low, high = _bootstrap_mean(biases)
            near = span == SPANS[0]
            met = abs(together) <= 0.03
            if near:
                met &= np.abs(biases).mean() <= 0.04 and np.abs(biases).max() <= 0.07
            wanted = "3 % together" + (", 4 % on average, 7 % at most" if near else "")
            targets.append(
                Target(
                    f"bias {view}, weeks {span[0]}-{span[1]}, within {wanted}",
                    f"{together:+.2%} (mean of the origins {low:+.1%} to {high:+.1%}), "
                    f"{np.abs(biases).mean():.2%} on average, {np.abs(biases).max():.2%} at most, "
                    f"{len(pairs)} origins",
                    bool(met),
                )
            )
    return targets


def gain_targets(folds: Sequence[PlanFold]) -> list[Target]:
    """Return the targets of accuracy, each against the best baseline that knows as much."""
    rivals = {
        PlanView.FULL: (*UNBIASED, planned_baseline.NAME),
        PlanView.NONE: tuple(UNBIASED),
    }
    least = {PlanView.FULL: 0.0, PlanView.NONE: 0.03}
    targets = []
    for view in VIEWS:
        actual, ours = _stack([_select(fold, name_ours(view), SPANS[0]) for fold in folds])
        forecasts = {
            name: _stack([_select(fold, name, SPANS[0]) for fold in folds])[1]
            for name in rivals[view]
        }
        best = min(forecasts, key=lambda name: wmape(actual, forecasts[name]))
        by_series = [
            np.concatenate([_select(fold, name, SPANS[0])[part] for fold in folds], axis=1)
            for name, part in ((name_ours(view), 0), (name_ours(view), 1), (best, 1))
        ]
        low, high = gain_interval(*by_series)
        gain = 1 - wmape(actual, ours) / wmape(actual, forecasts[best])
        wanted = "below" if not least[view] else f"at least {least[view]:.0%} below"
        targets.append(
            Target(
                f"WMAPE {view} {wanted} the best baseline that knows as much, over nine origins",
                f"{wmape(actual, ours):.4f} against {best} {wmape(actual, forecasts[best]):.4f}, "
                f"{gain:.1%} less ({low:.1%} to {high:.1%})",
                gain >= least[view] and low > 0,
            )
        )
    return targets


def served_level_target(model: DemandModel, panel: DemandPanel) -> Target:
    """Compare the served forecasts of a week with what sold in a week of the last quarter."""
    weeks = panel.units[:, panel.n_known - _QUARTER : panel.n_known].sum(axis=0, dtype=np.float64)
    n_weeks = len(set(model.forecasts["ds"].to_pylist()))
    served = float(model.forecasts["mean"].to_numpy().sum()) / n_weeks
    excess = served / float(weeks.mean()) - 1
    error = float(weeks.std(ddof=1) / np.sqrt(len(weeks)) / weeks.mean())
    return Target(
        "served forecasts within 4 % of the last quarter's weekly level",
        f"{served:,.0f} against {weeks.mean():,.0f} units a week: {excess:+.1%} "
        f"(standard error of the quarter's level {error:.1%})",
        abs(excess) <= 0.04,
    )


def _select(fold: PlanFold, name: str, span: tuple[int, int]) -> tuple[Float64Array, Float64Array]:
    weeks = slice(span[0] - 1, span[1])
    return fold.actual[:, weeks], fold.forecasts[name][:, weeks]


def _stack(pairs: Sequence[tuple[Float64Array, Float64Array]]) -> tuple[Float64Array, Float64Array]:
    return (
        np.concatenate([actual for actual, _ in pairs]),
        np.concatenate([forecast for _, forecast in pairs]),
    )


def _bootstrap_mean(values: Float64Array, n_draws: int = 2_000) -> tuple[float, float]:
    """Return the 95 % interval of the mean, values drawn with replacement."""
    draws = np.random.default_rng(7).choice(values, (n_draws, len(values)))
    low, high = np.quantile(draws.mean(axis=1), [0.025, 0.975])
    return float(low), float(high)
