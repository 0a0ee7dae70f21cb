"""How forecasts respond to a planned price, on a simulated shop, which has a price list.

Tables are written and imported as those of any shop, and the demand task trains on them. Then every
item's price is planned anew for the weeks to come, from 30 % below its present one to 30 % above,
and forecast.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from configs.loading import load
from configs.settings import Settings
from experiments.simulator.parameters import Form, ShopParameters
from experiments.simulator.shop import simulate_shop
from experiments.simulator.tables import end_of_history, write_shop
from features.contracts.arrays import Float64Array
from features.contracts.seeds import generator
from features.facts.facts import Facts
from features.sources.folder import import_folder
from models.demand.model import DemandModel
from models.demand.panel import DemandPanel
from tests.benchmarks.targets import Target
from training.demand.config import DemandConfig
from training.demand.panel import build_panel
from training.demand.task import train

RATIOS = (0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3)
_ROUNDING = 1e-9


@dataclass(frozen=True)
class PriceSteps:
    """Over all items, weeks ahead and steps to the next higher price.

    n                 steps
    rises             steps at which the served mean rises
    quantile_rises    steps at which p10, p50 or p90 rises
    lowest, highest   units at the lowest and at the highest price over those at the present one
    """

    n: int
    rises: int
    quantile_rises: int
    lowest: float
    highest: float


def count_price_steps(model: DemandModel, panel: DemandPanel) -> PriceSteps:
    """Plan each item's present offer price times each ratio, for all weeks to come."""
    forecasts = [_forecast_at(model, panel, ratio) for ratio in RATIOS]
    means = [mean for mean, _ in forecasts]
    mean_rises = np.diff(np.stack(means), axis=0) > _ROUNDING
    quantile_rises = np.diff(np.stack([quantiles for _, quantiles in forecasts]), axis=0)
    usual = means[RATIOS.index(1.0)].sum()
    return PriceSteps(
        n=mean_rises.size,
        rises=int(mean_rises.sum()),
        quantile_rises=int((quantile_rises > _ROUNDING).any(axis=-1).sum()),
        lowest=float(means[0].sum() / usual),
        highest=float(means[-1].sum() / usual),
    )


def _forecast_at(
    model: DemandModel, panel: DemandPanel, ratio: float
) -> tuple[Float64Array, Float64Array]:
    """Return means and quantiles at the present offer prices times the ratio."""
    if panel.offer_price is None:
        raise ValueError("no price list: forecasts know no planned price")
    offer = panel.offer_price.copy()
    offer[:, panel.n_known :] = ratio * offer[:, panel.n_known, None]
    planned = replace(panel, offer_price=offer)
    means = model.blend_means(planned, model.predict_methods(planned))
    return means, model.quantiles(planned, means)


def train_on_simulated_shop(
    folder: Path, parameters: ShopParameters, config: DemandConfig, seed: int
) -> tuple[DemandModel, DemandPanel]:
    """Return the demand model of a simulated shop, and the panel that it forecasts from."""
    shop = simulate_shop(parameters, generator(seed, "simulated shop"))
    settings = Settings(home=folder / "home", database_url=None, clock_start=end_of_history(shop))
    write_shop(folder / "tables", shop, generator(seed, "simulated shoppers"), clicks=False)
    facts = Facts(settings)
    import_folder(
        folder / "tables", facts, settings, now=end_of_history(shop), progress=lambda _: None
    )
    trained = train(facts, settings, config, until=None, progress=lambda _: None)
    panel = build_panel(facts, settings, until=None, ahead=config.fit.horizon).panel
    return trained.served, panel


def target(form: Form, seed: int = 1) -> Target:
    """Return one line for `make bench-demand`."""
    config = load("models/demand", DemandConfig, overrides={"n_origins": 1})
    with tempfile.TemporaryDirectory(prefix="shopwright-") as folder:
        parameters = ShopParameters(form=form)
        model, panel = train_on_simulated_shop(Path(folder), parameters, config, seed)
        steps = count_price_steps(model, panel)
    outcome = (
        f"the mean rises at {steps.rises} and a quantile at {steps.quantile_rises} "
        f"of {steps.n:,} steps; "
        f"units {steps.lowest:.2f} times as many at -30 %, {steps.highest:.2f} times at +30 %"
    )
    name = f"simulated shop, {form}: the forecast never rises with the planned price"
    return Target(name, outcome, steps.rises == 0 and steps.lowest > steps.highest)


if __name__ == "__main__":
    for form in ("loglinear", "choice"):
        print(target(form), flush=True)
