"""Why each price is what it is: the waterfall from the best price without rules to the final one;
why others stay."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np

from features.contracts.arrays import Int64Array
from features.contracts.money import to_major
from features.contracts.pricing import Effect, PriceSuggestion, WaterfallStep
from models.pricing.optimise.item_choices import Candidate, plain_price
from models.pricing.optimise.objective import Aims, Columns, differences, effects, optima
from models.pricing.optimise.problem import Problem
from models.pricing.optimise.solver import Broken, Solution
from models.pricing.rules import CHANGES, ENDING, GROUP_MARGIN, IMAGE, ORDER, REVENUE, PricingRules

_Arrays = TypeVar("_Arrays", Columns, Aims)
_NOTES = {
    CHANGES: "other changes are worth more",
    REVENUE: "all prices together must bring in enough",
    GROUP_MARGIN: "the margin of its category must be kept",
    IMAGE: "its price image group may not get dearer",
}


@dataclass(frozen=True)
class Found:
    """What the search found. Arrays (n,) are choices, one per item in the order of `given`.

    alone       the best for the item by itself, a change having to gain enough
    in_family   the best within its family
    ideal       the best were every change worth its label
    cut         items whose order with a neighbour was given up
    """

    given: list[Candidate]
    columns: Columns
    aims: Aims
    problem: Problem
    alone: Int64Array
    in_family: Int64Array
    solution: Solution
    ideal: Int64Array
    cut: frozenset[int]

    @cached_property
    def prices(self) -> dict[str, list[int]]:
        """The price of each item by itself, in its family, in the end, and were every change worth
        its label."""
        of = self.problem.choices.prices
        places = {
            "alone": self.alone,
            "family": self.in_family,
            "final": self.solution.chosen,
            "ideal": self.ideal,
        }
        return {name: of[chosen].tolist() for name, chosen in places.items()}

    @cached_property
    def loudest(self) -> list[str]:
        """The rule of many items that speaks loudest against the price that each item would have
        without them."""
        problem = self.problem
        if not problem.limits:
            return [ORDER] * len(self.given)
        multipliers = np.append(self.solution.multipliers, 0.0)
        moved = [
            limit.amount[self.solution.chosen] - limit.amount[self.in_family]
            for limit in problem.limits
        ]
        weights = [
            multipliers[rows] * amounts for rows, amounts in zip(problem.rows, moved, strict=True)
        ]
        return [problem.limits[k].rule for k in np.argmax(weights, axis=0).tolist()]


def explain(found: Found, rules: PricingRules) -> tuple[list[PriceSuggestion], Counter[str]]:
    """A suggestion with its reasons for each item that changes, and why the others stay."""
    chosen = found.solution.chosen
    prices = found.problem.choices.prices[chosen]
    current = found.columns.current
    places = np.flatnonzero(prices != current)
    kept = Counter(_why_kept(found, place) for place in np.flatnonzero(prices == current).tolist())
    new = prices[places].astype(np.float64)
    expected = effects(found.columns, places, new)
    against = differences(found.columns, places, new)
    ideals = optima(_some(found.columns, places), _some(found.aims, places)).tolist()
    suggestions = []
    for place, price, at, less, ideal in zip(
        places.tolist(), prices[places].tolist(), expected, against, ideals, strict=True
    ):
        given = found.given[place]
        steps, binding = _waterfall(found, place, ideal, rules)
        known = given.strategy == "optimise"
        suggestions.append(
            _suggestion(
                given, price, at if known else None, less if known else None, steps, binding
            )
        )
    return suggestions, kept


def _suggestion(
    given: Candidate,
    price: int,
    expected: Effect | None,
    against: Effect | None,
    steps: tuple[WaterfallStep, ...],
    binding: str | None,
) -> PriceSuggestion:
    item = given.item
    spoils = item.spoiled_above_minor is not None and price > item.spoiled_above_minor
    return PriceSuggestion(
        item_id=item.item_id,
        zone=item.zone,
        currency=item.currency,
        list_price_minor=item.list_price_minor,
        current_price_minor=item.current_price_minor,
        suggested_price_minor=price,
        expected=expected,
        against_keeping=against,
        evidence_grade=item.evidence_grade,
        elasticity=item.elasticity,
        elasticity_error=item.elasticity_error,
        unit_cost_minor=item.unit_cost_minor,
        cost_source=item.cost_source,
        binding_rule=binding,
        waterfall=steps,
        strategy=given.strategy,
        stage=item.stage,
        flags=(item.spoiled,) if spoils else (),
    )


def _waterfall(
    found: Found, place: int, ideal: int, rules: PricingRules
) -> tuple[tuple[WaterfallStep, ...], str | None]:
    """From the current price to the final one, rule by rule; and the last rule that moved the
    price."""
    given = found.given[place]
    item, choice, soft = given.item, given.choice, given.rules.soft
    if given.strategy == "optimise":
        steps = [
            WaterfallStep(
                "optimum", item.current_price_minor, ideal, False, "best price without rules"
            )
        ]
    else:
        ideal = plain_price(item, given.rules)
        steps = [
            WaterfallStep(
                given.strategy,
                item.current_price_minor,
                ideal,
                False,
                "too little evidence to optimise",
            )
        ]
    price, binding = ideal, None
    given_up = () if choice is None else choice.given_up
    note = "given up: no price satisfies all rules"
    steps += [WaterfallStep(name, price, price, False, note) for name in given_up]
    if place in found.cut:
        steps.append(
            WaterfallStep(
                ORDER, price, price, False, "given up: no two prices of neighbours go together"
            )
        )
    for limit in () if choice is None else choice.limits:
        after = limit.nearest(price)
        if after != price:
            binding = limit.rule
            steps.append(
                WaterfallStep(limit.rule, price, after, limit.rule not in soft, limit.note)
            )
        price = after
    alone, in_family, final = (found.prices[name][place] for name in ("ideal", "family", "final"))
    # What the family or the limits moved shows only where they moved it away from the item's own
    # best price.
    for rule, after, why in _joint_steps(found, place, alone, in_family, final):
        if after != price:
            steps.append(
                WaterfallStep(
                    rule, price, after, rule not in (soft if rule == ENDING else rules.soft), why
                )
            )
            binding = binding if rule == ENDING else rule
        price = after
    for each in found.solution.broken:
        note = f"not kept: {told(each, item.currency)}"
        steps.append(WaterfallStep(each.rule, price, price, each.hard, note))
    return tuple(steps), binding


def _joint_steps(
    found: Found, place: int, alone: int, in_family: int, final: int
) -> list[tuple[str, int, str]]:
    """What moves the price after the item's own bounds: its ending, its family, then the limits."""
    ending = ENDING, alone, "the best price with an allowed ending"
    steps = [ending]
    own = found.prices["alone"][place]
    if in_family != own:
        steps.append((ORDER, in_family, "packs of its family are priced in order of size"))
    elif final == own:
        return steps
    if final != in_family:
        rule = found.loudest[place]
        steps.append((rule, final, _NOTES.get(rule, "")))
    return steps


