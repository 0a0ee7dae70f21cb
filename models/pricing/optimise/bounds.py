"""What the rules of one item leave of its prices: bounds, and the ladder of prices with an allowed
ending."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from features.contracts.pricing import PricingItem
from models.pricing.rules import (
    CEILING,
    CHANGE,
    COMPETITOR,
    ENDING,
    FREQUENCY,
    LAW,
    MAP,
    MARGIN,
    REACH,
    TRIED,
    PricingRules,
)

_TINY = 1e-9  # 100 * 1.1 is 110.00000000000001
_OF_ONE_ITEM = (TRIED, CEILING, CHANGE, COMPETITOR, MARGIN, MAP, FREQUENCY, ENDING)


class PriceBound(NamedTuple):
    """What one rule allows, minor units."""

    rule: str
    lowest: float
    highest: float
    note: str

    def nearest(self, price: int) -> int:
        """The whole price within the bound that is nearest to `price`."""
        price = max(price, math.ceil(self.lowest - _TINY))
        return price if self.highest == math.inf else min(price, math.floor(self.highest + _TINY))


@dataclass(frozen=True)
class Allowed:
    """The bounds that hold, the prices within them that have an allowed ending, and the soft rules
    given up.

    keeps   whether the bounds allow the current price, whatever its ending
    """

    limits: tuple[PriceBound, ...]
    prices: Sequence[int]
    given_up: tuple[str, ...]
    keeps: bool


def bounds(item: PricingItem, rules: PricingRules) -> tuple[PriceBound, ...]:
    """The rules' bounds for one item, in the order in which the waterfall applies them."""
    return tuple(_bounds(item, rules))


def _bounds(item: PricingItem, rules: PricingRules) -> Iterator[PriceBound]:
    current = item.current_price_minor
    if item.lowest_tried_minor is not None and item.highest_tried_minor is not None:
        low = min(item.lowest_tried_minor, current) * (1 - rules.tried_margin)
        high = max(item.highest_tried_minor, current) * (1 + rules.tried_margin)
        yield PriceBound(
            TRIED, low, high, f"prices tried, {_percent(rules.tried_margin)} beyond at most"
        )
    yield PriceBound(
        CEILING,
        0,
        _ceiling(item, rules),
        f"at most {_percent(rules.max_over_list)} over the list price",
    )
    step = rules.max_change * current
    note = f"at most {_percent(rules.max_change)} from the current price"
    yield PriceBound(CHANGE, current - step, current + step, note)
    if rules.competitor is not None and item.competitor_minor is not None:
        low, high = (
            rules.competitor.lowest * item.competitor_minor,
            rules.competitor.highest * item.competitor_minor,
        )
        yield PriceBound(
            COMPETITOR, low, high, f"beside the {rules.competitor.reference} price of competitors"
        )
    floor = item.unit_cost_minor / (1 - rules.min_margin) * item.tax_divisor
    source = "assumed" if item.cost_source == "assumed" else "known"
    yield PriceBound(
        MARGIN, floor, math.inf, f"margin of {_percent(rules.min_margin)} over the {source} cost"
    )
    if item.map_minor is not None:
        yield PriceBound(MAP, item.map_minor, math.inf, "minimum advertised price")
    if item.law_floor_minor is not None:
        note = "a lower price would make the planned promotion no reduction from its prior price"
        yield PriceBound(LAW, item.law_floor_minor, math.inf, note)
    if (
        item.days_since_change is not None
        and item.days_since_change < rules.min_days_between_changes
    ):
        note = f"changed {item.days_since_change:.0f} days ago, {rules.min_days_between_changes} at least between changes"
        yield PriceBound(FREQUENCY, current, current, note)


@lru_cache(maxsize=256)
def _percent(share: float) -> str:
    return f"{share:.0%}"


def _ceiling(item: PricingItem, rules: PricingRules) -> float:
    """Over the list price before the desk moved it, which an approval cannot lift from one run to
    the next.

    A price that is above it already may stay, not rise.
    """
    current = item.current_price_minor
    if item.opening_list_price_minor is None:
        return max(item.list_price_minor, current) * (1 + rules.max_over_list)
    return max(item.opening_list_price_minor * (1 + rules.max_over_list), current)


def ladder(lowest: float, highest: float, endings: tuple[int, ...]) -> Sequence[int]:
    """All whole prices within the bounds that have an allowed ending, ascending.

    >>> list(ladder(180, 230, (9,)))
    [189, 199, 209, 219, 229]
    >>> list(ladder(180, 230, (99,)))
    [199]
    >>> list(ladder(3, 5, ()))
    [3, 4, 5]

    An ending below 10 is one digit: 9 allows 1.29, 99 allows 1.99.
    """
    first, last = max(1, math.ceil(lowest - _TINY)), math.floor(highest + _TINY)
    if not endings:
        return range(first, last + 1)
    ranges = []
    for ending in endings:
        step = 10 if ending < 10 else 100
        ranges.append(range(first + (ending - first) % step, last + 1, step))
    return ranges[0] if len(ranges) == 1 else sorted({price for each in ranges for price in each})


def allowed(item: PricingItem, rules: PricingRules) -> Allowed:
    """The prices that satisfy all rules; where there are none, soft rules are given up, the least
    important first."""
    limits, endings = bounds(item, rules), rules.endings
    given_up: tuple[str, ...] = ()
    soft = sorted(
        (name for name in rules.soft if name in _OF_ONE_ITEM), key=lambda each: rules.soft[each]
    )
    for name in (None, *soft):
        if name is not None:
            given_up = (*given_up, name)
            endings = () if name == ENDING else endings
            limits = tuple(_without(limits, name, item.current_price_minor))
        lowest, highest = -math.inf, math.inf
        for limit in limits:
            lowest = limit.lowest if limit.lowest > lowest else lowest
            highest = limit.highest if limit.highest < highest else highest
        keeps = lowest - _TINY <= item.current_price_minor <= highest + _TINY
        prices = ladder(lowest, highest, endings)
        if prices:
            break
    return Allowed(limits, prices, given_up, keeps)


def _without(limits: tuple[PriceBound, ...], name: str, current: int) -> Iterator[PriceBound]:
    for limit in limits:
        if limit.rule != name:
            yield limit
        elif name == CHANGE:
            yield PriceBound(
                "reach", current / REACH, current * REACH, "no response is known further out"
            )
