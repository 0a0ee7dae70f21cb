"""One simulated shop from its tables to suggested prices, judged by what is true of it.

The way of the data is a shop's own: tables are written and imported, the demand and the pricing
task train on them, and the optimiser suggests under the shipped rules. Nothing is told to it that a
shop would not know.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from configs.loading import load
from configs.settings import Settings
from experiments.simulator.oracle import find_best_prices
from experiments.simulator.parameters import Form, ShopParameters
from experiments.simulator.shop import SimulatedShop, simulate_shop
from experiments.simulator.tables import end_of_history, write_shop
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
_YEAR = 52


@dataclass(frozen=True)
class Judged:
    """What one shop shows.

    least_squares, ours   mean error of the own elasticities: plain least squares, and the served
                          ones
    wmape            of units at ±10 %, one price at a time: what would have been sold in the last
                     year, from what was
    wmape_response   of the weeks to come, from the true units at the present price: the error of
                     the response alone
    wmape_forecast   of the weeks to come, from the forecast: errors of forecast and response
                     together
    captured      share of the oracle's gain in true profit; gained: true profit against keeping
                  prices, a share of it
    prices        suggested prices, minor units, by item
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


def judge(form: Form, seed: int, *, confounded: bool = True) -> Judged:
    """Draws the shop of `seed`, lets Shopwright price it, and compares with the truth."""
    shop = simulate_shop(
        ShopParameters(form=form, confounded=confounded), generator(seed, "simulated shop")
    )
    panel, units, model = _learnt(shop, seed)
    items = pricing_items(shop, units, model)
    rules = load("pricing/default", PricingRules)
    suggested = optimise_prices(items, rules)
    now = dict(zip(shop.item_ids, shop.current_minor.tolist(), strict=True))
    prices = now | {each.item_id: each.suggested_price_minor for each in suggested.suggestions}
    ladders = {each.item.item_id: each.prices for each in find_choices(items, rules, {})}
    best = find_best_prices(shop, [ladders[item_id] for item_id in shop.item_ids])
    sets = np.stack(
        [shop.current_minor, np.array([prices[each] for each in shop.item_ids]), best], axis=1
    )
    kept, ours, oracle = shop.predict_profit(sets).tolist()
    truth = np.diag(shop.compute_elasticities())
    slopes = np.array([item.elasticity for item in items])
    return Judged(
        form,
        seed,
        float((_plain(panel, shop) - truth).mean()),
        float((slopes - truth).mean()),
        _wmape(shop.units[:, -_YEAR:].sum(1), slopes, _last_year(shop)),
        _wmape(shop.predict_units(shop.current_minor[:, None])[:, 0], slopes, _to_come(shop)),
        _wmape(units[:, 0], slopes, _to_come(shop)),
        (ours - kept) / (oracle - kept),
        ours / kept - 1,
        oracle / kept - 1,
        len(suggested.suggestions),
        prices,
    )


def _learnt(shop: SimulatedShop, seed: int) -> tuple[PricePanel, np.ndarray, ElasticityModel]:
    """The price panel, the forecast of units over the horizon (N, 4): mean, p10, p50, p90, and the
    price response."""
    with tempfile.TemporaryDirectory(prefix="shopwright-") as folder:
        settings = Settings(
            home=Path(folder) / "home", database_url=None, clock_start=end_of_history(shop)
        )
        write_shop(
            Path(folder) / "tables", shop, generator(seed, "simulated shoppers"), clicks=False
        )
        facts = Facts(settings)
        import_folder(
            Path(folder) / "tables", facts, settings, now=end_of_history(shop), progress=_silent
        )
        panel, _ = read_price_panel(facts, settings, end_of_history(shop))
        demand = load("models/demand", DemandConfig, overrides={"n_origins": 1})
        trained = train_demand(facts, settings, demand, until=None, progress=_silent)
        response = load("models/pricing", PricingConfig).elasticity
        return panel, _horizon(trained.served.forecasts, shop), fit_elasticities(panel, response)


def _horizon(forecasts: object, shop: SimulatedShop) -> np.ndarray:
    """(N, 4) mean, p10, p50 and p90, summed over the first weeks to come."""
    weeks = sorted(set(forecasts["ds"].to_pylist()))[: shop.parameters.horizon_weeks]
    rows = forecasts.filter(pc.is_in(forecasts["ds"], pc.cast(weeks, forecasts["ds"].type)))
    sums = rows.group_by("unique_id").aggregate(
        [(name, "sum") for name in ("mean", "p10", "p50", "p90")]
    )
    columns = zip(
        *(sums[f"{name}_sum"].to_pylist() for name in ("mean", "p10", "p50", "p90")), strict=True
    )
    known = dict(zip(sums["unique_id"].to_pylist(), columns, strict=True))
    return np.array([known[item_id] for item_id in shop.item_ids])


def pricing_items(
    shop: SimulatedShop, units: np.ndarray, model: ElasticityModel
) -> list[PricingItem]:
    """What pricing knows of each item: forecast `units` (N, 4) of mean, p10, p50 and p90, and its
    price response."""
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


def _plain(panel: PricePanel, shop: SimulatedShop) -> np.ndarray:
    """(N,) slope of log units on log price by least squares, item by item."""
    slopes = dict(zip(panel.item_ids, fit_baseline_slopes(panel)[OWN], strict=True))
    return np.array([slopes[item_id] for item_id in shop.item_ids])


def _wmape(base: np.ndarray, slopes: np.ndarray, truth: list[np.ndarray]) -> float:
    """Sum of |foretold - true units| / sum of true units over items and ratios."""
    told = [base * ratio**slopes for ratio in _RATIOS]
    wrong = sum(float(np.abs(mine - true).sum()) for mine, true in zip(told, truth, strict=True))
    return wrong / sum(float(true.sum()) for true in truth)


def _to_come(shop: SimulatedShop) -> list[np.ndarray]:
    """By ratio, (N,) true units of the weeks to come of each item when its price alone is
    multiplied by the ratio."""
    found = []
    for ratio in _RATIOS:
        sets = np.repeat(shop.current_minor[:, None].astype(np.float64), len(shop.item_ids), axis=1)
        np.fill_diagonal(sets, sets.diagonal() * ratio)
        found.append(np.diag(shop.predict_units(sets)))
    return found


def _last_year(shop: SimulatedShop) -> list[np.ndarray]:
    """The same of the last year's weeks, with the promotions, the neighbours' prices and the demand
    that there were."""
    weeks = slice(shop.parameters.n_weeks - _YEAR, None)
    prices, push = (
        np.log(shop.plan.offer[:, weeks]),
        shop.plan.compute_push(shop.parameters)[:, weeks],
    )
    found = []
    for ratio in _RATIOS:
        units = np.zeros(len(prices))
        for item in range(len(prices)):
            moved = prices.copy()
            moved[item] += np.log(ratio)
            units[item] = (
                shop.demand.units(moved, push)[item] * shop.demand_factors.past[item, weeks]
            ).sum()
        found.append(units)
    return found


def _silent(_: str) -> None:
    """Says nothing."""
