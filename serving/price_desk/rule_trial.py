"""What other rules would do to a zone, beside the rules of today; nothing is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from features.contracts.pricing import PriceSuggestion, PricingItem
from models.pricing.optimise.bounds import list_bounds
from models.pricing.rules import AssortmentPart, PricingRules, select_rules
from serving.price_desk.suggest import optimise_zone
from serving.pricing_inputs.items import PricingInputs

LARGEST = 10


@dataclass(frozen=True)
class RuleEffect:
    """What one set of rules would do.

    units, revenue_minor, profit_minor   sums of the median effects against keeping every price,
                                         over the horizon; net of tax
    forbidden   how many prices of today each hard rule forbids
    not_kept    rules of many items that no prices satisfy
    """

    n_changes: int
    n_rises: int
    units: float
    revenue_minor: float
    profit_minor: float
    forbidden: Mapping[str, int]
    not_kept: tuple[str, ...]


@dataclass(frozen=True)
class TrialMove:
    """An item whose price would be another one; the price of today where it would be kept."""

    item_id: str
    title: str | None
    current_minor: int
    present_minor: int
    draft_minor: int


@dataclass(frozen=True)
class RuleTrial:
    """The rules of today and a draft on the same items; `moves` are the largest differences, as
    shares of the price."""

    zone: str
    currency: str
    n_items: int
    n_different: int
    present: RuleEffect
    draft: RuleEffect
    moves: tuple[TrialMove, ...]


def try_rules(
    inputs: PricingInputs, zone: str, draft: PricingRules, presets: Mapping[str, PricingRules]
) -> RuleTrial:
    """Return what a draft and its presets would do to a zone, beside the rules of `inputs`.

    Raises Conflict where the zone has no prices yet.
    """
    with_draft = replace(inputs, rules=draft, presets=presets)
    present, other = optimise_zone(inputs, zone), optimise_zone(with_draft, zone)
    terms = present.priced.terms
    old = {each.item_id: each.suggested_price_minor for each in present.suggested.suggestions}
    new = {each.item_id: each.suggested_price_minor for each in other.suggested.suggestions}
    moves = []
    for item in present.priced.items:
        current = item.current_price_minor
        before, after = old.get(item.item_id, current), new.get(item.item_id, current)
        if before != after:
            title = terms[item.item_id].title
            moves.append(TrialMove(item.item_id, title, current, before, after))
    moves.sort(key=lambda move: (-abs(move.draft_minor / move.present_minor - 1), move.item_id))
    items = present.priced.items
    return RuleTrial(
        zone=zone,
        currency=inputs.settings.zone(zone).currency,
        n_items=len(items),
        n_different=len(moves),
        present=_sum_effect(
            present.suggested.suggestions,
            count_forbidden(items, inputs.rules, inputs.presets),
            tuple(broken.rule for broken in present.suggested.outcome.broken),
        ),
        draft=_sum_effect(
            other.suggested.suggestions,
            count_forbidden(items, draft, presets),
            tuple(broken.rule for broken in other.suggested.outcome.broken),
        ),
        moves=tuple(moves[:LARGEST]),
    )


def _sum_effect(
    suggestions: Sequence[PriceSuggestion], forbidden: Mapping[str, int], not_kept: tuple[str, ...]
) -> RuleEffect:
    effects = [each.against_keeping for each in suggestions if each.against_keeping is not None]
    return RuleEffect(
        n_changes=len(suggestions),
        n_rises=sum(each.suggested_price_minor > each.current_price_minor for each in suggestions),
        units=sum(effect.units.p50 for effect in effects),
        revenue_minor=sum(effect.revenue.p50 for effect in effects),
        profit_minor=sum(effect.profit.p50 for effect in effects),
        forbidden=forbidden,
        not_kept=not_kept,
    )


def count_forbidden(
    items: Sequence[PricingItem], rules: PricingRules, presets: Mapping[str, PricingRules]
) -> dict[str, int]:
    """Return how many prices of today each hard rule forbids."""
    counts: Counter[str] = Counter()
    for item in items:
        part = AssortmentPart.of(item)
        own = select_rules(rules, presets.get(part.stage)).apply_scopes(part)
        for bound in list_bounds(item, own):
            price = item.current_price_minor
            counts[bound.rule] += bound.rule not in own.soft and bound.clamp(price) != price
    return {rule: count for rule, count in counts.items() if count}
