"""The lowest prices that the rules allow an item for a time: its margin and its advertised price.

The other rules of an item (steps, endings, tried prices) are about its usual price.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from models.pricing.optimise.bounds import PriceBound, make_map_bound, make_margin_bound
from models.pricing.rules import MAP, MARGIN, PricingRules

# The rules that a promotion is held against.
PROMOTION_RULES = (MARGIN, MAP)


class ItemFloors(NamedTuple):
    """The bounds of an item from below, minor units.

    hard          those of hard rules
    soft          those of rules that may be given up
    cost_known    whether the margin rule could be asked: it is not asked of an assumed cost
    """

    hard: tuple[PriceBound, ...]
    soft: tuple[PriceBound, ...]
    cost_known: bool


def find_item_floors(
    rules: PricingRules, unit_cost_minor: float | None, map_minor: int | None, tax_divisor: float
) -> ItemFloors:
    """Return the floors of an item by its known cost (net of tax) and minimum advertised price.

    >>> floors = find_item_floors(PricingRules(min_margin=0.2), 80.0, None, 1.1)
    >>> round(floors.hard[0].lowest)
    110
    """

    def list_floors() -> Iterator[PriceBound]:
        if unit_cost_minor is not None:
            yield make_margin_bound(unit_cost_minor, "known", tax_divisor, rules)
        if map_minor is not None:
            yield make_map_bound(map_minor)

    floors = tuple(list_floors())
    return ItemFloors(
        hard=tuple(bound for bound in floors if bound.rule not in rules.soft),
        soft=tuple(bound for bound in floors if bound.rule in rules.soft),
        cost_known=unit_cost_minor is not None,
    )


def is_below(price_minor: float, bound: PriceBound) -> bool:
    """Return whether a price is below what a bound allows."""
    return price_minor < bound.lowest and not math.isclose(price_minor, bound.lowest)
