"""Price bounds and the ladder of allowed prices of one item."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from features.contracts.money import minor_digits
from features.contracts.pricing import PricingItem
from models.pricing.optimise.endings import (
    DEFAULT_ENDINGS,
    Endings,
    find_residues,
    to_step_minor,
)
from models.pricing.rules import (
    CEILING,
    CHANGE,
    COMPETITOR,
    ENDING,
    FREQUENCY,
    LAW,
    MAP,
    MARGIN,
    MAX_PRICE_RATIO,
    TRIED,
    UNTESTED,
    PricingRules,
)

_TINY = 1e-9  # 100 * 1.1 is 110.00000000000001
_ITEM_RULES = (TRIED, CEILING, CHANGE, UNTESTED, COMPETITOR, MARGIN, MAP, FREQUENCY, ENDING)


class PriceBound(NamedTuple):
    """What one rule allows, minor units."""

    rule: str
    lowest: float
    highest: float
    note: str

    def clamp(self, price: int) -> int:
        """Return the whole price within the bound that is nearest to `price`."""
        price = max(price, math.ceil(self.lowest - _TINY))
        return price if self.highest == math.inf else min(price, math.floor(self.highest + _TINY))


@dataclass(frozen=True)
class AllowedPrices:
    """The result of an item's rules.

    bounds           the bounds that apply
    prices           the prices within them that have an allowed ending, ascending
    given_up         the soft rules given up, since no price satisfied all
    allows_current   whether the bounds allow the current price, whatever its ending
    """

    bounds: tuple[PriceBound, ...]
    prices: Sequence[int]
    given_up: tuple[str, ...]
    allows_current: bool


def list_bounds(item: PricingItem, rules: PricingRules) -> tuple[PriceBound, ...]:
    """Return the rules' bounds for one item, in the order in which the waterfall applies them."""
    return tuple(_generate_bounds(item, rules))


def _generate_bounds(item: PricingItem, rules: PricingRules) -> Iterator[PriceBound]:
    current = item.current_price_minor
    if item.lowest_tried_minor is not None and item.highest_tried_minor is not None:
        low = min(item.lowest_tried_minor, current) * (1 - rules.tried_margin)
        high = max(item.highest_tried_minor, current) * (1 + rules.tried_margin)
        note = f"prices tried, {_format_percent(rules.tried_margin)} beyond at most"
        yield PriceBound(TRIED, low, high, note)
    note = f"at most {_format_percent(rules.max_over_list)} over the list price"
    yield PriceBound(CEILING, 0, _find_ceiling(item, rules), note)
    step = rules.max_change * current
    note = f"at most {_format_percent(rules.max_change)} from the current price"
    yield PriceBound(CHANGE, current - step, current + step, note)
    if item.n_regular_changes == 0:
        step = rules.untested_step * current
        note = f"its regular price never moved: {_format_percent(rules.untested_step)} at most"
        yield PriceBound(UNTESTED, current - step, current + step, note)
    if rules.competitor is not None and item.competitor_minor is not None:
        low = rules.competitor.lowest * item.competitor_minor
        high = rules.competitor.highest * item.competitor_minor
        note = f"beside the {rules.competitor.reference} price of competitors"
        yield PriceBound(COMPETITOR, low, high, note)
    source = "assumed" if item.cost_source == "assumed" else "known"
    yield make_margin_bound(item.unit_cost_minor, source, item.tax_divisor, rules)
    if item.map_minor is not None:
        yield make_map_bound(item.map_minor)
    if item.law_floor_minor is not None:
        note = "a lower price would make the planned promotion no reduction from its prior price"
        yield PriceBound(LAW, item.law_floor_minor, math.inf, note)
    days = item.days_since_change
    if days is not None and days < rules.min_days_between_changes:
        note = (
            f"changed {days:.0f} days ago, {rules.min_days_between_changes} at least "
            "between changes"
        )
        yield PriceBound(FREQUENCY, current, current, note)


