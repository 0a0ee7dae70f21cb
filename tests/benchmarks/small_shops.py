"""Forecasts of small shops of many kinds beside every single method.

    python -m tests.benchmarks.small_shops [--first SEED] [--count N]

Twenty drawn shops: each is written as tables, imported and trained as any shop. The served mean is
compared on the last weeks (three origins where the history reaches) with the single method that
backtests before the first of these origins choose, and with the one that is best in hindsight. One
line a shop, the targets at the end; exits 1 when one is missed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from configs.loading import load
from configs.settings import Settings
from features.contracts.arrays import Float64Array, Int64Array
from features.facts.facts import Facts
from features.sources.folder import import_folder
from models.demand.baselines import UNBIASED, seasonal_naive
from models.demand.panel import DemandPanel
from models.demand.simple_methods import SIMPLE, predict_simple
from models.demand.uncertainty.counts import P10, P90
from tests.benchmarks.targets import Target, exit_with
from tests.shops.demand_shops import END, KINDS, draw_shop
from training.demand.backtest import Backtest
from training.demand.config import DemandConfig
from training.demand.data import load_demand_data
from training.demand.folds import SEASONAL, Fold, choose_series, evaluate_origin
from training.demand.metrics import bias, interval_coverage, wmape, wrmsse
from training.demand.origins import evaluation_origins, shorten_protocol

N_SHOPS, ENOUGH = 20, 18
NEAR_CHOSEN, NEAR_BEST = 0.02, 0.05
MOST_SECONDS = 60.0
# Single methods beside the baselines of every evaluation: those that are simple themselves.
_MORE = ("mean of 26 weeks", "mean of 52 weeks", "Theta", "damped trend", "seasonal profile")
_CHOICE_ORIGINS = 8
_FIRST_CHOICE = 3  # weeks that an origin of the choice must know


@dataclass(frozen=True)
class ShopResult:
    """What one shop's forecasts are compared with; WMAPE of every method on the test weeks."""

    seed: int
    kind: str
    n_series: int
    n_weeks: int
    ours: float
    bias: float
    rmsse: float
    coverage: float
    methods: Mapping[str, float]
    chosen: str
    seconds: float

    @property
    def best(self) -> str:
        """The single method of smallest WMAPE in hindsight."""
        return min(self.methods, key=lambda name: self.methods[name])

    @property
    def behind_chosen(self) -> float:
        """WMAPE of ours over that of the method that backtests choose, minus 1."""
        return self.ours / self.methods[self.chosen] - 1

    @property
    def behind_best(self) -> float:
        """WMAPE of ours over that of the best method in hindsight, minus 1."""
        return self.ours / self.methods[self.best] - 1

    def __str__(self) -> str:
        return (
            f"{self.seed:>4} {self.kind:<24}{self.n_series:>4} items{self.n_weeks:>4} weeks  "
            f"WMAPE {self.ours:.4f} bias {self.bias:+6.1%} RMSSE {self.rmsse:.3f} "
            f"p10-p90 {self.coverage:.2f}  "
            f"chosen {self.chosen} {self.methods[self.chosen]:.4f} ({self.behind_chosen:+.1%})  "
            f"best {self.best} {self.methods[self.best]:.4f} ({self.behind_best:+.1%})  "
            f"{self.seconds:.0f} s"
        )


def evaluate_shop(seed: int, config: DemandConfig) -> ShopResult:
    """Draw, import and evaluate the shop of a seed; kinds take turns."""
    kind = KINDS[seed % len(KINDS)]
    with tempfile.TemporaryDirectory(prefix="shopwright-") as name:
        folder = Path(name)
        draw_shop(kind, seed).write(folder / "tables")
        settings = Settings(home=folder / "home", database_url=None, clock_start=END)
        facts = Facts(settings)
        import_folder(folder / "tables", facts, settings, now=END, progress=lambda _: None)
        data = load_demand_data(facts, settings, until=None, ahead=config.fit.horizon)
        started = time.process_time()
        panel = data.panel
        protocol = shorten_protocol(config, panel.n_known)
        origins = evaluation_origins(panel.n_known, protocol)
        series = choose_series(panel, origins[0], protocol)
        backtest = Backtest(data, protocol, settings.seed, lambda _: None)
        folds = [evaluate_origin(backtest, origin, series) for origin in origins]
        backtest.model_with_forecasts_at(panel.n_known)
        seconds = time.process_time() - started
    actual, ours = (
        np.concatenate([getattr(fold, field) for fold in folds]) for field in ("actual", "means")
    )
    quantiles = np.concatenate([fold.quantiles for fold in folds])
    return ShopResult(
        seed=seed,
        kind=kind,
        n_series=len(series.rows),
        n_weeks=panel.n_known,
        ours=wmape(actual, ours),
        bias=bias(actual, ours),
        rmsse=float(np.mean([_wrmsse(fold) for fold in folds])),
        coverage=interval_coverage(actual, quantiles[..., P10], quantiles[..., P90]),
        methods=_score_methods(panel, origins, series.rows, protocol.horizon),
        chosen=_choose_method(panel, origins[0], series.rows, protocol.horizon),
        seconds=seconds,
    )


