"""One simulated shop from its tables to suggested prices, compared with its true demand.

The data take the path of any shop's: tables are written and imported, the demand and the pricing
task train on them, and the optimiser suggests under the shipped rules. Nothing that a shop would
not know is used.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.loading import load
from configs.settings import Settings
from experiments.simulator.oracle import compare_profits, find_best_prices
from experiments.simulator.parameters import Form, ShopParameters
from experiments.simulator.shop import SimulatedShop, simulate_shop
from experiments.simulator.tables import end_of_history, write_shop
from features.contracts.arrays import Float64Array, Int64Array
from features.contracts.pricing import EvidenceGrade, PricingItem
from features.contracts.seeds import generator
from features.facts.facts import Facts
from features.sources.folder import import_folder
from models.pricing.optimise.item_choices import find_choices
from models.pricing.optimise.optimiser import optimise_prices
from models.pricing.response.cross_effects import add_cross_effects
from models.pricing.response.elasticity import ElasticityModel
from models.pricing.response.fit import fit_elasticities
from models.pricing.response.panel import PricePanel
from models.pricing.rules import PricingRules
from training.demand.config import DemandConfig
from training.demand.task import train as train_demand
from training.pricing.baselines import OWN, fit_baseline_slopes
from training.pricing.panel import read_price_panel
from training.pricing.task import PricingConfig

ZONE = "default"
_RATIOS = (0.9, 1.1)
_YEAR_WEEKS = 52


@dataclass(frozen=True)
class ShopResult:
    """The result of one shop.

    least_squares, ours   mean error of the own elasticities: plain least squares, and the served
                          ones
    wmape            of units at ±10 %, one price at a time: of the last year's sales at other
                     prices, predicted from the actual sales
    wmape_response   of the weeks to come, from the true units at the current price: the error of
                     the response alone
    wmape_forecast   of the weeks to come, from the forecast: errors of forecast and response
                     together
    captured         share of the oracle's gain in true profit
    gained, oracle   gain in true profit against keeping prices, a share of it: ours, the oracle's
    prices           suggested prices, minor units, by item
    """

    form: str
    seed: int
    least_squares: float
    ours: float
    wmape: float
    wmape_response: float
    wmape_forecast: float
    captured: float
    gained: float
    oracle: float
    n_changes: int
    prices: dict[str, int]


def evaluate_shop(form: Form, seed: int, *, confounded: bool = True) -> ShopResult:
    """Draw the shop of `seed`, let Shopwright price it, and compare with its true demand."""
    parameters = ShopParameters(form=form, confounded=confounded)
    shop = simulate_shop(parameters, generator(seed, "simulated shop"))
    trained = _train(shop, seed)
    items = build_pricing_items(shop, trained.units, trained.model)
    rules = load("pricing/default", PricingRules)
    optimised = optimise_prices(items, rules)
    prices = dict(zip(shop.item_ids, shop.current_minor.tolist(), strict=True))
    prices |= {
        suggestion.item_id: suggestion.suggested_price_minor for suggestion in optimised.suggestions
    }
    suggested_minor = np.array([prices[item_id] for item_id in shop.item_ids])
    profits = compare_profits(shop, suggested_minor, find_best_allowed_prices(shop, items, rules))
    truth = np.diag(shop.compute_elasticities())
    slopes = np.array([item.elasticity for item in items])
    least_squares = _fit_least_squares(trained.panel, shop)
    true_units = shop.predict_units(shop.current_minor[:, None])[:, 0]
    last_year_units = shop.units[:, -_YEAR_WEEKS:].sum(1)
    return ShopResult(
        form=form,
        seed=seed,
        least_squares=float((least_squares - truth).mean()),
        ours=float((slopes - truth).mean()),
        wmape=_compute_wmape(last_year_units, slopes, _true_units_of_last_year(shop)),
        wmape_response=_compute_wmape(true_units, slopes, _true_units_to_come(shop)),
        wmape_forecast=_compute_wmape(trained.units[:, 0], slopes, _true_units_to_come(shop)),
        captured=profits.captured,
        gained=profits.suggested / profits.keeping - 1,
        oracle=profits.best / profits.keeping - 1,
        n_changes=len(optimised.suggestions),
        prices=prices,
    )


def find_best_allowed_prices(
    shop: SimulatedShop, items: Sequence[PricingItem], rules: PricingRules
) -> Int64Array:
    """Return the prices (N,) of highest true profit among those that the rules allow."""
    prices_of = {choices.item.item_id: choices.prices for choices in find_choices(items, rules, {})}
    return find_best_prices(shop, [prices_of[item_id] for item_id in shop.item_ids])


def import_shop(folder: Path, shop: SimulatedShop, seed: int) -> tuple[Facts, Settings]:
    """Write a shop's tables into `folder`, without clicks, and import them there."""
    now = end_of_history(shop)
    settings = Settings(home=folder / "home", database_url=None, clock_start=now)
    write_shop(folder / "tables", shop, generator(seed, "simulated shoppers"), clicks=False)
    facts = Facts(settings)
    import_folder(folder / "tables", facts, settings, now=now, progress=ignore_progress)
    return facts, settings