def make_margin_bound(
    unit_cost_minor: float, source: str, tax_divisor: float, rules: PricingRules
) -> PriceBound:
    """Return what the margin rule allows at a cost, net of tax, from that source."""
    floor = unit_cost_minor / (1 - rules.min_margin) * tax_divisor
    note = f"margin of {_format_percent(rules.min_margin)} over the {source} cost"
    return PriceBound(MARGIN, floor, math.inf, note)


def make_map_bound(map_minor: int) -> PriceBound:
    """Return what a minimum advertised price allows."""
    return PriceBound(MAP, map_minor, math.inf, "minimum advertised price")


@lru_cache(maxsize=256)
def _format_percent(share: float) -> str:
    return f"{share:.0%}"


def _find_ceiling(item: PricingItem, rules: PricingRules) -> float:
    """Return the highest price by the list price that the price desk has not changed.

    So approvals cannot raise the ceiling from one run to the next. A price that is above it already
    may stay, not rise.
    """
    current = item.current_price_minor
    if item.opening_list_price_minor is None:
        return max(item.list_price_minor, current) * (1 + rules.max_over_list)
    return max(item.opening_list_price_minor * (1 + rules.max_over_list), current)


def build_ladder(
    lowest: float, highest: float, endings: Endings, digits: int = 2, step_minor: int = 1
) -> Sequence[int]:
    """Return all whole prices within the bounds that have an allowed ending, ascending.

    `digits` are those of the currency after the point, `step_minor` the smallest step of prices.

    >>> list(build_ladder(180, 230, ("9",)))
    [189, 199, 209, 219, 229]
    >>> list(build_ladder(180, 230, (".99",)))
    [199]
    >>> list(build_ladder(3, 5, ()))
    [3, 4, 5]
    >>> list(build_ladder(106_000, 109_000, ("9.00",), step_minor=100))
    [106900, 107900, 108900]
    """
    first, last = max(1, math.ceil(lowest - _TINY)), math.floor(highest + _TINY)
    modulus, residues = find_residues(endings, digits, step_minor)
    ladders = [range(first + (rest - first) % modulus, last + 1, modulus) for rest in residues]
    if len(ladders) == 1:
        return ladders[0]
    return sorted(set().union(*ladders))


def find_allowed_prices(item: PricingItem, rules: PricingRules) -> AllowedPrices:
    """Return the prices that satisfy all rules of the item.

    Where there are none, soft rules are given up, the least important first, until there are.
    """
    bounds = list_bounds(item, rules)
    endings = DEFAULT_ENDINGS if rules.endings is None else rules.endings
    digits = minor_digits(item.currency)
    step_minor = to_step_minor(rules.price_step, item.currency)
    given_up: tuple[str, ...] = ()
    soft_rules = sorted(
        (name for name in rules.soft if name in _ITEM_RULES), key=lambda name: rules.soft[name]
    )
    for name in (None, *soft_rules):
        if name is not None:
            given_up = (*given_up, name)
            endings = () if name == ENDING else endings
            bounds = tuple(_drop_rule(bounds, name, item.current_price_minor))
        lowest, highest = -math.inf, math.inf
        for bound in bounds:
            lowest = bound.lowest if bound.lowest > lowest else lowest
            highest = bound.highest if bound.highest < highest else highest
        allows_current = lowest - _TINY <= item.current_price_minor <= highest + _TINY
        prices = build_ladder(lowest, highest, endings, digits, step_minor)
        if prices:
            break
    return AllowedPrices(bounds, prices, given_up, allows_current)


def _drop_rule(bounds: tuple[PriceBound, ...], name: str, current: int) -> Iterator[PriceBound]:
    for bound in bounds:
        if bound.rule != name:
            yield bound
        elif name == CHANGE:
            yield PriceBound(
                "reach",
                current / MAX_PRICE_RATIO,
                current * MAX_PRICE_RATIO,
                "no response is known further out",
            )
