"""Upper bound on the share of a simulated shop's gain that any estimate of its slopes can capture.

    python -m tests.benchmarks.pricing_bound [--seeds 6] [--first-seed 101]

The optimiser is given every cross effect, the units at current prices, mean and spread of the
slopes of each category, and each item's slope as precisely as generalised least squares estimates
it with the shock of each week and the distribution of all other noise known. An estimate from these
sales can hardly capture more.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from configs.loading import load
from experiments.simulator.oracle import compare_profits
from experiments.simulator.parameters import Form, ShopParameters
from experiments.simulator.shop import SimulatedShop, simulate_shop
from experiments.simulator.tables import end_of_history
from features.contracts.arrays import Float64Array
from features.contracts.pricing import PricingItem
from features.contracts.seeds import generator
from models.pricing.optimise.optimiser import optimise_prices
from models.pricing.response.cross_effects import add_cross_effects
from models.pricing.response.elasticity import CrossElasticities
from models.pricing.response.fit import fit_elasticities
from models.pricing.rules import PricingRules
from tests.benchmarks.simulated_pricing import (
    build_pricing_items,
    find_best_allowed_prices,
    import_shop,
)
from training.pricing.panel import read_price_panel
from training.pricing.task import PricingConfig

_DRAWS = 3


def compute_slope_errors(shop: SimulatedShop) -> Float64Array:
    """Return the standard error of each slope (N,) by generalised least squares.

    The level of the item is not known.
    """
    parameters, log_price = shop.parameters, np.log(shop.plan.offer)
    week = np.arange(parameters.n_weeks)
    distance = np.abs(week[:, None] - week[None, :])
    drift = parameters.drift**2 * parameters.drift_memory**distance
    information = np.empty(len(log_price))
    for item, of_item in enumerate(log_price):
        noise = parameters.noise**2 + 1 / shop.expected[item]
        precision = np.linalg.inv(drift + np.diag(noise))
        level = precision.sum(0)
        information[item] = of_item @ precision @ of_item - (level @ of_item) ** 2 / level.sum()
    return np.asarray(1 / np.sqrt(information))


def bound(form: Form, seed: int) -> tuple[float, float]:
    """Return the mean standard error of the slopes, and the share of the oracle's gain.

    The share is a mean over draws of the estimates.
    """
    shop = simulate_shop(ShopParameters(form=form), generator(seed, "simulated shop"))
    items = _build_known_items(shop, seed)
    rules = load("pricing/default", PricingRules)
    best = find_best_allowed_prices(shop, items, rules)
    truth, error = np.diag(shop.compute_elasticities()), compute_slope_errors(shop)
    category = shop.catalogue.category
    mean = np.array([truth[category == code].mean() for code in category])
    spread = float(((truth - mean) ** 2).mean())
    share = spread / (spread + error**2)
    rng = generator(seed, "estimates")
    captured = []
    for _ in range(_DRAWS):
        slopes = mean + share * (truth + error * rng.normal(size=len(truth)) - mean)
        estimated = [
            replace(item, elasticity=float(slope), elasticity_error=float(slope_error))
            for item, slope, slope_error in zip(items, slopes, np.sqrt(share) * error, strict=True)
        ]
        prices = dict(zip(shop.item_ids, shop.current_minor.tolist(), strict=True))
        prices |= {
            suggestion.item_id: suggestion.suggested_price_minor
            for suggestion in optimise_prices(estimated, rules).suggestions
        }
        suggested_minor = np.array([prices[item_id] for item_id in shop.item_ids])
        captured.append(compare_profits(shop, suggested_minor, best).captured)
    return float(error.mean()), statistics.fmean(captured)


def _build_known_items(shop: SimulatedShop, seed: int) -> list[PricingItem]:
    """Return the items with true units at current prices and true cross effects."""
    with tempfile.TemporaryDirectory(prefix="shopwright-") as folder:
        facts, settings = import_shop(Path(folder), shop, seed)
        panel, _ = read_price_panel(facts, settings, end_of_history(shop))
    units = shop.predict_units(shop.current_minor[:, None])
    model = fit_elasticities(panel, load("models/pricing", PricingConfig).elasticity)
    items = build_pricing_items(shop, np.repeat(units, 4, axis=1), model)
    elasticities = shop.compute_elasticities().copy()
    np.fill_diagonal(elasticities, 0)
    units_of, price_of = np.nonzero(elasticities)
    cross = CrossElasticities(units_of, price_of, elasticities[units_of, price_of])
    return add_cross_effects(items, cross)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one line per form of demand."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--first-seed", type=int, default=101)
    options = parser.parse_args(arguments)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    forms: tuple[Form, ...] = ("loglinear", "choice")
    for form in forms:
        bounds = [bound(form, seed) for seed in seeds]
        error, captured = (statistics.fmean(column) for column in zip(*bounds, strict=True))
        shops = ", ".join(f"{share:.0%}" for _, share in bounds)
        print(
            f"{form}: standard error {error:.2f}, captured {captured:.1%} of the oracle's gain "
            f"({shops})",
            flush=True,
        )


if __name__ == "__main__":
    main()
