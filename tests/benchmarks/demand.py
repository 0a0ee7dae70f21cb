"""`make bench-demand`: targets of demand forecasts on the Complete Journey, in one run.

    python -m tests.benchmarks.demand

Three origins (40, 44, 48 weeks) and the three before them (28, 32, 36), on which every choice was
made: ours beside the baselines, statsforecast's own among them, and the seconds that one origin
takes. Then each origin from 40 to 48, with the plan and without it, up to 13 weeks ahead, and the
level of the served forecasts. One line a target at the end; exits 1 when one is missed. It imports
the data into a temporary state folder.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from datetime import datetime

import numpy as np
import pandas as pd
from statsforecast import StatsForecast
from statsforecast.models import (
    ADIDA,
    TSB,
    CrostonSBA,
    DynamicOptimizedTheta,
    SeasonalExponentialSmoothing,
    SeasonalNaive,
    SeasonalWindowAverage,
    SimpleExponentialSmoothing,
    WindowAverage,
)

from configs.settings import Settings
from features.contracts.arrays import Float64Array
from features.facts.facts import Facts
from models.demand import planned_baseline
from models.demand.baselines import UNBIASED
from serving.cli.evaluate import print_evaluation
from serving.cli.evaluation_data import open_data
from tests.benchmarks import demand_plans, simulated_demand
from tests.benchmarks.targets import Target, exit_with
from training.demand import tables as demand_tables
from training.demand import task as demand
from training.demand.backtest import Backtest
from training.demand.config import DemandConfig
from training.demand.data import DemandData, load_demand_data
from training.demand.day_folds import evaluate_days
from training.demand.folds import choose_series, evaluate_origin
from training.demand.metrics import bias, wmape
from training.demand.plan_views import PlanView
from training.demand.task import DemandTask
from training.results import Evaluation
from training.run import load_config

CHOSEN_ON = datetime.fromisoformat("2017-10-09T04:00:00+00:00")
ORIGINS = (40, 44, 48)
MOST_SECONDS = 120.0
FORMAT = "complete-journey"


def targets(evaluation: Evaluation) -> list[Target]:
    """Return the targets of accuracy and calibration."""
    errors, scaled = (evaluation.comparison(name) for name in ("WMAPE", "revenue-weighted RMSSE"))
    without_plan = {name: errors.baselines[name] for name in UNBIASED}
    strongest = min(without_plan, key=lambda name: without_plan[name])
    rival, scaled_rival = without_plan[strongest], scaled.baselines[scaled.strongest]
    low, high = (evaluation.metrics[f"WMAPE gain {end}"] for end in ("low", "high"))
    planned = errors.baselines[planned_baseline.NAME]
    bias_of_ours = evaluation.metrics["bias"]
    table = evaluation.table(demand_tables.BY_VOLUME)
    pit_distances = [cell.value for cell in table.rows["PIT KS"]]
    coverages = [cell.value for cell in table.rows["coverage p10-p90"]]
    gain, scaled_gain = 1 - errors.ours / rival, 1 - scaled.ours / scaled_rival
    return [
        Target(
            "bias of the served mean within 3 %",
            f"{bias_of_ours:+.2%}",
            abs(bias_of_ours) <= 0.03,
        ),
        Target(
            "WMAPE at least 8 % below the best unbiased baseline that knows no plan",
            f"{errors.ours:.4f} against {strongest} {rival:.4f}, {gain:.1%} less",
            gain >= 0.08,
        ),
        Target(
            "WMAPE below the best baseline of all, interval above 0",
            f"{errors.ours:.4f} against {errors.strongest} "
            f"{errors.baselines[errors.strongest]:.4f} ({low:.1%} to {high:.1%} less); "
            f"{planned_baseline.NAME} {planned:.4f}",
            low > 0,
        ),
        Target(
            "revenue-weighted RMSSE at least 5 % below the best baseline",
            f"{scaled.ours:.4f} against {scaled.strongest} {scaled_rival:.4f}, "
            f"{scaled_gain:.1%} less",
            scaled_gain >= 0.05,
        ),
        Target(
            "randomised PIT within .03 of uniform in every fifth by volume",
            _format_list(pit_distances),
            max(pit_distances) <= 0.03,
        ),
        Target(
            "p10-p90 covers at least .80 in every fifth by volume",
            _format_list(coverages),
            min(coverages) >= 0.80,
        ),
    ]


def _format_list(values: list[float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)


def time_one_origin(data: DemandData, settings: Settings, config: DemandConfig) -> Target:
    """Time one origin from the panel on: three earlier fits, the fit, forecasts with quantiles."""
    backtest = Backtest(data, config, settings.seed, lambda _: None)
    series = choose_series(data.panel, ORIGINS[0], config)
    wall, cpu = time.monotonic(), time.process_time()
    fold = evaluate_origin(backtest, ORIGINS[-1], series)
    evaluate_days(backtest, ORIGINS[-1], series)
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    outcome = (
        f"{wall:.0f} s on the clock, {cpu:.0f} s of CPU, one process, "
        f"{len(fold.means):,} series with p10, p50, p90"
    )
    name = f"trained and forecast within {MOST_SECONDS:.0f} s an origin on two cores"
    return Target(name, outcome, wall <= MOST_SECONDS)


def score_statsforecast(data: DemandData, config: DemandConfig) -> list[str]:
    """Return WMAPE and bias of the library's own methods on the same series and origins."""
    methods = [
        ADIDA(),
        TSB(alpha_d=0.2, alpha_p=0.2),
        SimpleExponentialSmoothing(alpha=0.1),
        WindowAverage(window_size=8),
        SeasonalNaive(season_length=4),
        CrostonSBA(),
    ]
    units = data.panel.units
    rows = choose_series(data.panel, ORIGINS[0], config).rows
    sold, forecasts = [], []
    for origin in ORIGINS:
        past = units[rows, :origin].astype(np.float64)
        forecasts.append(_forecast(methods, past, config.horizon))
        sold.append(units[rows, origin : origin + config.horizon].astype(np.float64).ravel())
    return _format_errors(np.concatenate(sold), pd.concat(forecasts))