def _wrmsse(fold: Fold) -> float:
    return wrmsse(fold.actual, fold.means, fold.past, fold.weight)


def _predict_single(panel: DemandPanel, rows: Int64Array, horizon: int) -> dict[str, Float64Array]:
    """Return S × horizon forecasts of every single method, of the S series in `rows`."""
    units = panel.units[rows].astype(np.float64)
    forecasts = {
        name: np.repeat(level(units)[:, None], horizon, axis=1) for name, level in UNBIASED.items()
    }
    forecasts[SEASONAL] = seasonal_naive(units, horizon)
    simple = predict_simple(panel, range(1, horizon + 1))[rows]
    return forecasts | {name: simple[:, :, SIMPLE.index(name)] for name in _MORE}


def _score_methods(
    panel: DemandPanel, origins: list[int], rows: Int64Array, horizon: int
) -> dict[str, float]:
    """Return the WMAPE of every single method on the weeks after the origins."""
    forecasts = [_predict_single(panel.truncate(origin), rows, horizon) for origin in origins]
    sold = np.concatenate([panel.units[rows, origin : origin + horizon] for origin in origins])
    return {
        name: wmape(sold, np.concatenate([forecast[name] for forecast in forecasts]))
        for name in forecasts[0]
    }


def _choose_method(panel: DemandPanel, first: int, rows: Int64Array, horizon: int) -> str:
    """Return the single method of smallest WMAPE at origins whose weeks end before `first`.

    The mean of 8 weeks where the history has no such origin.
    """
    last = first - horizon
    origins = list(range(last, _FIRST_CHOICE - 1, -horizon))[:_CHOICE_ORIGINS]
    if not origins:
        return "mean of 8 weeks"
    errors = _score_methods(panel, origins, rows, horizon)
    return min(errors, key=lambda name: errors[name])


def targets(results: list[ShopResult]) -> list[Target]:
    """Return the targets of accuracy, bias and time over all shops."""
    needed = len(results) * ENOUGH // N_SHOPS
    near_chosen = sum(result.behind_chosen <= NEAR_CHOSEN for result in results)
    near_best = sum(result.behind_best <= NEAR_BEST for result in results)
    both = sum(
        result.behind_chosen <= NEAR_CHOSEN and result.behind_best <= NEAR_BEST
        for result in results
    )
    gains = [
        float(np.mean([getattr(result, name) for result in results]))
        for name in ("behind_chosen", "behind_best")
    ]
    biases = np.array([result.bias for result in results])
    coverage = float(np.mean([result.coverage for result in results]))
    slowest = max(result.seconds for result in results)
    return [
        Target(
            f"WMAPE within {NEAR_CHOSEN:.0%} of the single method that backtests choose, and "
            f"within {NEAR_BEST:.0%} of the best in hindsight, in {needed} of {len(results)} shops",
            f"{both} ({near_chosen} and {near_best}); {gains[0]:+.1%} and {gains[1]:+.1%} on mean",
            both >= needed,
        ),
        Target(
            "mean bias of the shops within 3 %",
            f"{biases.mean():+.1%}, median of |bias| {np.median(np.abs(biases)):.1%}",
            abs(float(biases.mean())) <= 0.03,
        ),
        Target(
            "p10-p90 covers .80 on the mean of the shops",
            f"{coverage:.2f}, smallest {min(result.coverage for result in results):.2f}",
            coverage >= 0.80,
        ),
        Target(
            f"a shop is evaluated and trained within {MOST_SECONDS:.0f} s of CPU",
            f"the slowest {slowest:.0f} s",
            slowest <= MOST_SECONDS,
        ),
    ]


def run(first: int = 0, count: int = N_SHOPS) -> list[Target]:
    """Print one line a shop, and return the targets."""
    config = load("models/demand", DemandConfig)
    results = []
    for seed in range(first, first + count):
        results.append(evaluate_shop(seed, config))
        print(results[-1], flush=True)
    return targets(results)


def main() -> None:
    """Run all; exit 1 when a target is missed."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0, help="seed of the first shop")
    parser.add_argument("--count", type=int, default=N_SHOPS)
    arguments = parser.parse_args()
    reached = run(arguments.first, arguments.count)
    exit_with(reached)


if __name__ == "__main__":
    main()
