"""Which items to promote, how deep and in which weeks: the expected profit of each choice, and the
best choices within simple limits.

Each promotion lasts one week and lowers the price for everybody. Its effect is that of the what-if:
with what the family and the week after lose.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from features.contracts.arrays import Float64Array
from features.contracts.errors import BadInput
from features.contracts.pricing import Band, Effect, EvidenceGrade, PricingItem
from models.pricing.promotions.mechanics import Campaign, Mechanic
from models.pricing.promotions.promotion_response import PromotionResponse
from models.pricing.promotions.what_if import evaluate_campaign

MAX_WEEKS = 13
UNKNOWN_RESPONSE = "the response to its price is not known"
THIN_MARGIN = "the margin at the reduced price is below the minimum"
UNLAWFUL = "the law forbids to announce the reduction"
PLANNED = "another promotion of it is planned"
NO_GAIN = "no gain that is worth a promotion"
LIMITED = "the limits leave no week for it"
_WEEK = timedelta(weeks=1)


@dataclass(frozen=True)
class PlanLimits:
    """What a plan may hold.

    depths           shares off the current price that are tried
    max_per_week     promotions of all items in one week
    max_per_item     promotions of one item in the plan
    spacing_weeks    weeks from the end of a promotion of an item to its next one; a spacing below
                     the days of the price law would make the later one count from the earlier
    one_per_family   at most one item of a family in a week
    min_margin       share of the net reduced price that is left after the cost
    min_gain_minor   smallest gain of a promotion, minor units
    risk_aversion    0: a promotion is valued by its mean gain; 1: by the worse end of its interval
    """

    depths: tuple[float, ...] = (0.1, 0.2, 0.3)
    max_per_week: int = 20
    max_per_item: int = 2
    spacing_weeks: int = 5
    one_per_family: bool = True
    min_margin: float = 0.05
    min_gain_minor: float = 50.0
    risk_aversion: float = 0.5

    def __post_init__(self) -> None:
        if not self.depths or not all(0 < depth < 1 for depth in self.depths):
            raise BadInput("depths are shares above 0 and below 1", where="depths")
        if not 0 <= self.risk_aversion <= 1:
            raise BadInput("risk_aversion is a share, 0 to 1", where="risk_aversion")
        for name in ("max_per_week", "max_per_item"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name} is at least 1", where=name)
        if self.spacing_weeks < 0:
            raise BadInput("spacing_weeks is at least 0", where="spacing_weeks")


@dataclass(frozen=True)
class PlanInput:
    """What a plan is made from, of n candidate items and the others of their families.

    items, families   their forecasts cover `horizon_weeks`
    response          of the items and then of the others
    profile           (n, W) units of each week over the mean week of the horizon; W weeks to plan
    starts_at         (W,) the beginning of each week
    """

    items: Sequence[PricingItem]
    families: Sequence[PricingItem]
    response: PromotionResponse
    horizon_weeks: int
    profile: Float64Array
    starts_at: Sequence[datetime]


@dataclass(frozen=True)
class PromotionSuggestion:
    """One item at one depth in one week; the effect is against not promoting it, with what its
    family and the week after lose.

    value     gain in profit with the risk that the limits ask for, minor units
    reasons   why, in words
    """

    item_id: str
    starts_at: datetime
    ends_at: datetime
    depth: float
    current_price_minor: int
    price_minor: int
    net: Effect
    value: float
    evidence_grade: EvidenceGrade
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class PromotionPlan:
    """Suggestions, the most valuable first; their sum; and how many items have none, by reason."""

    suggestions: tuple[PromotionSuggestion, ...]
    net_profit: Band
    left_out: Mapping[str, int]


@dataclass(frozen=True)
class _Choice:
    """One item at one depth, per mean week of the horizon."""

    item: int
    depth: float
    price_minor: int
    net: Effect
    cannibalised: float
    after: float
    value: float


def plan_promotions(
    given: PlanInput, limits: PlanLimits, forbidden: Mapping[tuple[str, int, int], str]
) -> PromotionPlan:
    """Return the promotions with the largest value within the limits.

    `forbidden` holds why (`UNLAWFUL`, `PLANNED`) an item may not be offered at a price (minor
    units) in a week (number), for those that may not; see `list_reduced_prices`. The best promotion
    is taken first, then the best one that the limits still allow beside it, and so on.
    """
    left_out: Counter[str] = Counter()
    openings = []
    members_of = _list_families(given)
    for index, item in enumerate(given.items):
        if math.isnan(given.response.slope[index]):
            left_out[UNKNOWN_RESPONSE] += 1
            continue
        options = [
            (depth, price)
            for depth, price in list_reduced_prices(item, limits)
            if _keeps_margin(item, price, limits)
        ]
        if not options:
            left_out[THIN_MARGIN] += 1
            continue
        relatives = [
            number for number in members_of.get(item.family_id or "", ()) if number != index
        ]
        subject = _Subject.select(given, index, relatives)
        choices = [_evaluate_choice(subject, limits, *option) for option in options]
        weeks = _find_best_weeks(given, limits, choices, forbidden)
        openings += weeks
        if not weeks:
            left_out[_explain_none(given, item, options, forbidden)] += 1
    chosen = _choose_within_limits(given, limits, openings)
    n_limited = len({choice.item for _, choice, _ in openings} - {c.item for _, c, _ in chosen})
    if n_limited:
        left_out[LIMITED] = n_limited
    suggestions = [_suggest(given, week, choice, value) for week, choice, value in chosen]
    bands = [suggestion.net.profit for suggestion in suggestions]
    return PromotionPlan(
        suggestions=tuple(suggestions),
        net_profit=Band(
            sum(band.p10 for band in bands),
            sum(band.p50 for band in bands),
            sum(band.p90 for band in bands),
        ),
        left_out=dict(left_out),
    )


def list_reduced_prices(item: PricingItem, limits: PlanLimits) -> list[tuple[float, int]]:
    """Return each depth with the whole price that it leaves, minor units."""
    prices = [(depth, round(item.current_price_minor * (1 - depth))) for depth in limits.depths]
    return [(depth, price) for depth, price in prices if 0 < price < item.current_price_minor]


def _keeps_margin(item: PricingItem, price_minor: int, limits: PlanLimits) -> bool:
    net_price = price_minor / item.tax_divisor
    return net_price - item.unit_cost_minor >= limits.min_margin * net_price


def _list_families(given: PlanInput) -> dict[str, list[int]]:
    """Return the numbers of the items of each family, among the candidates and then the others."""
    members_of: dict[str, list[int]] = {}
    for number, item in enumerate([*given.items, *given.families]):
        if item.family_id:
            members_of.setdefault(item.family_id, []).append(number)
    return members_of


@dataclass(frozen=True)
class _Subject:
    """One candidate: its number, the item, the others of its family, and their response."""

    index: int
    item: PricingItem
    relatives: Sequence[PricingItem]
    response: PromotionResponse
    horizon_weeks: int
    starts_at: datetime

    @classmethod
    def select(cls, given: PlanInput, index: int, relatives: Sequence[int]) -> _Subject:
        """Return the candidate `index`; `relatives` are the numbers of the others."""
        n_items = len(given.items)
        others = [
            given.items[number] if number < n_items else given.families[number - n_items]
            for number in relatives
        ]
        response = given.response.select(np.array([index, *relatives]))
        item, start = given.items[index], given.starts_at[0]
        return cls(index, item, others, response, given.horizon_weeks, start)


def _evaluate_choice(
    subject: _Subject, limits: PlanLimits, depth: float, price_minor: int
) -> _Choice:
    """Return the effect of one item at one depth over a mean week of the horizon."""
    item = subject.item
    campaign = Campaign(
        name="plan",
        zone=item.zone,
        starts_at=subject.starts_at,
        ends_at=subject.starts_at + _WEEK,
        mechanic=Mechanic.PRICE_OFF,
        amount_minor=item.current_price_minor - price_minor,
    )
    effect = evaluate_campaign(
        campaign, [item], subject.relatives, subject.horizon_weeks, subject.response
    )
    profit = effect.net.profit
    return _Choice(
        item=subject.index,
        depth=depth,
        price_minor=price_minor,
        net=effect.net,
        cannibalised=effect.cannibalised.profit.p50,
        after=effect.after.profit.p50,
        value=profit.p50 - limits.risk_aversion * (profit.p50 - profit.p10),
    )


def _explain_none(
    given: PlanInput,
    item: PricingItem,
    options: Sequence[tuple[float, int]],
    forbidden: Mapping[tuple[str, int, int], str],
) -> str:
    """Return why an item has no promotion in any week."""
    reasons = [
        forbidden.get((item.item_id, price, week), NO_GAIN)
        for _, price in options
        for week in range(len(given.starts_at))
    ]
    return (
        NO_GAIN
        if NO_GAIN in reasons
        else max(set(reasons), key=lambda why: (reasons.count(why), why))
    )


def _find_best_weeks(
    given: PlanInput,
    limits: PlanLimits,
    choices: Sequence[_Choice],
    forbidden: Mapping[tuple[str, int, int], str],
) -> list[tuple[int, _Choice, float]]:
    """Return for each week in which an item gains enough its best depth, and the value there."""
    weeks = []
    for week in range(len(given.starts_at)):
        allowed = [
            choice
            for choice in choices
            if (given.items[choice.item].item_id, choice.price_minor, week) not in forbidden
        ]
        if not allowed:
            continue
        best = max(allowed, key=lambda choice: (choice.value, -choice.depth))
        value = best.value * float(given.profile[best.item, week])
        if value >= limits.min_gain_minor:
            weeks.append((week, best, value))
    return weeks


def _choose_within_limits(
    given: PlanInput, limits: PlanLimits, openings: Sequence[tuple[int, _Choice, float]]
) -> list[tuple[int, _Choice, float]]:
    """Return the openings taken, the most valuable first."""
    per_week: Counter[int] = Counter()
    weeks_of: dict[int, list[int]] = {}
    families: set[tuple[str, int]] = set()
    chosen = []
    ordered = sorted(
        openings,
        key=lambda opening: (-opening[2], opening[0], given.items[opening[1].item].item_id),
    )
    for week, choice, value in ordered:
        taken = weeks_of.setdefault(choice.item, [])
        family = given.items[choice.item].family_id
        is_near = any(abs(week - other) <= limits.spacing_weeks for other in taken)
        if per_week[week] >= limits.max_per_week or len(taken) >= limits.max_per_item or is_near:
            continue
        if limits.one_per_family and family is not None:
            if (family, week) in families:
                continue
            families.add((family, week))
        per_week[week] += 1
        taken.append(week)
        chosen.append((week, choice, value))
    return chosen


def _suggest(given: PlanInput, week: int, choice: _Choice, value: float) -> PromotionSuggestion:
    item, factor = given.items[choice.item], float(given.profile[choice.item, week])
    net = _scale_effect(choice.net, factor)
    best_week = int(np.argmax(given.profile[choice.item]))
    demand = "the week with its largest demand" if week == best_week else "its demand"
    reasons = [f"{demand} in this week is {factor - 1:+.0%} of its mean week"]
    if choice.cannibalised < 0:
        lost = -choice.cannibalised * factor
        reasons.append(f"its family loses {_share(lost, net.profit.p50)} of what it gains")
    if choice.after < 0:
        lost = -choice.after * factor
        reasons.append(f"the week after loses {_share(lost, net.profit.p50)} of what it gains")
    if net.profit.p10 < 0:
        reasons.append("the interval of its gain reaches below 0")
    return PromotionSuggestion(
        item_id=item.item_id,
        starts_at=given.starts_at[week],
        ends_at=given.starts_at[week] + _WEEK,
        depth=choice.depth,
        current_price_minor=item.current_price_minor,
        price_minor=choice.price_minor,
        net=net,
        value=value,
        evidence_grade=item.evidence_grade,
        reasons=tuple(reasons),
    )


def _share(lost: float, net: float) -> str:
    return f"{lost / (net + lost):.0%}" if net + lost > 0 else "all"


def _scale_effect(effect: Effect, factor: float) -> Effect:
    return Effect(
        _scale_band(effect.units, factor),
        _scale_band(effect.revenue, factor),
        _scale_band(effect.profit, factor),
    )


def _scale_band(band: Band, factor: float) -> Band:
    return Band(band.p10 * factor, band.p50 * factor, band.p90 * factor)