def score_statsforecast_by_day(data: DemandData, config: DemandConfig) -> list[str]:
    """Return daily WMAPE and bias of the library's own methods on the same dense series."""
    methods = [
        SeasonalNaive(season_length=7),
        SeasonalWindowAverage(season_length=7, window_size=8),
        SeasonalExponentialSmoothing(season_length=7, alpha=0.1),
        WindowAverage(window_size=56),
        DynamicOptimizedTheta(season_length=7),
    ]
    rows = choose_series(data.panel, ORIGINS[0], config).rows
    sold, forecasts = [], []
    for origin in ORIGINS:
        series = np.intersect1d(data.days.truncate(origin).find_dense(config.daily), rows)
        past = data.days.by_day(series, 0, origin).reshape(len(series), -1)
        forecasts.append(_forecast(methods, past, 7 * config.horizon))
        sold.append(data.days.by_day(series, origin, origin + config.horizon).ravel())
    return _format_errors(np.concatenate(sold), pd.concat(forecasts))


def _forecast(methods: list[object], past: Float64Array, horizon: int) -> pd.DataFrame:
    """Return statsforecast's forecasts of series × periods."""
    n_series, n_periods = past.shape
    frame = pd.DataFrame(
        {
            "unique_id": np.repeat(np.arange(n_series), n_periods),
            "ds": np.tile(np.arange(n_periods), n_series),
            "y": past.ravel(),
        }
    )
    return StatsForecast(models=methods, freq=1, n_jobs=1).forecast(df=frame, h=horizon)


def _format_errors(actual: Float64Array, forecasts: pd.DataFrame) -> list[str]:
    lines = []
    for name in forecasts.columns:
        if name not in ("unique_id", "ds"):
            forecast = forecasts[name].to_numpy()
            error, excess = wmape(actual, forecast), bias(actual, forecast)
            lines.append(f"{name}: WMAPE {error:.4f}, bias {excess:+.1%}")
    return lines


def run(facts: Facts, settings: Settings, progress: Callable[[str], None]) -> list[Target]:
    """Print the tables as they come, and return the targets."""
    config: DemandConfig = load_config(DemandTask(), settings)
    print("\n# The origins that choices were made on (28, 32, 36)\n", flush=True)
    print_evaluation(demand.evaluate(facts, settings, config, until=CHOSEN_ON, progress=progress))
    print("\n# The origins that are reported (40, 44, 48)\n", flush=True)
    data = load_demand_data(facts, settings, until=None, ahead=config.fit.horizon)
    backtest = Backtest(data, config, settings.seed, progress)
    at_origins = demand.evaluate_origins(backtest, ORIGINS, config)
    evaluation = at_origins.evaluation
    print_evaluation(evaluation, in_full=True)
    print("\n# Each origin from 40 to 48, with the plan and without it", flush=True)
    plan_folds = demand_plans.evaluate_each_origin(backtest, at_origins.series)
    demand_plans.print_origins(plan_folds)
    served = backtest.with_plans(PlanView.AS_KNOWN).model_with_forecasts_at(data.panel.n_known)
    print("\n# statsforecast itself, same series and origins\n", flush=True)
    for line in score_statsforecast(data, config):
        print(line, flush=True)
    print("\n# statsforecast itself by day, same dense series and origins\n", flush=True)
    for line in score_statsforecast_by_day(data, config):
        print(line, flush=True)
    print(f"(in every evaluation, equal to them by a test: {', '.join(UNBIASED)})")
    prices = [simulated_demand.target(form) for form in ("loglinear", "choice")]
    return [
        *targets(evaluation),
        *demand_plans.gain_targets(plan_folds),
        *demand_plans.bias_targets(plan_folds),
        demand_plans.served_level_target(served, data.panel),
        *prices,
        time_one_origin(data, settings, config),
    ]


def main() -> None:
    """Run all; exit 1 when a target is missed."""
    warnings.simplefilter("ignore")
    with open_data(None, FORMAT, print) as data:
        reached = run(data.facts, data.settings, print)
    exit_with(reached)


if __name__ == "__main__":
    main()
