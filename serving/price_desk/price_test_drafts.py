"""Drafts of price tests: which items to test, the prices that chance gives them, and the cost.

A crossover has the items whose tests are expected to bring more than they cost. The items of a
switchback and the new prices of a roll-out are those that a person names: its plan says what it
costs, and the error that it leaves.

The planner is imported by the first plan: a server should be ready before that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from features.contracts.errors import BadInput, NotFound
from features.contracts.pricing import PriceTestDesign, PricingItem
from features.contracts.seeds import generator
from features.database import reading
from features.prices.stored_tests import Json
from models.pricing.rules import AssortmentPart, select_rules
from serving.price_desk.checked_prices import HOLD, ItemUnderRules, find_broken
from serving.price_desk.filters import SuggestionFilter
from serving.price_desk.price_grids import find_grid, use_grid
from serving.price_desk.price_test_plans import SWITCHBACK_PERIODS, PlanOrder
from serving.price_desk.repository import Suggestion, Suggestions
from serving.price_desk.states import OPEN

if TYPE_CHECKING:
    from experiments.designs.portfolio import KnownItems, PlannedTest
    from experiments.designs.price_designs import Periods
    from experiments.designs.price_test import PriceTest
    from experiments.designs.requested_tests import ChosenUnits
    from experiments.designs.tested_units import ItemZone, PriceUnit
    from serving.pricing_inputs.items import PricedZone, PricingInputs

_MOST_STEPS = 4  # of a roll-out where nobody says how many


@dataclass(frozen=True)
class DraftedTest:
    """A test, None where none is advised, and what is expected of it, as JSON values.

    titles   by item id, "" without one
    """

    test: PriceTest | None
    expected: Json
    titles: Mapping[str, str]


@dataclass(frozen=True)
class _OrderedItems:
    """The items of an order, zone by zone, and what they were read from.

    priced   with the prices of the ledger, by zone
    titles   by item id, "" without one
    """

    order: PlanOrder
    items: Sequence[PricingItem]
    inputs: Mapping[str, PricingInputs]
    priced: Mapping[str, PricedZone]
    titles: Mapping[str, str]

    @property
    def first(self) -> PricingInputs:
        """The inputs of the first zone: rules and seed are those of the shop."""
        return self.inputs[self.order.zones[0]]

    @property
    def first_zone(self) -> PricedZone:
        """The first zone with its prices: the only one of a roll-out."""
        return self.priced[self.order.zones[0]]

    def describe_known(self) -> KnownItems:
        """Return the items with the errors that their slopes have in common."""
        from experiments.designs.portfolio import KnownItems

        shop_error, category_error = [], []
        for zone, inputs in self.inputs.items():
            item_ids = [item.item_id for item in self.items if item.zone == zone]
            of_shop, of_category = inputs.pricing_model.find_shared_errors(item_ids, zone)
            shop_error.append(of_shop)
            category_error.append(of_category)
        return KnownItems(self.items, np.concatenate(shop_error), np.concatenate(category_error))

    def draw_test(self, units: Sequence[PriceUnit], periods: Periods) -> PriceTest:
        """Return the test of some units, with the prices that chance gives them.

        What the other items of a unit add to a slope is known for a crossover, where they are the
        rest of a family.
        """
        from experiments.designs.price_test import assign_prices
        from experiments.designs.tested_units import sum_cross_effects

        cross: dict[ItemZone, float] = {}
        is_crossover = self.order.design is PriceTestDesign.CROSSOVER
        for zone, inputs in self.inputs.items() if is_crossover else ():
            item_ids = [item.item_id for item in self.items if item.zone == zone]
            effects = inputs.pricing_model.find_cross_elasticities(item_ids, zone)
            cross |= sum_cross_effects(effects, [(item_id, zone) for item_id in item_ids], units)
        about = self.first
        seed = int(generator(about.settings.seed, about.now.isoformat()).integers(1 << 31))
        return assign_prices(self.order.design, units, periods, cross, seed)


def draft_test(read_inputs: Callable[[str], PricingInputs], order: PlanOrder) -> DraftedTest:
    """Return the test of an order with its prices drawn; items that are under test are left out.

    `read_inputs` returns what the prices of a zone are computed from. Raises NotFound where no item
    has a price and a forecast, and BadInput for what the design cannot have.
    """
    ordered = _read_items(read_inputs, order)
    if order.design is PriceTestDesign.CROSSOVER:
        return _draft_crossover(ordered)
    return _draft_requested(ordered)


def describe_units(tests: Sequence[PlannedTest]) -> list[Json]:
    """Return what each unit of a plan is expected to cost and to leave, as JSON values; null for an
    error that is not known."""
    return [
        {
            "name": test.unit.name,
            "cost": test.cost,
            "error_now": _drop_unknown(test.error_now),
            "error_after": _drop_unknown(test.error_after),
            "prices": [asdict(prices) for prices in test.unit.prices],
        }
        for test in tests
    ]


def _read_items(read_inputs: Callable[[str], PricingInputs], order: PlanOrder) -> _OrderedItems:
    from serving.pricing_inputs.items import read_priced_zone

    zones = order.zones
    inputs = {zone: read_inputs(zone) for zone in zones}
    currencies = {inputs[zone].settings.zone(zone).currency for zone in zones}
    if len(currencies) > 1:
        raise BadInput(
            f"the zones have prices in {', '.join(sorted(currencies))}",
            where="zones",
            hint="Test zones of one currency together",
        )
    items: list[PricingItem] = []
    titles: dict[str, str] = {}
    priced = {zone: read_priced_zone(inputs[zone], zone) for zone in zones}
    for zone, of_zone in priced.items():
        in_zone = _choose_items(of_zone, order)
        titles |= {item.item_id: of_zone.terms[item.item_id].title or "" for item in in_zone}
        if not in_zone:
            raise NotFound(
                f"no item of zone {zone} has a price and a forecast"
                + (" among those that are named" if order.categories or order.item_ids else ""),
                hint="Import prices, and train: shopwright train demand",
            )
        items += in_zone
    return _OrderedItems(order, items, inputs, priced, titles)


def _choose_items(priced: PricedZone, order: PlanOrder) -> list[PricingItem]:
    """Return the items that an order is about, with the rest of their families; all items where it
    names none."""
    if not order.categories and not order.item_ids:
        return list(priced.items)
    named_ids = set(order.item_ids)
    named = [
        item
        for item in priced.items
        if item.item_id in named_ids
        or any(
            item.category == category or item.category.startswith(f"{category} > ")
            for category in order.categories
        )
    ]
    ids = {item.item_id for item in named}
    families = {item.family_id for item in named if item.family_id}
    return [item for item in priced.items if item.item_id in ids or item.family_id in families]


def _draft_crossover(ordered: _OrderedItems) -> DraftedTest:
    """Return the portfolio that is expected to bring the most beyond its cost, as a crossover."""
    from experiments.designs.portfolio import ProgrammeLimits, plan_tests

    order, inputs = ordered.order, ordered.first
    limits = ProgrammeLimits(max_items=order.max_items, value_weeks=order.weeks)
    portfolio = plan_tests(ordered.describe_known(), inputs.rules, limits, inputs.presets)
    expected = {
        "weeks": portfolio.periods.n_weeks,
        "n_items": portfolio.n_items,
        "value": portfolio.value,
        "cost": portfolio.cost,
        "net": portfolio.net,
        "reasons": dict(portfolio.reasons),
        "units": describe_units(portfolio.tests),
    }
    if not portfolio.tests:
        return DraftedTest(None, expected, ordered.titles)
    units = [planned.unit for planned in portfolio.tests]
    return DraftedTest(ordered.draw_test(units, portfolio.periods), expected, ordered.titles)


def _draft_requested(ordered: _OrderedItems) -> DraftedTest:
    """Return a switchback or a roll-out, with its cost and the error that it leaves."""
    from experiments.designs.decision_value import PriceDecisions
    from experiments.designs.portfolio import ProgrammeLimits
    from experiments.designs.requested_tests import expect_costs, expect_error

    waiting: Sequence[Suggestion] = ()
    if ordered.order.design is PriceTestDesign.SWITCHBACK:
        chosen, periods = _choose_zones(ordered)
    else:
        waiting = _read_waiting(ordered.first, ordered.order.zones[0])
        chosen, periods = _choose_categories(ordered, waiting)
    known, inputs = ordered.describe_known(), ordered.first
    decisions = PriceDecisions.build(known.items, inputs.rules, inputs.presets)
    test: PriceTest | None = None
    planned: tuple[PlannedTest, ...] = ()
    error: float | None = None
    limits = ProgrammeLimits()
    if chosen.units:
        test = ordered.draw_test(chosen.units, periods)
        planned = expect_costs(known, decisions, test, chosen.units, limits)
        error = expect_error(known.items, decisions.units, test, limits.noise)
    tested = set() if test is None else set(test.item_ids)
    expected: Json = {
        "weeks": periods.n_weeks,
        "n_items": len(tested),
        "value": None,
        "cost": sum(unit.cost for unit in planned),
        "net": None,
        "error": error,
        "reasons": dict(chosen.reasons),
        "units": describe_units(planned),
        # What the first filing takes from the queue.
        "taken": [suggestion.id for suggestion in waiting if suggestion.item_id in tested],
    }
    return DraftedTest(test, expected, ordered.titles)


def _choose_zones(ordered: _OrderedItems) -> tuple[ChosenUnits, Periods]:
    from experiments.designs.requested_tests import choose_zone_units

    order, inputs = ordered.order, ordered.first
    chosen = choose_zone_units(ordered.items, inputs.rules, inputs.presets, order.max_items)
    return chosen, order.build_periods(SWITCHBACK_PERIODS)


def _choose_categories(
    ordered: _OrderedItems, waiting: Sequence[Suggestion]
) -> tuple[ChosenUnits, Periods]:
    """Return the categories of the items with a price that waits, and the periods of a roll-out."""
    from experiments.designs.requested_tests import choose_category_units

    # Of several for one item the newest: they are in order.
    new_prices = {suggestion.item_id: suggestion.suggested_price_minor for suggestion in waiting}
    forbidden = _find_forbidden(ordered, new_prices)
    chosen = choose_category_units(ordered.items, new_prices, forbidden)
    if len(chosen.units) == 1:
        raise BadInput(
            "a stepped roll-out compares two categories or more, and prices wait in one",
            where="categories",
            hint="Approve the prices on the desk, or test them in a crossover",
        )
    n_steps = min(len(chosen.units), _MOST_STEPS)
    return chosen, ordered.order.build_periods(max(n_steps, 2) + 1)


def _read_waiting(inputs: PricingInputs, zone: str) -> list[Suggestion]:
    """Return the regular prices that wait on the desk for a decision, oldest first."""
    criteria = SuggestionFilter(status=OPEN, zone=zone)
    with reading(inputs.engine) as connection:
        waiting = Suggestions(connection).matching(criteria, reasons=False)
    return [suggestion for suggestion in waiting if suggestion.kind == "regular"]


def _find_forbidden(ordered: _OrderedItems, new_prices: Mapping[str, int]) -> dict[str, str]:
    """Return the rules that new prices break, by item: their filing would refuse them."""
    inputs, priced = ordered.first, ordered.first_zone
    grid = find_grid(inputs, priced.zone, [p.list_price_minor for p in priced.prices.values()])
    forbidden = {}
    for item in ordered.items:
        if item.item_id not in new_prices:
            continue
        of_stage = select_rules(inputs.rules, inputs.presets.get(item.stage or ""))
        rules = use_grid(of_stage.apply_scopes(AssortmentPart.of(item)), grid)
        terms, price = priced.terms[item.item_id], priced.prices[item.item_id]
        under = ItemUnderRules(item, rules, terms, price)
        broken, _ = find_broken(under, new_prices[item.item_id])
        if names := sorted(broken.keys() - {HOLD}):
            forbidden[item.item_id] = ", ".join(names)
    return forbidden


def _drop_unknown(value: float) -> float | None:
    return value if math.isfinite(value) else None
