"""Pricing rules: bounds that no suggestion leaves, and the endings that prices may have."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from features.contracts.errors import BadInput, UnknownName
from features.contracts.pricing import EvidenceGrade, Objective, PricingItem

TRIED, CEILING, CHANGE, MARGIN, ENDING = "tried range", "ceiling", "maximum change", "margin floor", "ending"
NAMES = (TRIED, CEILING, CHANGE, MARGIN, ENDING)
# A slope holds nowhere further from the current price than this factor, whatever rules are given up.
REACH = 2.0
_TINY = 1e-9  # 100 * 1.1 is 110.00000000000001


@dataclass(frozen=True)
class PricingRules:
    """One file in configs/pricing.

    objective          what a price is best at over `horizon_weeks`
    max_change         largest change of the offer price, a share of it
    min_margin         least margin, a share of the net price (the cost floor is a margin of 0)
    tried_margin       how far beyond the range of prices tried a suggestion may go, a share
    max_over_list      ceiling over the list price that the shop set itself, a share; approved prices do not lift it
    endings            last two digits that a price may have; empty allows all
    min_grade          items with less evidence keep their price
    min_gain           least expected gain, a share of the objective at the current price
    soft               rules given up, the first first, where no price satisfies all; every other rule is hard
    """

    objective: Objective = Objective.PROFIT
    horizon_weeks: int = 4
    max_change: float = 0.1
    min_margin: float = 0.05
    tried_margin: float = 0.05
    max_over_list: float = 0.1
    endings: tuple[int, ...] = (9,)
    min_grade: EvidenceGrade = EvidenceGrade.B
    min_gain: float = 0.005
    soft: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.max_change < 1 or not 0 <= self.min_margin < 1:
            raise BadInput("max_change lies in 0..1, min_margin in 0..1", where="pricing rules")
        if any(not 0 <= ending <= 99 for ending in self.endings):
            raise BadInput("endings are the last two digits of a price, 0 to 99", where="pricing rules")
        if min(self.tried_margin, self.max_over_list, self.min_gain) < 0 or self.horizon_weeks < 1:
            raise BadInput("tried_margin, max_over_list and min_gain are at least 0, horizon_weeks at least 1")
        if self.min_grade == EvidenceGrade.D:
            raise BadInput(
                "min_grade is A, B or C: of grade D nothing is known",
                where="pricing rules",
                hint="Test the price first",
            )
        for name in self.soft:
            if name not in NAMES:
                raise UnknownName(name, NAMES, kind="rule")


@dataclass(frozen=True)
class PriceBound:
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
    """The bounds that hold, the prices within them that have an allowed ending, and the soft rules given up."""

    limits: tuple[PriceBound, ...]
    prices: tuple[int, ...]
    given_up: tuple[str, ...]


def bounds(item: PricingItem, rules: PricingRules) -> tuple[PriceBound, ...]:
    """The rules' bounds for one item, in the order in which the waterfall applies them."""
    current = item.current_price_minor
    tried = []
    if item.lowest_tried_minor is not None and item.highest_tried_minor is not None:
        low = min(item.lowest_tried_minor, current) * (1 - rules.tried_margin)
        high = max(item.highest_tried_minor, current) * (1 + rules.tried_margin)
        tried.append(PriceBound(TRIED, low, high, f"prices tried, {rules.tried_margin:.0%} beyond at most"))
    ceiling = _ceiling(item, rules)
    floor = item.unit_cost_minor / (1 - rules.min_margin) * item.tax_divisor
    source = "assumed" if item.cost_source == "assumed" else "known"
    return (
        *tried,
        PriceBound(CEILING, 0, ceiling, f"at most {rules.max_over_list:.0%} over the list price"),
        PriceBound(
            CHANGE,
            current * (1 - rules.max_change),
            current * (1 + rules.max_change),
            f"at most {rules.max_change:.0%} from the current price",
        ),
        PriceBound(MARGIN, floor, math.inf, f"margin of {rules.min_margin:.0%} over the {source} cost"),
    )


def _ceiling(item: PricingItem, rules: PricingRules) -> float:
    """Over the list price before the desk moved it, which an approval cannot lift from one run to the next.

    A price that is above it already may stay, not rise.
    """
    current = item.current_price_minor
    if item.opening_list_price_minor is None:
        return max(item.list_price_minor, current) * (1 + rules.max_over_list)
    return max(item.opening_list_price_minor * (1 + rules.max_over_list), current)


def ladder(lowest: float, highest: float, endings: tuple[int, ...]) -> list[int]:
    """All whole prices within the bounds that have an allowed ending, ascending.

    >>> ladder(180, 230, (9,))
    [189, 199, 209, 219, 229]
    >>> ladder(180, 230, (99,))
    [199]
    >>> ladder(3, 5, ())
    [3, 4, 5]

    An ending below 10 is one digit: 9 allows 1.29, 99 allows 1.99.
    """
    first, last = max(1, math.ceil(lowest - _TINY)), math.floor(highest + _TINY)
    if not endings:
        return list(range(first, last + 1))
    steps = [(ending, 10 if ending < 10 else 100) for ending in endings]
    return sorted({price for ending, step in steps for price in range(first + (ending - first) % step, last + 1, step)})


def allowed(item: PricingItem, rules: PricingRules) -> Allowed:
    """The prices that satisfy all rules; where there are none, soft rules are given up one after the other."""
    limits, endings = bounds(item, rules), rules.endings
    given_up: tuple[str, ...] = ()
    for name in (None, *rules.soft):
        if name is not None:
            given_up = (*given_up, name)
            endings = () if name == ENDING else endings
            limits = tuple(_without(limits, name, item.current_price_minor))
        prices = ladder(max(limit.lowest for limit in limits), min(limit.highest for limit in limits), endings)
        if prices:
            return Allowed(limits, tuple(prices), given_up)
    return Allowed(limits, (), given_up)


def _without(limits: Iterable[PriceBound], name: str, current: int) -> Iterator[PriceBound]:
    for limit in limits:
        if limit.rule != name:
            yield limit
        elif name == CHANGE:
            yield PriceBound("reach", current / REACH, current * REACH, "no response is known further out")
