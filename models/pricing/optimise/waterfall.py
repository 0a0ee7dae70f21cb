"""The waterfall: from the best price without rules to the final one; and why prices are kept."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np

from features.contracts.arrays import Int64Array
from features.contracts.money import to_major
from features.contracts.pricing import Effect, PriceSuggestion, WaterfallStep
from models.pricing.optimise.item_choices import OPTIMISE, ItemChoices, compute_plain_price
from models.pricing.optimise.objective import (
    ItemColumns,
    ObjectiveColumns,
    compare_with_current,
    find_unconstrained_optima,
    predict_effects,
)
from models.pricing.optimise.problem import Problem
from models.pricing.optimise.solver import BrokenRule, Solution
from models.pricing.rules import CHANGES, ENDING, GROUP_MARGIN, IMAGE, ORDER, REVENUE, PricingRules

_Arrays = TypeVar("_Arrays", ItemColumns, ObjectiveColumns)
_NOTES = {
    CHANGES: "other changes are worth more",
    REVENUE: "all prices together must bring in enough",
    GROUP_MARGIN: "the margin of its category must be kept",
    IMAGE: "its price image group may not get dearer",
}


@dataclass(frozen=True)
class _StagePrices:
    """Each item's price (n,) at the stages of the search."""

    best_without_min_gain: list[int]
    best_alone: list[int]
    best_in_family: list[int]
    final: list[int]


@dataclass(frozen=True)
class SearchResult:
    """The result of the search. Arrays (n,) are selections: one choice per item of `choices`.

    best_alone              the best for the item by itself, where a change must gain enough
    best_in_family          the best within its family
    best_without_min_gain   the best for the item by itself, however little a change gains
    cut_items               items whose order with a neighbour in the family was given up
    """

    choices: list[ItemChoices]
    columns: ItemColumns
    objectives: ObjectiveColumns
    problem: Problem
    best_alone: Int64Array
    best_in_family: Int64Array
    solution: Solution
    best_without_min_gain: Int64Array
    cut_items: frozenset[int]

    @cached_property
    def prices(self) -> _StagePrices:
        """The prices of the selections."""
        prices = self.problem.choices.prices
        return _StagePrices(
            best_without_min_gain=prices[self.best_without_min_gain].tolist(),
            best_alone=prices[self.best_alone].tolist(),
            best_in_family=prices[self.best_in_family].tolist(),
            final=prices[self.solution.selection].tolist(),
        )

    @cached_property
    def limiting_rules(self) -> list[str]:
        """By item, the rule of many items that weighs most against its price in the family."""
        problem = self.problem
        if not problem.limits:
            return [ORDER] * len(self.choices)
        multipliers = np.append(self.solution.multipliers, 0.0)
        weights = []
        for limit, rows in zip(problem.limits, problem.rows, strict=True):
            moved = limit.amount[self.solution.selection] - limit.amount[self.best_in_family]
            weights.append(multipliers[rows] * moved)
        return [problem.limits[k].rule for k in np.argmax(weights, axis=0).tolist()]


@dataclass(frozen=True)
class KeptPrice:
    """An item that keeps its price, and why."""

    item_id: str
    zone: str
    reason: str


def explain_prices(
    result: SearchResult, rules: PricingRules
) -> tuple[list[PriceSuggestion], list[KeptPrice]]:
    """Return a suggestion with its reasons for each item that changes, and why the others stay."""
    prices = result.problem.choices.prices[result.solution.selection]
    current = result.columns.current
    changed = np.flatnonzero(prices != current)
    unchanged = np.flatnonzero(prices == current)
    kept = [_explain_kept_price(result, index) for index in unchanged.tolist()]
    new_prices = prices[changed].astype(np.float64)
    expected = predict_effects(result.columns, changed, new_prices)
    against_keeping = compare_with_current(result.columns, changed, new_prices)
    optima = find_unconstrained_optima(
        _select_items(result.columns, changed), _select_items(result.objectives, changed)
    )
    suggestions = []
    for k, index in enumerate(changed.tolist()):
        waterfall, binding_rule = _build_waterfall(result, index, int(optima[k]), rules)
        effects_known = result.choices[index].strategy == OPTIMISE
        suggestions.append(
            _build_suggestion(
                result.choices[index],
                int(prices[index]),
                (expected[k], against_keeping[k]) if effects_known else (None, None),
                waterfall,
                binding_rule,
            )
        )
    return suggestions, kept


def _build_suggestion(
    choices: ItemChoices,
    price: int,
    effects: tuple[Effect | None, Effect | None],
    waterfall: tuple[WaterfallStep, ...],
    binding_rule: str | None,
) -> PriceSuggestion:
    """Return the suggestion of `price`; `effects` are at that price and against keeping."""
    item = choices.item
    spoils = item.spoiled_above_minor is not None and price > item.spoiled_above_minor
    return PriceSuggestion(
        item_id=item.item_id,
        zone=item.zone,
        currency=item.currency,
        list_price_minor=item.list_price_minor,
        current_price_minor=item.current_price_minor,
        suggested_price_minor=price,
        expected=effects[0],
        against_keeping=effects[1],
        evidence_grade=item.evidence_grade,
        elasticity=item.elasticity,
        elasticity_error=item.elasticity_error,
        unit_cost_minor=item.unit_cost_minor,
        cost_source=item.cost_source,
        binding_rule=binding_rule,
        waterfall=waterfall,
        strategy=choices.strategy,
        stage=item.stage,
        flags=(item.spoiled,) if spoils else (),
    )