def told(broken: Broken, currency: str) -> str:
    """In words what a rule asked for and what was reached."""
    if broken.rule == CHANGES:
        return f"at most {-broken.asked:.0f} asked, {-broken.reached:.0f} is the nearest found"
    asked, reached = (to_major(round(each), currency) for each in (broken.asked, broken.reached))
    short = to_major(round(broken.asked - broken.reached), currency)
    if broken.rule == REVENUE:
        return f"at least {asked} {currency} asked, {reached} is the nearest found"
    what = "too little profit" if broken.rule == GROUP_MARGIN else "dearer than allowed"
    return f"{broken.n_groups} groups are {short} {currency} {what}, the nearest found"


def _why_kept(found: Found, place: int) -> str:
    given, prices = found.given[place], found.prices
    if given.kept is not None:
        return given.kept
    current = given.item.current_price_minor
    if prices["ideal"][place] == current:
        asked = given.choice is not None and current in given.choice.prices
        return (
            "the current price is the best allowed"
            if asked
            else "no price with an allowed ending is better"
        )
    if prices["alone"][place] == current:
        return "the gain is too small"
    if prices["family"][place] == current:
        return f"kept for the rule {ORDER}"
    return f"kept for the rule {found.loudest[place]}"


def _some(arrays: _Arrays, places: Int64Array) -> _Arrays:
    """The same columns of some items."""
    return type(arrays)(**{name: values[places] for name, values in vars(arrays).items()})
