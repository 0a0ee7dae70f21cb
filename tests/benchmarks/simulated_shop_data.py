"""A simulated shop as training knows it: its tables imported, its demand forecast.

With a folder to keep them in, imported tables and forecasts are made once.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.loading import load
from configs.settings import Settings
from experiments.price_panel import read_price_panel
from experiments.simulator.parameters import ShopParameters
from experiments.simulator.shop import SimulatedShop, simulate_shop
from experiments.simulator.tables import end_of_history, write_shop
from features.contracts.arrays import Float64Array
from features.contracts.seeds import generator
from features.facts.facts import Facts
from features.sources.folder import import_folder
from models.pricing.response.panel import PricePanel
from training.demand.backtest import Backtest
from training.demand.config import DemandConfig
from training.demand.data import load_demand_data

# What a shop knows of costs that has no table of them.
CostsWithoutTable = Literal["today", "none"]


@dataclass(frozen=True)
class PreparedShop:
    """What a shop knows when it sets prices, and its truth.

    panel   prices, units and promotions of past weeks, with costs
    units   (N, 4) forecast over the weeks to come at current prices: mean, p10, p50, p90
    """

    seed: int
    shop: SimulatedShop
    panel: PricePanel
    units: Float64Array


def prepare_shop(parameters: ShopParameters, seed: int, kept: Path | None = None) -> PreparedShop:
    """Draw the shop of `seed`, import its tables and forecast its demand.

    In the folder `kept` the imported tables and the forecasts stay, and are used again.
    """
    shop = simulate_shop(parameters, generator(seed, "simulated shop"))
    with tempfile.TemporaryDirectory(prefix="shopwright-") as temporary:
        folder = Path(temporary) if kept is None else kept / _name_folder(parameters, seed)
        forecast = folder / "units.npy"
        if forecast.exists():
            settings = _settings_of(folder, shop)
            facts, units = Facts(settings), np.load(forecast)
        else:
            shutil.rmtree(folder, ignore_errors=True)  # of a run that was interrupted
            facts, settings = import_shop(folder, shop, seed)
            units = _forecast_units(facts, settings, shop)
            np.save(forecast, units)
        panel, _ = read_price_panel(facts, settings, end_of_history(shop))
    return PreparedShop(seed, shop, panel, units)


def import_shop(
    folder: Path, shop: SimulatedShop, seed: int, *, costs: bool = True
) -> tuple[Facts, Settings]:
    """Write a shop's tables into `folder`, without clicks, and import them there."""
    settings = _settings_of(folder, shop)
    rng = generator(seed, "simulated shoppers")
    write_shop(folder / "tables", shop, rng, clicks=False, costs=costs)
    facts = Facts(settings)
    now = end_of_history(shop)
    import_folder(folder / "tables", facts, settings, now=now, progress=ignore_progress)
    return facts, settings


def forget_costs(panel: PricePanel, shop: SimulatedShop, costs: CostsWithoutTable) -> PricePanel:
    """Return the panel that is read without a table of costs.

    With today's costs the margins are those of today; else they are unknown.
    """
    if costs == "none":
        return replace(panel, log_cost=None, margin=None)
    margin = 1 - shop.unit_cost_minor / shop.current_minor
    margin_of = dict(zip(shop.item_ids, margin.tolist(), strict=True))
    margins = np.array([margin_of[item_id] for item_id in panel.item_ids])
    return replace(panel, log_cost=None, margin=margins)


def ignore_progress(_: str) -> None:
    """Report nothing."""


def _name_folder(parameters: ShopParameters, seed: int) -> str:
    digest = hashlib.sha256(repr(parameters).encode()).hexdigest()[:12]
    return f"{parameters.form}-{digest}-{seed}"


def _settings_of(folder: Path, shop: SimulatedShop) -> Settings:
    return Settings(home=folder / "home", database_url=None, clock_start=end_of_history(shop))


def _forecast_units(facts: Facts, settings: Settings, shop: SimulatedShop) -> Float64Array:
    """Return forecast units (N, 4) over the weeks to come, by the model that training would serve.

    It is fitted on all weeks, without the evaluation that comes before in a training.
    """
    config = load("models/demand", DemandConfig)
    data = load_demand_data(facts, settings, until=None, ahead=config.fit.horizon)
    backtest = Backtest(data, config, settings.seed, ignore_progress)
    model = backtest.model_with_forecasts_at(data.panel.n_known)
    return _sum_over_horizon(model.forecasts, shop)


def _sum_over_horizon(forecasts: pa.Table, shop: SimulatedShop) -> Float64Array:
    """Return mean, p10, p50 and p90 (N, 4), summed over the first weeks to come."""
    names = ("mean", "p10", "p50", "p90")
    weeks = sorted(set(forecasts["ds"].to_pylist()))[: shop.parameters.horizon_weeks]
    rows = forecasts.filter(pc.is_in(forecasts["ds"], pc.cast(weeks, forecasts["ds"].type)))
    sums = rows.group_by("unique_id").aggregate([(name, "sum") for name in names])
    columns = zip(*(sums[f"{name}_sum"].to_pylist() for name in names), strict=True)
    row_of: Mapping[str, tuple[float, ...]] = dict(
        zip(sums["unique_id"].to_pylist(), columns, strict=True)
    )
    return np.array([row_of.get(item_id, (0.0,) * len(names)) for item_id in shop.item_ids])
