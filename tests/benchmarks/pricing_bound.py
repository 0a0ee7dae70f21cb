"""What an optimiser could capture of a simulated shop's gain if it knew all but each item's own
slope.

    python -m tests.benchmarks.pricing_bound [--seeds 6] [--first-seed 101]

It is told every cross effect, the units at present prices, mean and spread of the slopes of each
category, and each item's slope as surely as generalised least squares can tell it that knows the
shock of each week and the law of all else. What is missed then, an estimate from these sales can
hardly find.
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
from configs.settings import Settings
from experiments.simulator.oracle import find_best_prices
from experiments.simulator.parameters import Form, ShopParameters
from experiments.simulator.shop import SimulatedShop, simulate_shop
from experiments.simulator.tables import end_of_history, write_shop
from features.contracts.pricing import PricingItem
from features.contracts.seeds import generator
from features.facts.facts import Facts
from features.sources.folder import import_folder
from models.pricing.optimise.item_choices import find_choices
from models.pricing.optimise.optimiser import optimise_prices
from models.pricing.response.cross_effects import add_cross_effects
from models.pricing.response.elasticity import CrossElasticities
from models.pricing.response.fit import fit_elasticities
from models.pricing.rules import PricingRules
from tests.benchmarks.simulated_pricing import pricing_items
from training.pricing.panel import read_price_panel
from training.pricing.task import PricingConfig

_DRAWS = 3


def errors(shop: SimulatedShop) -> np.ndarray:
    """(N,) standard error of each slope by generalised least squares; the level of the item is not
    known."""
    given, price = shop.parameters, np.log(shop.plan.offer)
    week = np.arange(given.n_weeks)
    drift = given.drift**2 * given.drift_memory ** np.abs(week[:, None] - week[None, :])
    known = np.empty(len(price))
    for item, row in enumerate(price):
        precision = np.linalg.inv(drift + np.diag(given.noise**2 + 1 / shop.expected[item]))
        level = precision.sum(0)
        known[item] = row @ precision @ row - (level @ row) ** 2 / level.sum()
    return np.asarray(1 / np.sqrt(known))


def bound(form: Form, seed: int) -> tuple[float, float]:
    """Mean standard error of the slopes, and the share of the oracle's gain, mean of draws of what
    is estimated."""
    shop = simulate_shop(ShopParameters(form=form), generator(seed, "simulated shop"))
    items = _known_items(shop, seed)
    rules = load("pricing/default", PricingRules)
    ladders = {each.item.item_id: each.prices for each in find_choices(items, rules, {})}
    best = find_best_prices(shop, [ladders[item_id] for item_id in shop.item_ids])
    truth, error, category = (
        np.diag(shop.compute_elasticities()),
        errors(shop),
        shop.catalogue.category,
    )
    mean = np.array([truth[category == each].mean() for each in category])
    spread = float(((truth - mean) ** 2).mean())
    share = spread / (spread + error**2)
    rng = generator(seed, "estimates")
    captured = []
    for _ in range(_DRAWS):
        slopes = mean + share * (truth + error * rng.normal(size=len(truth)) - mean)
        told = [
            replace(item, elasticity=float(slope), elasticity_error=float(sd))
            for item, slope, sd in zip(items, slopes, np.sqrt(share) * error, strict=True)
        ]
        prices = dict(zip(shop.item_ids, shop.current_minor.tolist(), strict=True))
        prices |= {
            each.item_id: each.suggested_price_minor
            for each in optimise_prices(told, rules).suggestions
        }
        sets = np.stack(
            [shop.current_minor, np.array([prices[each] for each in shop.item_ids]), best], axis=1
        )
        kept, ours, oracle = shop.predict_profit(sets).tolist()
        captured.append((ours - kept) / (oracle - kept))
    return float(error.mean()), statistics.fmean(captured)


def _known_items(shop: SimulatedShop, seed: int) -> list[PricingItem]:
    """Items as pricing sees them, with true units at present prices and true cross effects."""
    with tempfile.TemporaryDirectory(prefix="shopwright-") as folder:
        settings = Settings(
            home=Path(folder) / "home", database_url=None, clock_start=end_of_history(shop)
        )
        write_shop(
            Path(folder) / "tables", shop, generator(seed, "simulated shoppers"), clicks=False
        )
        facts = Facts(settings)
        import_folder(
            Path(folder) / "tables",
            facts,
            settings,
            now=end_of_history(shop),
            progress=lambda _: None,
        )
        panel, _ = read_price_panel(facts, settings, end_of_history(shop))
    units = shop.predict_units(shop.current_minor[:, None])
    model = fit_elasticities(panel, load("models/pricing", PricingConfig).elasticity)
    items = pricing_items(shop, np.repeat(units, 4, axis=1), model)
    effects = shop.compute_elasticities().copy()
    np.fill_diagonal(effects, 0)
    of, by = np.nonzero(effects)
    return add_cross_effects(items, CrossElasticities(of, by, effects[of, by]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a line a form."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--first-seed", type=int, default=101)
    given = parser.parse_args(arguments)
    forms: tuple[Form, ...] = ("loglinear", "choice")
    for form in forms:
        found = [
            bound(form, seed) for seed in range(given.first_seed, given.first_seed + given.seeds)
        ]
        error, captured = (statistics.fmean(column) for column in zip(*found, strict=True))
        shops = ", ".join(f"{share:.0%}" for _, share in found)
        print(
            f"{form}: standard error {error:.2f}, captured {captured:.1%} of the oracle's gain ({shops})",
            flush=True,
        )


if __name__ == "__main__":
    main()
