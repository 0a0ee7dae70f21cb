"""The forecast of a small simulated shop, with a price list."""

from __future__ import annotations

from pathlib import Path

from configs.loading import load
from experiments.simulator.parameters import ShopParameters
from tests.benchmarks.simulated_demand import RATIOS, count_price_steps, train_on_simulated_shop
from training.demand.config import DemandConfig


def test_where_a_price_list_exists_no_forecast_rises_with_the_planned_price(tmp_path: Path) -> None:
    small = ShopParameters("choice", n_departments=1, n_families=2, family_size=3, n_weeks=40)
    config = load(
        "models/demand", DemandConfig, overrides={"fit.trees.n_trees": 40, "n_origins": 1}
    )
    model, panel = train_on_simulated_shop(tmp_path, small, config, seed=3)
    steps = count_price_steps(model, panel)
    assert steps.n == small.n_items * 13 * (len(RATIOS) - 1)
    assert steps.rises == 0
    # True slopes of about -2.4 would make these 2.4 and .53.
    assert steps.lowest > 1.2 > 0.9 > steps.highest
