"""What to try where too little is known of a price: a test that would tell, for items that get no suggestion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from features.contracts.pricing import EvidenceGrade, PricingItem
from models.pricing.bounds import allowed
from models.pricing.rules import PricingRules

_ENOUGH = 0.6  # standard error of the slope that an item needs for grade B
_NOISE = 0.1  # variance of weekly log units beyond the Poisson part
_LONGEST = 36  # weeks; what takes longer is no test of one item
_SHORTEST = 4
_LEAST_MOVE = 0.03


@dataclass(frozen=True)
class PriceTest:
    """Two prices to charge in turn, week by week, each as often as the other, in an order drawn by lot.

    weeks         after which the standard error of the slope is `error_after`
    """

    item_id: str
    zone: str
    currency: str
    evidence_grade: EvidenceGrade
    current_price_minor: int
    lower_price_minor: int
    higher_price_minor: int
    weeks: int
    error_now: float
    error_after: float


def propose_tests(items: Sequence[PricingItem], rules: PricingRules) -> list[PriceTest]:
    """A test for every item whose evidence is too little for a suggestion, the fastest seller first.

    None for items whose rules leave no two prices apart, and for those that sell too little for one item's test to tell
    anything within 36 weeks: these are better tested as a family.
    """
    found = [test for item in items if (test := _test(item, rules)) is not None]
    units = {(item.item_id, item.zone): item.units_mean for item in items}
    return sorted(found, key=lambda each: (-units[each.item_id, each.zone], each.item_id, each.zone))


def _test(item: PricingItem, rules: PricingRules) -> PriceTest | None:
    known = item.evidence_grade <= rules.min_grade and not math.isnan(item.elasticity)
    if known or item.hold or item.units_mean <= 0:
        return None
    prices = allowed(item, rules).prices
    if len(prices) < 2 or math.log(prices[-1] / prices[0]) < _LEAST_MOVE:
        return None
    lower, higher = prices[0], prices[-1]
    # Half of the weeks at each price: the log price is half the distance from its mean, either way.
    spread = (math.log(higher / lower) / 2) ** 2
    noise = rules.horizon_weeks / item.units_mean + _NOISE
    before = 0.0 if math.isnan(item.elasticity_error) else 1 / item.elasticity_error**2
    weeks = max(_SHORTEST, 2 * math.ceil(noise / spread * max(1 / _ENOUGH**2 - before, 0) / 2))
    if weeks > _LONGEST:
        return None
    after = 1 / math.sqrt(before + weeks * spread / noise)
    return PriceTest(
        item.item_id,
        item.zone,
        item.currency,
        item.evidence_grade,
        item.current_price_minor,
        lower,
        higher,
        weeks,
        item.elasticity_error,
        after,
    )
