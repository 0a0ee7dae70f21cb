"""`make bench-demand`: what demand forecasts must show, on the Complete Journey, in one run.

    python -m tests.benchmarks.demand

Three origins (40, 44, 48 weeks) and the three before them (28, 32, 36), on which every choice was
made: ours beside the baselines, statsforecast's own among them, and the seconds that one origin
takes. One line a target at the end; exits 1 when one is missed. It imports the data into a
temporary state folder.
"""

from __future__ import annotations

import sys
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
from features.facts.facts import Facts
from models.demand.baselines import UNBIASED
from serving.cli.evaluate import print_evaluation
from serving.cli.evaluated_data import opened_data
from tests.benchmarks import simulated_demand
from tests.benchmarks.targets import Target
from training.demand import tables as demand_tables
from training.demand import task as demand
from training.demand.backtest import Backtester
from training.demand.config import DemandConfig
from training.demand.daily import build_days
from training.demand.metrics import bias, wmape
from training.demand.panel import as_planned, build_panel, catalogue
from training.demand.task import DemandTask
from training.results import Evaluation
from training.run import load_config

CHOSEN_ON = datetime.fromisoformat("2017-10-09T04:00:00+00:00")
MOST_SECONDS = 120.0
FORMAT = "complete-journey"


def targets(evaluation: Evaluation) -> list[Target]:
    """The figures that forecasts are judged by."""
    errors, scaled = (evaluation.comparison(name) for name in ("WMAPE", "revenue-weighted RMSSE"))
    rival, other = errors.baselines[errors.strongest], scaled.baselines[scaled.strongest]
    low, high = (evaluation.metrics[f"WMAPE gain {end}"] for end in ("low", "high"))
    off = evaluation.metrics["bias"]
    table = evaluation.table(demand_tables.BY_VOLUME)
    uniform, covered = (
        [cell.value for cell in table.rows[name]] for name in ("PIT KS", "coverage p10-p90")
    )
    gain, scaled_gain = 1 - errors.ours / rival, 1 - scaled.ours / other
    found = f"{errors.ours:.4f} against {errors.strongest} {rival:.4f}, {gain:.1%} less ({low:.1%} to {high:.1%})"
    return [
        Target("bias of the served mean within 3 %", f"{off:+.2%}", abs(off) <= 0.03),
        Target(
            "WMAPE at least 8 % below the best unbiased baseline, interval above 0",
            found,
            gain >= 0.08 and low > 0,
        ),
        Target(
            "revenue-weighted RMSSE at least 5 % below the best baseline",
            f"{scaled.ours:.4f} against {scaled.strongest} {other:.4f}, {scaled_gain:.1%} less",
            scaled_gain >= 0.05,
        ),
        Target(
            "randomised PIT within .03 of uniform in every fifth by volume",
            _listed(uniform),
            max(uniform) <= 0.03,
        ),
        Target(
            "p10-p90 covers at least .80 in every fifth by volume",
            _listed(covered),
            min(covered) >= 0.80,
        ),
    ]


