"""Pricing rules: bounds that no suggestion leaves, and the endings that prices may have."""

from __future__ import annotations

import math
from dataclasses import dataclass

from features.contracts.errors import BadInput
from features.contracts.pricing import EvidenceGrade, Objective, PricingItem


@dataclass(frozen=True)
class PricingRules:
    """One file in configs/pricing.

    objective          what a price is best at over `horizon_weeks`
    max_change         largest change of the offer price, a share of it
    min_margin         least margin, a share of the net price (the cost floor is a margin of 0)
    tried_margin       how far beyond the range of prices tried a suggestion may go, a share
    max_over_list      ceiling over the list price, a share; the list price moves with a regular price
    endings            last two digits that a price may have; empty allows all
    min_grade          items with less evidence keep their price
    min_gain           least expected gain, a share of the objective at the current price
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

    def __post_init__(self) -> None:
        if not 0 < self.max_change < 1 or not 0 <= self.min_margin < 1:
            raise BadInput("max_change lies in 0..1, min_margin in 0..1", where="pricing rules")
        if any(not 0 <= ending <= 99 for ending in self.endings):
            raise BadInput("endings are the last two digits of a price, 0 to 99", where="pricing rules")


@dataclass(frozen=True)
class PriceBound:
    """What one hard rule allows, minor units."""

    rule: str
    lowest: float
    highest: float
    note: str


def bounds(item: PricingItem, rules: PricingRules) -> tuple[PriceBound, ...]:
    """The hard rules' bounds for one item, in the order in which the waterfall applies them."""
    current = item.current_price_minor
    tried = []
    if item.lowest_tried_minor is not None and item.highest_tried_minor is not None:
        low = min(item.lowest_tried_minor, current) * (1 - rules.tried_margin)
        high = max(item.highest_tried_minor, current) * (1 + rules.tried_margin)
        tried.append(PriceBound("tried range", low, high, f"prices tried, {rules.tried_margin:.0%} beyond at most"))
    ceiling = max(item.list_price_minor, current) * (1 + rules.max_over_list)
    floor = item.unit_cost_minor / (1 - rules.min_margin) * item.tax_divisor
    source = "assumed" if item.cost_source == "assumed" else "known"
    return (
        *tried,
        PriceBound("ceiling", 0, ceiling, f"at most {rules.max_over_list:.0%} over the list price"),
        PriceBound(
            "maximum change",
            current * (1 - rules.max_change),
            current * (1 + rules.max_change),
            f"at most {rules.max_change:.0%} from the current price",
        ),
        PriceBound("margin floor", floor, math.inf, f"margin of {rules.min_margin:.0%} over the {source} cost"),
    )


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
    first, last = max(1, math.ceil(lowest - 1e-9)), math.floor(highest + 1e-9)
    if not endings:
        return list(range(first, last + 1))
    return [price for price in range(first, last + 1) if _ends(price, endings)]


def _ends(price: int, endings: tuple[int, ...]) -> bool:
    return any(price % (10 if ending < 10 else 100) == ending for ending in endings)
