"""One price per item: together the best within the rules, each with the waterfall that led to
it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array
from features.contracts.pricing import Objective, PriceSuggestion, PricingItem
from models.pricing.optimise.aggregate_limits import limits, most_changes
from models.pricing.optimise.chain_programme import ChainProgramme
from models.pricing.optimise.item_choices import Candidate, candidates, keeping
from models.pricing.optimise.objective import Aims, Columns, worth
from models.pricing.optimise.pack_families import Ordered, ordered
from models.pricing.optimise.problem import Choices, Problem, best_in_windows, flat
from models.pricing.optimise.solver import Broken, solve
from models.pricing.optimise.waterfall import Found, explain
from models.pricing.rules import CHANGES, ORDER, PricingRules

NO_ORDER = "no price satisfies the family order"


@dataclass(frozen=True)
class Outcome:
    """What the search as a whole came to.

    value      of all items at the prices found, by the objective, less what each change must at
               least gain
    keeping    of all items at their present prices
    bound      no prices within the same rules are worth more
    gap        bound less value, a share of the bound
    broken     rules of many items that could not be kept
    """

    value: float
    keeping: float
    bound: float
    gap: float
    n_steps: int
    broken: tuple[Broken, ...]


@dataclass(frozen=True)
class Suggested:
    """The suggestions, largest gain first, and how many items keep their price, by reason."""

    suggestions: tuple[PriceSuggestion, ...]
    kept: Counter[str]
    outcome: Outcome


def suggest(
    items: Sequence[PricingItem],
    rules: PricingRules,
    presets: Mapping[str, PricingRules] | None = None,
) -> Suggested:
    """A price for every item whose best price is another than the current one.

    `presets` holds the rules of items in a lifecycle stage; what concerns many items (limits,
    families, priorities) is told by `rules`. The same input gives the same output, to the minor
    unit, in any order of the items.
    """
    if not items:
        return Suggested((), Counter(), Outcome(0.0, 0.0, 0.0, 0.0, 0, ()))
    given = sorted(
        candidates(items, rules, presets or {}),
        key=lambda each: (each.item.item_id, each.item.zone),
    )
    given = _within_cap(given, rules)
    given, families = _in_families(given, rules)
    given = [given[place] for place in families.order]
    found, outcome = _search(given, families, rules)
    suggestions, kept = explain(found, rules)
    suggestions.sort(key=lambda each: (-gain(each, rules.objective), each.item_id, each.zone))
    return Suggested(tuple(suggestions), kept, outcome)


def gain(suggestion: PriceSuggestion, objective: Objective) -> float:
    """Expected gain in the objective against keeping the price: units, or minor units; 0 where it
    is unknown."""
    effect = suggestion.against_keeping
    if effect is None:
        return 0.0
    if objective is Objective.UNITS:
        return effect.units.p50
    of_revenue = objective is Objective.REVENUE or objective is Objective.SELL_THROUGH
    return effect.revenue.p50 if of_revenue else effect.profit.p50


def _within_cap(given: list[Candidate], rules: PricingRules) -> list[Candidate]:
    """Lets wait what a cap on changes leaves no room for, those nearest to the price they should
    have.

    Prices that break a rule wait where the cap is hard. Prices of a plain strategy have no value
    that others could be weighed against: of the room that is left they get the share that they are
    of all items that may change.
    """
    most = most_changes(rules, len(given))
    if most is None:
        return given
    broken = [
        place
        for place, each in enumerate(given)
        if each.must_change and each.strategy == "optimise"
    ]
    plain = [place for place, each in enumerate(given) if each.strategy != "optimise"]
    others = sum(len(each.prices) > 1 and not each.must_change for each in given)
    first = broken if CHANGES in rules.soft else _farthest(given, broken, most)
    room = max(most - len(first), 0)
    share = room * len(plain) / max(len(plain) + others, 1)
    made = {*first, *_farthest(given, plain, round(share))}
    waiting = {*broken, *plain} - made
    reason = f"kept for the rule {CHANGES}"
    return [keeping(each, reason) if place in waiting else each for place, each in enumerate(given)]


def _farthest(given: list[Candidate], places: list[int], most: int) -> list[int]:
    return sorted(places, key=lambda place: -_distance(given[place]))[:most]


def _distance(given: Candidate) -> float:
    """How far the present price is from the nearest allowed one, a share of it."""
    current = given.item.current_price_minor
    return min(abs(price - current) for price in (given.prices[0], given.prices[-1])) / current


def _in_families(given: list[Candidate], rules: PricingRules) -> tuple[list[Candidate], Ordered]:
    """The families in order; where the order is hard and cannot be kept, the two concerned keep
    their prices."""
    items = [each.item for each in given]
    found = ordered(items, [each.prices for each in given], rules.family)
    if not found.cut or ORDER in rules.soft:
        return given, found
    held = {place for pair in found.cut for place in pair}
    given = [
        keeping(each, NO_ORDER) if place in held and not each.kept else each
        for place, each in enumerate(given)
    ]
    return given, ordered(items, [each.prices for each in given], rules.family)


def _search(
    given: list[Candidate], families: Ordered, rules: PricingRules
) -> tuple[Found, Outcome]:
    items = [each.item for each in given]
    columns = Columns.of(items)
    aims = Aims.of([each.rules for each in given])
    starts, prices = flat([each.prices for each in given])
    bare = Choices(starts, prices, np.zeros(len(prices)))
    value = worth(columns, aims, bare.item, prices.astype(np.float64))
    now = worth(columns, aims, np.arange(len(items)), columns.current)
    threshold = np.array(
        [
            max(each.rules.min_gain * abs(v), each.rules.min_gain_minor)
            for each, v in zip(given, now, strict=True)
        ]
    )
    changed = prices != columns.current[bare.item]
    choices = Choices(starts, prices, value - changed * threshold[bare.item])
    problem = Problem(choices, families.links, limits(items, columns, bare, rules))
    solution = solve(problem, rules.soft)
    alone = best_in_windows(choices.value, starts[:-1], starts[1:])
    in_family, _ = ChainProgramme(choices, families.links).best(choices.value)
    found = Found(
        given,
        columns,
        aims,
        problem,
        alone,
        in_family,
        solution,
        _best_price(value, starts),
        _cut(families),
    )
    outcome = Outcome(
        solution.value,
        float(now.sum()),
        solution.bound,
        solution.gap,
        solution.n_steps,
        solution.broken,
    )
    return found, outcome


def _best_price(value: Float64Array, starts: Int64Array) -> Int64Array:
    """The best choice of each item were every change worth its label (n,)."""
    return best_in_windows(value, starts[:-1], starts[1:])


def _cut(families: Ordered) -> frozenset[int]:
    """The places of items whose order with a neighbour was given up."""
    place_of = {int(number): place for place, number in enumerate(families.order)}
    return frozenset(place_of[number] for pair in families.cut for number in pair)