def _listed(values: list[float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)


def seconds(facts: Facts, settings: Settings, config: DemandConfig) -> Target:
    """One origin from nothing but the panel: three earlier fits to learn from, the fit, forecasts
    with quantiles."""
    panel, revenue = build_panel(facts, settings, until=None, ahead=config.fit.horizon)
    origin = 48
    shop = Backtester(
        panel,
        lambda at: as_planned(panel, facts, settings, known_at=panel.week_starts[at]),
        config,
        settings.seed,
        lambda _: None,
        build_days(panel, facts, settings),
        settings.timezone,
        catalogue(facts),
    )
    judged = np.flatnonzero((panel.units[:, :40] > 0).sum(axis=1) >= 10)
    wall, cpu = time.monotonic(), time.process_time()
    fold = shop.fold(origin, revenue, judged, 40)
    shop.day_fold(origin, judged)
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    found = f"{wall:.0f} s on the clock, {cpu:.0f} s of CPU, one process, {len(fold.means):,} series with p10, p50, p90"
    name = f"trained and forecast within {MOST_SECONDS:.0f} s an origin on two cores"
    return Target(name, found, wall <= MOST_SECONDS)


def statsforecast_itself(facts: Facts, settings: Settings, config: DemandConfig) -> list[str]:
    """WMAPE and bias of the library's own methods on the same series and origins."""
    panel, _ = build_panel(facts, settings, until=None, ahead=config.fit.horizon)
    judged = np.flatnonzero((panel.units[:, :40] > 0).sum(axis=1) >= 10)
    methods = [
        ADIDA(),
        TSB(alpha_d=0.2, alpha_p=0.2),
        SimpleExponentialSmoothing(alpha=0.1),
        WindowAverage(window_size=8),
        SeasonalNaive(season_length=4),
        CrostonSBA(),
    ]
    sold, said = [], []
    for origin in (40, 44, 48):
        past = panel.units[judged, :origin].astype(np.float64)
        frame = pd.DataFrame(
            {
                "unique_id": np.repeat(np.arange(len(judged)), origin),
                "ds": np.tile(np.arange(origin), len(judged)),
                "y": past.ravel(),
            }
        )
        said.append(
            StatsForecast(models=methods, freq=1, n_jobs=1).forecast(df=frame, h=config.horizon)
        )
        sold.append(
            panel.units[judged, origin : origin + config.horizon].astype(np.float64).ravel()
        )
    return _errors(np.concatenate(sold), pd.concat(said))


def statsforecast_by_day(facts: Facts, settings: Settings, config: DemandConfig) -> list[str]:
    """Daily WMAPE and bias of the library's own methods on the same dense series and origins."""
    panel, _ = build_panel(facts, settings, until=None, ahead=config.fit.horizon)
    days = build_days(panel, facts, settings)
    judged = np.flatnonzero((panel.units[:, :40] > 0).sum(axis=1) >= 10)
    methods = [
        SeasonalNaive(season_length=7),
        SeasonalWindowAverage(season_length=7, window_size=8),
        SeasonalExponentialSmoothing(season_length=7, alpha=0.1),
        WindowAverage(window_size=56),
        DynamicOptimizedTheta(season_length=7),
    ]
    sold, said = [], []
    for origin in (40, 44, 48):
        series = np.intersect1d(days.known_until(origin).dense(config.daily), judged)
        past = days.of(series, 0, origin).reshape(len(series), -1)
        frame = pd.DataFrame(
            {
                "unique_id": np.repeat(np.arange(len(series)), past.shape[1]),
                "ds": np.tile(np.arange(past.shape[1]), len(series)),
                "y": past.ravel(),
            }
        )
        said.append(
            StatsForecast(models=methods, freq=1, n_jobs=1).forecast(df=frame, h=7 * config.horizon)
        )
        sold.append(days.of(series, origin, origin + config.horizon).ravel())
    return _errors(np.concatenate(sold), pd.concat(said))


def _errors(actual: np.ndarray, rows: pd.DataFrame) -> list[str]:
    names = [name for name in rows.columns if name not in ("unique_id", "ds")]
    return [
        f"{name}: WMAPE {wmape(actual, rows[name].to_numpy()):.4f}, bias {bias(actual, rows[name].to_numpy()):+.1%}"
        for name in names
    ]


def run(facts: Facts, settings: Settings, progress: Callable[[str], None]) -> list[Target]:
    """Prints the tables as they come and returns what was met and missed."""
    config: DemandConfig = load_config(DemandTask(), settings)
    print("\n# The origins that choices were made on (28, 32, 36)\n", flush=True)
    print_evaluation(demand.evaluate(facts, settings, config, until=CHOSEN_ON, progress=progress))
    print("\n# The origins that are reported (40, 44, 48)\n", flush=True)
    evaluation = demand.evaluate(facts, settings, config, until=None, progress=progress)
    print_evaluation(evaluation, in_full=True)
    print("\n# statsforecast itself, same series and origins\n", flush=True)
    for line in statsforecast_itself(facts, settings, config):
        print(line, flush=True)
    print("\n# statsforecast itself by day, same dense series and origins\n", flush=True)
    for line in statsforecast_by_day(facts, settings, config):
        print(line, flush=True)
    print(f"(in every evaluation, equal to them by a test: {', '.join(UNBIASED)})")
    prices = [simulated_demand.target(form) for form in ("loglinear", "choice")]
    return [*targets(evaluation), *prices, seconds(facts, settings, config)]


def main() -> None:
    """Exits 1 when a target is missed."""
    warnings.simplefilter("ignore")
    with opened_data(None, FORMAT, print) as data:
        found = run(data.facts, data.settings, print)
    print()
    for target in found:
        print(target)
    sys.exit(0 if all(target.met for target in found) else 1)


if __name__ == "__main__":
    main()
