"""What to try where too little is known of a price: a test that would tell, for items that get no
suggestion."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from features.contracts.pricing import EvidenceGrade, PricingItem
from models.pricing.optimise.bounds import allowed
from models.pricing.rules import PricingRules

_ENOUGH = 0.6  # standard error of the slope that an item needs for grade B
_NOISE = 0.1  # variance of weekly log units beyond the Poisson part
_LONGEST = 36  # weeks; what takes longer is no test of one item
_SHORTEST = 4
_LEAST_MOVE = 0.03
NO_ROOM = f"the rules leave no two prices {_LEAST_MOVE:.0%} apart"
TOO_SLOW = f"sells too little: a test of it alone would take more than {_LONGEST} weeks"


@dataclass(frozen=True)
class PriceTest:
    """Two prices to charge in turn, week by week, each as often as the other, in an order drawn by
    lot.

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


@dataclass(frozen=True)
class Untestable:
    """An item that a test would be for, and why it gets none."""

    item_id: str
    zone: str
    reason: str


@dataclass(frozen=True)
class Proposals:
    """Tests, the fastest seller first; the items that should have one and cannot; how many items
    need none."""

    tests: tuple[PriceTest, ...]
    untestable: tuple[Untestable, ...]
    n_known: int

    @property
    def reasons(self) -> Mapping[str, int]:
        """Items that cannot be tested by reason, the commonest first."""
        return dict(Counter(each.reason for each in self.untestable).most_common())


def propose_tests(items: Sequence[PricingItem], rules: PricingRules) -> Proposals:
    """A test for every item whose evidence is too little for a suggestion.

    None for items whose price is held, whose rules leave no two prices apart, and those that sell
    too little for one item's test to tell anything within 36 weeks: these are better tested as a
    family.
    """
    unknown = [
        item
        for item in items
        if item.evidence_grade > rules.min_grade or math.isnan(item.elasticity)
    ]
    unknown.sort(key=lambda item: (-item.units_mean, item.item_id, item.zone))
    found = [_test(item, rules) for item in unknown]
    return Proposals(
        tuple(each for each in found if isinstance(each, PriceTest)),
        tuple(each for each in found if isinstance(each, Untestable)),
        len(items) - len(unknown),
    )


def _test(item: PricingItem, rules: PricingRules) -> PriceTest | Untestable:
    if item.hold:
        return Untestable(item.item_id, item.zone, item.hold)
    prices = allowed(item, rules).prices
    if len(prices) < 2 or math.log(prices[-1] / prices[0]) < _LEAST_MOVE:
        return Untestable(item.item_id, item.zone, NO_ROOM)
    if item.units_mean <= 0:
        return Untestable(item.item_id, item.zone, TOO_SLOW)
    lower, higher = prices[0], prices[-1]
    # Half of the weeks at each price: the log price is half the distance from its mean, either way.
    spread = (math.log(higher / lower) / 2) ** 2
    noise = rules.horizon_weeks / item.units_mean + _NOISE
    before = 0.0 if math.isnan(item.elasticity_error) else 1 / item.elasticity_error**2
    needed = noise / spread * max(1 / _ENOUGH**2 - before, 0)
    if needed > _LONGEST:
        return Untestable(item.item_id, item.zone, TOO_SLOW)
    weeks = max(_SHORTEST, 2 * math.ceil(needed / 2))
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
