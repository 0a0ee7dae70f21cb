"""Forecasts of young shops that grow, shrink or had a strong month, beside the true means.

    python -m tests.benchmarks.young_shops [--first SEED] [--count N] [--weeks N] [--items N]

Prints the bias and the WMAPE of the blend, and of the mean of the last 8 weeks, 1 to 4, 5 to 8
and 9 to 13 weeks ahead: a line for each way in which shops move, the mean of the seeds.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from configs.loading import load
from configs.settings import Settings
from features.contracts.arrays import Float64Array
from features.facts.facts import Facts
from features.sources.folder import import_folder
from models.demand.baselines import mean_of_8
from tests.shops.demand_shops import END
from tests.shops.growing_shops import (
    N_AHEAD,
    GrowingShop,
    draw_growing_shop,
    strong_month,
    trend_line,
)
from training.demand.backtest import Backtest
from training.demand.config import DemandConfig
from training.demand.data import load_demand_data
from training.demand.metrics import bias, wmape
from training.demand.origins import shorten_protocol

SPANS = ((0, 4), (4, 8), (8, N_AHEAD))


@dataclass(frozen=True)
class YoungShopResult:
    """True means and forecasts of the items with a sale, I × 13 each."""

    true_means: Float64Array
    ours: Float64Array
    mean_of_8: Float64Array

    def biases(self, forecast: Float64Array) -> list[float]:
        """Return the bias of a forecast in each of SPANS."""
        return [bias(self.true_means[:, a:b], forecast[:, a:b]) for a, b in SPANS]

    def errors(self, forecast: Float64Array) -> list[float]:
        """Return the WMAPE of a forecast in each of SPANS."""
        return [wmape(self.true_means[:, a:b], forecast[:, a:b]) for a, b in SPANS]


def list_lines(n_weeks: int) -> Mapping[str, Float64Array]:
    """Return the logarithm of the level by week of each way in which shops move, by its name."""
    return {
        "stable": trend_line(n_weeks, 0.0),
        "grows 4 % a week": trend_line(n_weeks, 0.04),
        "grows 2 % a week": trend_line(n_weeks, 0.02),
        "shrinks 3 % a week": trend_line(n_weeks, -0.03),
        "grew, stopped 4 weeks ago": trend_line(n_weeks, 0.04, stops_before=4),
        "strong month, over": strong_month(n_weeks, 0.4, weeks_since=4),
        "strong month, just ended": strong_month(n_weeks, 0.4, weeks_since=0),
    }


def evaluate_young_shop(drawn: GrowingShop, config: DemandConfig) -> YoungShopResult:
    """Import the shop, train it, and forecast the weeks after its history."""
    with tempfile.TemporaryDirectory(prefix="shopwright-") as name:
        folder = Path(name)
        drawn.shop.write(folder / "tables")
        settings = Settings(home=folder / "home", database_url=None, clock_start=END)
        facts = Facts(settings)
        import_folder(folder / "tables", facts, settings, now=END, progress=lambda _: None)
        data = load_demand_data(facts, settings, until=None, ahead=config.fit.horizon)
    panel = data.panel
    protocol = shorten_protocol(config, panel.n_known)
    backtest = Backtest(data, protocol, settings.seed, lambda _: None)
    items = [int(str(item_id)[1:]) for item_id in panel.item_ids]
    level = mean_of_8(panel.units.astype(np.float64))
    return YoungShopResult(
        true_means=drawn.means_ahead[items],
        ours=backtest.forecast_means(panel.n_known, N_AHEAD),
        mean_of_8=np.repeat(level[:, None], N_AHEAD, axis=1),
    )


def _write_metrics(biases: Float64Array, errors: Float64Array) -> str:
    by_span = " / ".join(f"{value:+.0%}" for value in biases.mean(axis=0))
    return f"bias {by_span:<21} WMAPE {' / '.join(f'{value:.3f}' for value in errors.mean(axis=0))}"


def main() -> None:
    """Print a line for each way in which shops move."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0, help="seed of the first shop")
    parser.add_argument("--count", type=int, default=6)
    parser.add_argument("--weeks", type=int, default=14)
    parser.add_argument("--items", type=int, default=100)
    arguments = parser.parse_args()
    config = load("models/demand", DemandConfig)
    seeds = range(arguments.first, arguments.first + arguments.count)
    for name, line in list_lines(arguments.weeks).items():
        shops = [draw_growing_shop(line, seed, arguments.items) for seed in seeds]
        results = [evaluate_young_shop(shop, config) for shop in shops]
        for method, key in (("the blend", "ours"), ("mean of 8 weeks", "mean_of_8")):
            biases = np.array([result.biases(getattr(result, key)) for result in results])
            errors = np.array([result.errors(getattr(result, key)) for result in results])
            print(f"{name:<26}{method:<17}{_write_metrics(biases, errors)}", flush=True)


if __name__ == "__main__":
    main()