@dataclass(frozen=True)
class _Trained:
    """The price panel, the price response, and forecast units over the horizon.

    units   (N, 4): mean, p10, p50, p90
    """

    panel: PricePanel
    units: Float64Array
    model: ElasticityModel


def _train(shop: SimulatedShop, seed: int) -> _Trained:
    with tempfile.TemporaryDirectory(prefix="shopwright-") as folder:
        facts, settings = import_shop(Path(folder), shop, seed)
        panel, _ = read_price_panel(facts, settings, end_of_history(shop))
        demand = load("models/demand", DemandConfig, overrides={"n_origins": 1})
        trained = train_demand(facts, settings, demand, until=None, progress=ignore_progress)
        units = _sum_over_horizon(trained.served.forecasts, shop)
        config = load("models/pricing", PricingConfig).elasticity
        return _Trained(panel, units, fit_elasticities(panel, config))


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
    return np.array([row_of[item_id] for item_id in shop.item_ids])


def build_pricing_items(
    shop: SimulatedShop, units: Float64Array, model: ElasticityModel
) -> list[PricingItem]:
    """Return what pricing knows of each item.

    Forecast `units` (N, 4) are mean, p10, p50 and p90 over the horizon.
    """
    response = model.find_response(shop.item_ids, ZONE)
    items = [
        PricingItem(
            item_id=item_id,
            zone=ZONE,
            currency="USD",
            list_price_minor=int(shop.current_minor[n]),
            current_price_minor=int(shop.current_minor[n]),
            unit_cost_minor=float(shop.unit_cost_minor[n]),
            cost_source="known",
            tax_divisor=1.0,
            units_mean=float(units[n, 0]),
            units_p10=float(units[n, 1]),
            units_p50=float(units[n, 2]),
            units_p90=float(units[n, 3]),
            elasticity=float(response.elasticity[n]),
            elasticity_error=float(response.error[n]),
            evidence_grade=EvidenceGrade(response.grade[n]),
            lowest_tried_minor=round(response.lowest_minor[n]),
            highest_tried_minor=round(response.highest_minor[n]),
        )
        for n, item_id in enumerate(shop.item_ids)
    ]
    return add_cross_effects(items, model.find_cross_elasticities(shop.item_ids, ZONE))


def _fit_least_squares(panel: PricePanel, shop: SimulatedShop) -> Float64Array:
    """Return slopes of log units on log price by least squares, item by item (N,)."""
    slope_of = dict(zip(panel.item_ids, fit_baseline_slopes(panel)[OWN], strict=True))
    return np.array([slope_of[item_id] for item_id in shop.item_ids])


def _compute_wmape(
    base: Float64Array | Int64Array, slopes: Float64Array, truth: list[Float64Array]
) -> float:
    """Return the sum of |predicted - true units| / sum of true units over items and ratios.

    `base` (N,): units at the current price; `truth`: true units (N,) at each ratio.
    """
    predicted = [base * ratio**slopes for ratio in _RATIOS]
    errors = sum(
        float(np.abs(units - true_units).sum())
        for units, true_units in zip(predicted, truth, strict=True)
    )
    return errors / sum(float(true_units.sum()) for true_units in truth)


def _true_units_to_come(shop: SimulatedShop) -> list[Float64Array]:
    """Return by ratio the true units (N,) of the weeks to come, each price alone changed."""
    units_by_ratio = []
    for ratio in _RATIOS:
        price_sets = np.repeat(
            shop.current_minor[:, None].astype(np.float64), len(shop.item_ids), axis=1
        )
        np.fill_diagonal(price_sets, price_sets.diagonal() * ratio)
        units_by_ratio.append(np.diag(shop.predict_units(price_sets)))
    return units_by_ratio


def _true_units_of_last_year(shop: SimulatedShop) -> list[Float64Array]:
    """Return the same of the last year, with its promotions, other prices and demand factors."""
    weeks = slice(shop.parameters.n_weeks - _YEAR_WEEKS, None)
    n_items = len(shop.item_ids)
    units_by_ratio = []
    for ratio in _RATIOS:
        units = np.zeros(n_items)
        for item in range(n_items):
            log_ratio = np.zeros(n_items)
            log_ratio[item] = np.log(ratio)
            units[item] = shop.compute_past_units(log_ratio)[item, weeks].sum()
        units_by_ratio.append(units)
    return units_by_ratio


def ignore_progress(_: str) -> None:
    """Report nothing."""
