"""The optimiser: one price per item, jointly the best within the rules, each with its waterfall."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from features.contracts.pricing import Objective, PriceSuggestion, PricingItem
from models.pricing.optimise.aggregate_limits import build_limits, count_allowed_changes
from models.pricing.optimise.chain_programme import ChainProgramme
from models.pricing.optimise.confidence import drop_uncertain_prices
from models.pricing.optimise.item_choices import (
    OPTIMISE,
    ItemChoices,
    find_choices,
    restrict_to_current,
)
from models.pricing.optimise.objective import ItemColumns, ObjectiveColumns, evaluate_objective
from models.pricing.optimise.pack_families import PackOrder, order_packs
from models.pricing.optimise.problem import (
    Choices,
    Problem,
    argmax_in_windows,
    flatten_ladders,
)
from models.pricing.optimise.solver import BrokenRule, solve
from models.pricing.optimise.waterfall import KeptPrice, SearchResult, explain_prices
from models.pricing.rules import CHANGES, ORDER, PricingRules

NO_ORDER = "no price satisfies the family order"


@dataclass(frozen=True)
class Outcome:
    """The result of the search as a whole.

    value      objective value of all items at the prices found, less the minimum gain of each
               change
    keeping    objective value of all items at their current prices
    bound      upper bound on the value of any prices within the same rules
    gap        bound less value, a share of the bound
    broken     rules of many items that could not be satisfied
    """

    value: float
    keeping: float
    bound: float
    gap: float
    n_steps: int
    broken: tuple[BrokenRule, ...]


@dataclass(frozen=True)
class OptimisedPrices:
    """The suggestions, largest gain first, and the items that keep their price, each with its
    reason."""

    suggestions: tuple[PriceSuggestion, ...]
    kept_prices: tuple[KeptPrice, ...]
    outcome: Outcome

    @property
    def kept(self) -> Counter[str]:
        """How many items keep their price, by reason."""
        return Counter(price.reason for price in self.kept_prices)


def optimise_prices(
    items: Sequence[PricingItem],
    rules: PricingRules,
    presets: Mapping[str, PricingRules] | None = None,
) -> OptimisedPrices:
    """Suggest a price for every item whose best price is not the current one.

    `presets` holds the rules of items in a lifecycle stage; rules of many items (limits, families,
    priorities) are those of `rules`. The same input gives the same output, to the minor unit, in
    any order of the items.
    """
    if not items:
        outcome = Outcome(value=0.0, keeping=0.0, bound=0.0, gap=0.0, n_steps=0, broken=())
        return OptimisedPrices((), (), outcome)
    choices = sorted(
        find_choices(items, rules, presets or {}),
        key=lambda of_item: (of_item.item.item_id, of_item.item.zone),
    )
    choices = _apply_change_cap(drop_uncertain_prices(choices), rules)
    choices, packs = _order_families(choices, rules)
    choices = [choices[index] for index in packs.order]
    result, outcome = _search(choices, packs, rules)
    suggestions, kept = explain_prices(result, rules)
    suggestions.sort(
        key=lambda suggestion: (
            -estimate_gain(suggestion, rules.objective),
            suggestion.item_id,
            suggestion.zone,
        )
    )
    return OptimisedPrices(tuple(suggestions), tuple(kept), outcome)


def estimate_gain(suggestion: PriceSuggestion, objective: Objective) -> float:
    """Return the expected gain in the objective against keeping the price.

    Units, or minor units; 0 where it is unknown.
    """
    effect = suggestion.against_keeping
    if effect is None:
        return 0.0
    if objective is Objective.UNITS:
        return effect.units.p50
    of_revenue = objective is Objective.REVENUE or objective is Objective.SELL_THROUGH
    return effect.revenue.p50 if of_revenue else effect.profit.p50


def _apply_change_cap(choices: list[ItemChoices], rules: PricingRules) -> list[ItemChoices]:
    """Let the items keep their price for which a cap on changes leaves no room.

    Those nearest to their target price wait first. Prices that break a rule wait where the cap is
    hard. Prices of a plain strategy have no objective value to compare with others: of the room
    that is left they get their share of all items that may change.
    """
    max_changes = count_allowed_changes(rules, len(choices))
    if max_changes is None:
        return choices
    must_change, plain, n_optional = [], [], 0
    for index, of_item in enumerate(choices):
        if of_item.strategy != OPTIMISE:
            plain.append(index)
        elif of_item.must_change:
            must_change.append(index)
        if len(of_item.prices) > 1 and not of_item.must_change:
            n_optional += 1
    if CHANGES in rules.soft:
        changed_first = must_change
    else:
        changed_first = _take_farthest(choices, must_change, max_changes)
    room = max(max_changes - len(changed_first), 0)
    plain_share = room * len(plain) / max(len(plain) + n_optional, 1)
    changing = {*changed_first, *_take_farthest(choices, plain, round(plain_share))}
    waiting = {*must_change, *plain} - changing
    reason = f"kept for the rule {CHANGES}"
    return [
        restrict_to_current(of_item, reason) if index in waiting else of_item
        for index, of_item in enumerate(choices)
    ]


def _take_farthest(choices: list[ItemChoices], indices: list[int], most: int) -> list[int]:
    """Return at most `most` of the items, those farthest from an allowed price first."""
    return sorted(indices, key=lambda index: -_distance_to_allowed(choices[index]))[:most]


def _distance_to_allowed(choices: ItemChoices) -> float:
    """Return how far the current price is from the nearest allowed one, as a share of it."""
    current = choices.item.current_price_minor
    ends = (choices.prices[0], choices.prices[-1])
    return min(abs(price - current) for price in ends) / current


def _order_families(
    choices: list[ItemChoices], rules: PricingRules
) -> tuple[list[ItemChoices], PackOrder]:
    """Return the choices and the order of packs.

    Where the order is hard and cannot be satisfied, the two items concerned keep their prices.
    """
    items = [of_item.item for of_item in choices]
    packs = order_packs(items, [of_item.prices for of_item in choices], rules.family)
    if not packs.cut_pairs or ORDER in rules.soft:
        return choices, packs
    cut_items = {index for pair in packs.cut_pairs for index in pair}
    choices = [
        restrict_to_current(of_item, NO_ORDER)
        if index in cut_items and not of_item.kept_reason
        else of_item
        for index, of_item in enumerate(choices)
    ]
    return choices, order_packs(items, [of_item.prices for of_item in choices], rules.family)


def _search(
    item_choices: list[ItemChoices], packs: PackOrder, rules: PricingRules
) -> tuple[SearchResult, Outcome]:
    items = [of_item.item for of_item in item_choices]
    columns = ItemColumns.from_items(items)
    objectives = ObjectiveColumns.from_rules([of_item.rules for of_item in item_choices])
    starts, prices = flatten_ladders([of_item.prices for of_item in item_choices])
    without_value = Choices(starts, prices, np.zeros(len(prices)))
    item = without_value.item
    value = evaluate_objective(columns, objectives, item, prices.astype(np.float64))
    current_value = evaluate_objective(columns, objectives, np.arange(len(items)), columns.current)
    min_gains = np.array(
        [
            max(of_item.rules.min_gain * abs(now), of_item.rules.min_gain_minor)
            for of_item, now in zip(item_choices, current_value, strict=True)
        ]
    )
    is_change = prices != columns.current[item]
    choices = Choices(starts, prices, value - is_change * min_gains[item])
    limits = build_limits(items, columns, without_value, rules)
    problem = Problem(choices, packs.links, limits)
    solution = solve(problem, rules.soft)
    best_in_family, _ = ChainProgramme(choices, packs.links).maximise(choices.value)
    result = SearchResult(
        choices=item_choices,
        columns=columns,
        objectives=objectives,
        problem=problem,
        best_alone=argmax_in_windows(choices.value, starts[:-1], starts[1:]),
        best_in_family=best_in_family,
        solution=solution,
        best_without_min_gain=argmax_in_windows(value, starts[:-1], starts[1:]),
        cut_items=_find_cut_items(packs),
    )
    outcome = Outcome(
        value=solution.value,
        keeping=float(current_value.sum()),
        bound=solution.bound,
        gap=solution.gap,
        n_steps=solution.n_steps,
        broken=solution.broken,
    )
    return result, outcome


def _find_cut_items(packs: PackOrder) -> frozenset[int]:
    """Return the indices, in the order of packs, of items whose order was given up."""
    index_in_order = {int(given): index for index, given in enumerate(packs.order)}
    return frozenset(index_in_order[given] for pair in packs.cut_pairs for given in pair)
