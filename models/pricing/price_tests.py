"""Price tests for items with too little evidence: two prices to charge, and for how many weeks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from features.contracts.pricing import EvidenceGrade, PricingItem
from models.pricing.optimise.bounds import find_allowed_prices
from models.pricing.rules import AssortmentPart, PricingRules

_TARGET_ERROR = 0.6  # standard error of the slope that an item needs for grade B
_NOISE = 0.1  # variance of weekly log units beyond the Poisson part
_MAX_WEEKS = 36  # a longer test of one item is not proposed
_MIN_WEEKS = 4
_MIN_LOG_RATIO = 0.03  # between the two prices
NO_ROOM = f"the rules leave no two prices {_MIN_LOG_RATIO:.0%} apart"
TOO_SLOW = f"sells too little: a test of it alone would take more than {_MAX_WEEKS} weeks"


@dataclass(frozen=True)
class PriceTest:
    """Two prices to charge week by week, each as often as the other, in random order.

    weeks   length of the test, after which the standard error of the slope is `error_after`
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
    """An item that needs a test, and why none is proposed."""

    item_id: str
    zone: str
    reason: str


@dataclass(frozen=True)
class Proposals:
    """Tests, the fastest seller first, and the items that need one and get none.

    n_known   items that need no test
    """

    tests: tuple[PriceTest, ...]
    untestable: tuple[Untestable, ...]
    n_known: int

    @property
    def reasons(self) -> Mapping[str, int]:
        """Number of items that cannot be tested, by reason, the most frequent first."""
        return dict(Counter(item.reason for item in self.untestable).most_common())


def propose_tests(items: Sequence[PricingItem], rules: PricingRules) -> Proposals:
    """Propose a test for every item with too little evidence for a suggestion.

    None for items whose price is on hold, whose rules leave no two prices apart, and those that
    sell too little for a test of 36 weeks or less: these are better tested as a family.
    """
    unknown = [
        item
        for item in items
        if item.evidence_grade > rules.min_grade or math.isnan(item.elasticity)
    ]
    unknown.sort(key=lambda item: (-item.units_mean, item.item_id, item.zone))
    results = [_propose_test(item, rules) for item in unknown]
    return Proposals(
        tests=tuple(result for result in results if isinstance(result, PriceTest)),
        untestable=tuple(result for result in results if isinstance(result, Untestable)),
        n_known=len(items) - len(unknown),
    )


def _propose_test(item: PricingItem, rules: PricingRules) -> PriceTest | Untestable:
    if item.hold:
        return Untestable(item.item_id, item.zone, item.hold)
    # A test is how a regular price that never moved gets to be known: no step limits it.
    prices = find_allowed_prices(
        replace(item, n_regular_changes=None), rules.apply_scopes(AssortmentPart.of(item))
    ).prices
    if len(prices) < 2 or math.log(prices[-1] / prices[0]) < _MIN_LOG_RATIO:
        return Untestable(item.item_id, item.zone, NO_ROOM)
    if item.units_mean <= 0:
        return Untestable(item.item_id, item.zone, TOO_SLOW)
    lower, higher = prices[0], prices[-1]
    # Half of the weeks at each price: the log price is half the distance from its mean, either way.
    price_variance = (math.log(higher / lower) / 2) ** 2
    noise = rules.horizon_weeks / item.units_mean + _NOISE
    precision_now = 0.0 if math.isnan(item.elasticity_error) else 1 / item.elasticity_error**2
    needed = noise / price_variance * max(1 / _TARGET_ERROR**2 - precision_now, 0)
    if needed > _MAX_WEEKS:
        return Untestable(item.item_id, item.zone, TOO_SLOW)
    weeks = max(_MIN_WEEKS, 2 * math.ceil(needed / 2))
    return PriceTest(
        item_id=item.item_id,
        zone=item.zone,
        currency=item.currency,
        evidence_grade=item.evidence_grade,
        current_price_minor=item.current_price_minor,
        lower_price_minor=lower,
        higher_price_minor=higher,
        weeks=weeks,
        error_now=item.elasticity_error,
        error_after=1 / math.sqrt(precision_now + weeks * price_variance / noise),
    )