def _build_waterfall(
    result: SearchResult, index: int, optimum: int, rules: PricingRules
) -> tuple[tuple[WaterfallStep, ...], str | None]:
    """Return the steps from the current price to the final one, and the last rule that moved it."""
    choices = result.choices[index]
    item, allowed, soft = choices.item, choices.allowed, choices.rules.soft
    first_step = _build_first_step(choices, optimum)
    steps = [first_step]
    price, binding_rule = first_step.after_minor, None
    given_up = () if allowed is None else allowed.given_up
    note = "given up: no price satisfies all rules"
    steps += [WaterfallStep(name, price, price, False, note) for name in given_up]
    if index in result.cut_items:
        note = "given up: no two prices of neighbours go together"
        steps.append(WaterfallStep(ORDER, price, price, False, note))
    for bound in () if allowed is None else allowed.bounds:
        after = bound.clamp(price)
        if after != price:
            binding_rule = bound.rule
            hard = bound.rule not in soft
            steps.append(WaterfallStep(bound.rule, price, after, hard, bound.note))
        price = after
    for rule, after, note in _list_joint_steps(result, index):
        if after != price:
            hard = rule not in (soft if rule == ENDING else rules.soft)
            steps.append(WaterfallStep(rule, price, after, hard, note))
            binding_rule = binding_rule if rule == ENDING else rule
        price = after
    for broken in result.solution.broken:
        note = f"not kept: {describe_broken_rule(broken, item.currency)}"
        steps.append(WaterfallStep(broken.rule, price, price, broken.hard, note))
    return tuple(steps), binding_rule


def _build_first_step(choices: ItemChoices, optimum: int) -> WaterfallStep:
    """Return the step from the current price to the optimum, or to that of the plain strategy."""
    current = choices.item.current_price_minor
    if choices.strategy == OPTIMISE:
        return WaterfallStep("optimum", current, optimum, False, "best price without rules")
    plain_price = compute_plain_price(choices.item, choices.rules)
    note = "too little evidence to optimise"
    return WaterfallStep(choices.strategy, current, plain_price, False, note)


def _list_joint_steps(result: SearchResult, index: int) -> list[tuple[str, int, str]]:
    """Return what moves the price after the item's own bounds: rule, price and note.

    Its ending, its family, then the limits. The latter two show only where they moved the price
    away from the item's own best price.
    """
    prices = result.prices
    best_alone, in_family = prices.best_alone[index], prices.best_in_family[index]
    final = prices.final[index]
    ending_note = "the best price with an allowed ending"
    steps = [(ENDING, prices.best_without_min_gain[index], ending_note)]
    if in_family != best_alone:
        steps.append((ORDER, in_family, "packs of its family are priced in order of size"))
    elif final == best_alone:
        return steps
    if final != in_family:
        rule = result.limiting_rules[index]
        steps.append((rule, final, _NOTES.get(rule, "")))
    return steps


def describe_broken_rule(broken: BrokenRule, currency: str) -> str:
    """Return in words what a rule asked for and what was reached."""
    if broken.rule == CHANGES:
        return f"at most {-broken.asked:.0f} asked, {-broken.reached:.0f} is the nearest found"
    asked = to_major(round(broken.asked), currency)
    reached = to_major(round(broken.reached), currency)
    short = to_major(round(broken.asked - broken.reached), currency)
    if broken.rule == REVENUE:
        return f"at least {asked} {currency} asked, {reached} is the nearest found"
    what = "too little profit" if broken.rule == GROUP_MARGIN else "dearer than allowed"
    return f"{broken.n_groups} groups are {short} {currency} {what}, the nearest found"


def _explain_kept_price(result: SearchResult, index: int) -> KeptPrice:
    item = result.choices[index].item
    return KeptPrice(item.item_id, item.zone, _find_kept_reason(result, index))


def _find_kept_reason(result: SearchResult, index: int) -> str:
    choices, prices = result.choices[index], result.prices
    if choices.kept_reason is not None:
        return choices.kept_reason
    current = choices.item.current_price_minor
    if prices.best_without_min_gain[index] == current:
        if choices.allowed is not None and current in choices.allowed.prices:
            return "the current price is the best allowed"
        return "no price with an allowed ending is better"
    if prices.best_alone[index] == current:
        return "the gain is too small"
    if prices.best_in_family[index] == current:
        return f"kept for the rule {ORDER}"
    return f"kept for the rule {result.limiting_rules[index]}"


def _select_items(arrays: _Arrays, items: Int64Array) -> _Arrays:
    """Return the same columns of some items."""
    return type(arrays)(**{name: values[items] for name, values in vars(arrays).items()})
