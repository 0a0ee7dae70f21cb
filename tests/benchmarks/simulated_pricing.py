"""One simulated shop from its tables to suggested prices, compared with its true demand.

The data take the path of any shop's: tables are written and imported, the demand and the pricing
task train on them, and the optimiser suggests under the shipped rules. Nothing that a shop would
not know is used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np

from configs.loading import load
from configs.settings import Settings
from experiments.simulator.oracle import compare_profits, find_best_prices
from experiments.simulator.shop import SimulatedShop
from features.contracts.arrays import BoolArray, Float64Array, Int64Array
from features.contracts.pricing import EvidenceGrade, PricingItem
from features.contracts.seeds import generator
from models.pricing.implied_costs import imply_costs
from models.pricing.optimise.confidence import drop_uncertain_prices
from models.pricing.optimise.item_choices import find_choices
from models.pricing.optimise.optimiser import optimise_prices
from models.pricing.response.cross_effects import add_cross_effects
from models.pricing.response.elasticity import CrossElasticities, ElasticityModel
from models.pricing.response.fit import fit_elasticities
from models.pricing.response.panel import PricePanel
from models.pricing.rules import PricingRules
from tests.benchmarks.knowable_response import replace_by_knowable
from tests.benchmarks.simulated_shop_data import PreparedShop, forget_costs
from training.pricing.baselines import EMPIRICAL_BAYES, OWN, fit_baseline_slopes
from training.pricing.task import PricingConfig

ZONE = "default"
# What a shop knows of costs: those of past weeks too, only today's (`unit_cost` of items), nothing.
Costs = Literal["history", "today", "none"]
OURS, LEAST_SQUARES, TRUE_RESPONSE = "ours", "least squares", "true response"
EVERY_SUGGESTION = "ours, all"  # with max_losing_share 1
KNOWABLE, EVERY_KNOWABLE = "knowable", "knowable, all"  # see `knowable_response`; the same
_NINETY = 1.6449  # standard errors on each side of a 90 % interval
_RATIOS = (0.9, 1.1)
_YEAR_WEEKS = 52


@dataclass(frozen=True)
class SuggestionResult:
    """What the suggestions of one price response bring.

    bias, bias_suggested   mean of the elasticity that decisions use, less the true response to a
                           regular price that stays: over all items with an elasticity, and over
                           those whose price is to change (NaN without one)
    n_suggested, n_losing   suggestions; those that lose true profit against keeping the item's
                           price, all other prices as suggested
    gained                 gain in true profit against keeping all prices, a share of it
    best                   the same of the best prices on the same ladders
    best_of_all            the same when every item has a ladder, whatever its evidence
    """

    bias: float
    bias_suggested: float
    n_suggested: int
    n_losing: int
    gained: float
    best: float
    best_of_all: float
    prices: dict[str, int]

    @property
    def captured(self) -> float:
        """Share of the best gain on the same ladders; NaN where no price on them gains."""
        return self.gained / self.best if self.best > 0 else np.nan

    @property
    def captured_of_all(self) -> float:
        """Share of the best gain when every item has a ladder; NaN where no price gains."""
        return self.gained / self.best_of_all if self.best_of_all > 0 else np.nan


@dataclass(frozen=True)
class EffectResult:
    """The error of an estimated effect over the items (n,), and whether its 90 % intervals hold."""

    bias: float
    covered: BoolArray

    @classmethod
    def compare(cls, effect: Float64Array, error: Float64Array, truth: Float64Array) -> Self:
        """Return the result of the items with an effect."""
        known = np.isfinite(effect)
        distance = (effect - truth)[known]
        return cls(_average(distance), np.abs(distance) <= _NINETY * error[known])


@dataclass(frozen=True)
class ShopResult:
    """The results of one shop.

    results          by price response: ours, least squares, empirical Bayes, the true one, what can
                     be known of it; and ours and this without the rule that holds uncertain prices
                     back
    covered, covered_suggested   whether the 90 % interval of each item (n,) holds the truth: all
                     items with an elasticity, those with a suggestion of ours
    reductions       of announced reductions, by response: its depth, its announcement
    grades           number of items by evidence grade
    wmape            of units at ±10 %, one price at a time: of the last year's sales at other
                     prices, predicted from the actual sales
    wmape_response   of the weeks to come, from the true units at the current price: the error of
                     the response alone
    wmape_forecast   of the weeks to come, from the forecast: errors of forecast and response
                     together
    """

    seed: int
    results: dict[str, SuggestionResult]
    covered: BoolArray
    covered_suggested: BoolArray
    reductions: dict[str, EffectResult]
    grades: Counter[str]
    wmape: float
    wmape_response: float
    wmape_forecast: float


def evaluate_shop(prepared: PreparedShop, costs: Costs = "history") -> ShopResult:
    """Let Shopwright price a shop, and compare with its true demand."""
    shop = prepared.shop
    panel = prepared.panel if costs == "history" else forget_costs(prepared.panel, shop, costs)
    model = fit_elasticities(panel, load("models/pricing", PricingConfig).elasticity)
    items = build_pricing_items(shop, prepared.units, model, knows_cost=costs != "none")
    baselines = _fit_baselines(panel, shop)
    results = {
        name: evaluate_suggestions(shop, replaced)
        for name, replaced in {
            OURS: items,
            LEAST_SQUARES: replace_slopes(items, baselines[OWN]),
            EMPIRICAL_BAYES: replace_slopes(items, baselines[EMPIRICAL_BAYES]),
            TRUE_RESPONSE: tell_true_response(items, shop),
        }.items()
    }
    rules = load("pricing/default", PricingRules)
    rng = generator(prepared.seed, "knowable response")
    knowable = replace_by_knowable(tell_true_response(items, shop), shop, rng)
    results[KNOWABLE] = evaluate_suggestions(shop, knowable)
    every_price = replace(rules, max_losing_share=1.0)
    results[EVERY_SUGGESTION] = evaluate_suggestions(shop, items, every_price)
    results[EVERY_KNOWABLE] = evaluate_suggestions(shop, knowable, every_price)
    truth = np.diag(shop.compute_elasticities())
    slopes = np.array([item.elasticity for item in items])
    errors = np.array([item.elasticity_error for item in items])
    known = np.isfinite(slopes)
    covered = np.abs(slopes - truth) <= _NINETY * errors
    prices = results[OURS].prices
    is_suggested = shop.current_minor != [prices[item_id] for item_id in shop.item_ids]
    usable = np.where(known, slopes, 0.0)
    true_units = shop.predict_units(shop.current_minor[:, None])[:, 0]
    last_year_units = shop.units[:, -_YEAR_WEEKS:].sum(1)
    return ShopResult(
        seed=prepared.seed,
        results=results,
        covered=covered[known],
        covered_suggested=covered[known & is_suggested],
        reductions=_compare_reductions(shop, model),
        grades=Counter(item.evidence_grade.name for item in items),
        wmape=_compute_wmape(last_year_units, usable, _true_units_of_last_year(shop)),
        wmape_response=_compute_wmape(true_units, usable, _true_units_to_come(shop)),
        wmape_forecast=_compute_wmape(prepared.units[:, 0], usable, _true_units_to_come(shop)),
    )


def evaluate_suggestions(
    shop: SimulatedShop, items: Sequence[PricingItem], rules: PricingRules | None = None
) -> SuggestionResult:
    """Optimise the prices of `items` under the shipped or other rules; compare with the truth."""
    rules = load("pricing/default", PricingRules) if rules is None else rules
    optimised = optimise_prices(items, rules)
    prices = dict(zip(shop.item_ids, shop.current_minor.tolist(), strict=True))
    prices |= {
        suggestion.item_id: suggestion.suggested_price_minor for suggestion in optimised.suggestions
    }
    suggested = np.array([prices[item_id] for item_id in shop.item_ids])
    is_suggested = suggested != shop.current_minor
    error = np.array([item.elasticity for item in items]) - np.diag(shop.compute_elasticities())
    profits = compare_profits(shop, suggested, find_best_allowed_prices(shop, items, rules))
    without_evidence = replace(rules, max_losing_share=1.0)
    of_all = compare_profits(
        shop,
        suggested,
        find_best_allowed_prices(shop, let_all_be_priced(items), without_evidence),
    )
    return SuggestionResult(
        bias=_average(error[np.isfinite(error)]),
        bias_suggested=_average(error[is_suggested]),
        n_suggested=int(is_suggested.sum()),
        n_losing=int((compute_item_gains(shop, suggested)[is_suggested] < 0).sum()),
        gained=profits.suggested / profits.keeping - 1,
        best=profits.best / profits.keeping - 1,
        best_of_all=of_all.best / profits.keeping - 1,
        prices=prices,
    )


def compute_item_gains(shop: SimulatedShop, suggested_minor: Int64Array) -> Float64Array:
    """Return what each item's suggested price adds to the shop's true profit (N,), minor units.

    Against keeping that item's price, while all other prices are as suggested (N,).
    """
    price_sets = np.repeat(suggested_minor[:, None], len(suggested_minor), axis=1)
    np.fill_diagonal(price_sets, shop.current_minor)
    with_all = shop.predict_profit(suggested_minor[:, None])[0]
    return np.asarray(with_all - shop.predict_profit(price_sets))


def find_best_allowed_prices(
    shop: SimulatedShop, items: Sequence[PricingItem], rules: PricingRules
) -> Int64Array:
    """Return the prices (N,) of highest true profit on the ladders that the rules allow.

    Rules on evidence are among them: an item, or a price, of which too little is known.
    """
    choices = drop_uncertain_prices(find_choices(items, rules, {}))
    prices_of = {of_item.item.item_id: of_item.prices for of_item in choices}
    return find_best_prices(shop, [prices_of[item_id] for item_id in shop.item_ids])


def let_all_be_priced(items: Sequence[PricingItem]) -> list[PricingItem]:
    """Return the items as if the evidence for each were good: all get a ladder."""
    return [
        replace(item, evidence_grade=EvidenceGrade.A, elasticity=-2.0, elasticity_error=0.1)
        for item in items
    ]


def replace_slopes(items: Sequence[PricingItem], slopes: Float64Array) -> list[PricingItem]:
    """Return the items with other elasticities (N,), taken as certain, and no cross effects.

    A slope that is not below 0 has grade D.
    """
    return [
        replace(
            item,
            elasticity=float(slope),
            elasticity_error=0.0,
            evidence_grade=EvidenceGrade.A if slope < 0 else EvidenceGrade.D,
            cross_units=0.0,
            cross_revenue_minor=0.0,
            cross_profit_minor=0.0,
            cross_error=0.0,
        )
        for item, slope in zip(items, slopes, strict=True)
    ]


def tell_true_response(items: Sequence[PricingItem], shop: SimulatedShop) -> list[PricingItem]:
    """Return the items with their true elasticities and cross effects."""
    elasticities = shop.compute_elasticities()
    own = np.diag(elasticities)
    units_of, price_of = np.nonzero(elasticities - np.diag(own))
    values = elasticities[units_of, price_of]
    cross = CrossElasticities(units_of, price_of, values, np.zeros(len(values)))
    return add_cross_effects(replace_slopes(items, own), cross)


def build_pricing_items(
    shop: SimulatedShop, units: Float64Array, model: ElasticityModel, *, knows_cost: bool = True
) -> list[PricingItem]:
    """Return what pricing knows of each item.

    Forecast `units` (N, 4) are mean, p10, p50 and p90 over the horizon. Without today's cost it is
    implied by prices that are right on average.
    """
    response = model.find_response(shop.item_ids, ZONE)
    assumed = shop.current_minor * (1 - Settings().assumed_margin)
    unit_cost = shop.unit_cost_minor if knows_cost else assumed
    items = [
        PricingItem(
            item_id=item_id,
            zone=ZONE,
            currency="USD",
            list_price_minor=int(shop.current_minor[n]),
            current_price_minor=int(shop.current_minor[n]),
            unit_cost_minor=float(unit_cost[n]),
            cost_source="known" if knows_cost else "assumed",
            tax_divisor=1.0,
            units_mean=float(units[n, 0]),
            units_p10=float(units[n, 1]),
            units_p50=float(units[n, 2]),
            units_p90=float(units[n, 3]),
            elasticity=float(response.elasticity[n]),
            elasticity_error=float(response.error[n]),
            evidence_grade=EvidenceGrade(response.grade[n]),
            n_regular_changes=int(response.n_changes[n]),
            category=shop.catalogue.category_path(n),
            family_id=shop.catalogue.family_id(n),
            lowest_tried_minor=_round_price(response.lowest_minor[n]),
            highest_tried_minor=_round_price(response.highest_minor[n]),
        )
        for n, item_id in enumerate(shop.item_ids)
    ]
    cross_effects = model.find_cross_elasticities(shop.item_ids, ZONE)
    items = add_cross_effects(items, cross_effects)
    return items if knows_cost else add_cross_effects(imply_costs(items), cross_effects)


def _compare_reductions(shop: SimulatedShop, model: ElasticityModel) -> dict[str, EffectResult]:
    response = model.find_reduction_response(shop.item_ids, ZONE)
    return {
        "depth": EffectResult.compare(
            response.depth, response.depth_error, shop.compute_depth_elasticities()
        ),
        "announcement": EffectResult.compare(
            response.announced, response.announced_error, shop.compute_announcement_lifts()
        ),
    }


def _fit_baselines(panel: PricePanel, shop: SimulatedShop) -> dict[str, Float64Array]:
    """Return slopes of log units on log price by baseline, item by item (N,); NaN where unsold."""
    slopes = fit_baseline_slopes(panel)
    return {
        name: _align(dict(zip(panel.item_ids, slopes[name], strict=True)), shop)
        for name in (OWN, EMPIRICAL_BAYES)
    }


def _align(value_of: Mapping[str, float], shop: SimulatedShop) -> Float64Array:
    return np.array([value_of.get(item_id, np.nan) for item_id in shop.item_ids])


def _average(values: Float64Array) -> float:
    return float(values.mean()) if len(values) else np.nan


def _round_price(minor: float) -> int | None:
    return round(minor) if np.isfinite(minor) else None


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
