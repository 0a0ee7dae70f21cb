"""What a decision on many suggestions would do, before it is made."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from features.contracts.pricing import Band
from serving.database.activation_stops import ActivationStop, find_stop
from serving.database.audit_log import Decider
from serving.price_desk.approvals import (
    Beginnings,
    Refusal,
    begins_at,
    check_decidable,
    plan_approvals,
)
from serving.price_desk.broken_rules import find_broken_rules
from serving.price_desk.decisions import are_many, select_many
from serving.price_desk.filters import SuggestionFilter
from serving.price_desk.repository import NewSuggestion, Suggestion

SHOWN_MOVES = 10
_WIDTH = 2 * 1.2816  # standard deviations of a normal from its p10 to its p90


@dataclass(frozen=True)
class BulkPreview:
    """What a decision on many would do.

    effects    expected differences from keeping the prices, of units, revenue and profit, over the
               horizon of the runs; money in minor units, of each currency on its own
    unknown    how many of those that change have no expected effect
    largest    those that change with the largest moves, largest first
    broken     number of the refused by the hard rule of today that they break
    flagged    how many of those that change have something that whoever approves should know
    begins     the first and the last time at which the prices begin; None where none does
    stop       the stop of activations that the prices would wait for
    """

    matched: int
    changed: int
    refused: tuple[Refusal, ...]
    effects: Mapping[str, Mapping[str, Band]]
    unknown: int
    largest: tuple[Suggestion, ...]
    broken: Mapping[str, int]
    flagged: int
    begins: tuple[datetime, datetime] | None
    stop: ActivationStop | None


def preview_many(
    connection: sa.Connection,
    decider: Decider,
    action: str,
    *,
    ids: Sequence[str] | None = None,
    criteria: SuggestionFilter | None = None,
    begins: Beginnings | None = None,
) -> BulkPreview:
    """Return what decisions.decide_many would do now; nothing is written and nobody waits."""
    suggestions = select_many(connection, action, ids=ids, criteria=criteria, reasons=True)
    if action == "approve":
        plan = plan_approvals(connection, decider, suggestions, begins=begins, many=are_many(ids))
        changed, refused, broken = list(plan.approved), plan.refused, plan.broken
        times = [begins_at(suggestion, decider.now) for suggestion in changed]
    else:
        errors = {s.id: check_decidable(s, decider, action) for s in suggestions}
        refused = tuple(Refusal(key, error) for key, error in errors.items() if error is not None)
        changed = [s for s in suggestions if errors[s.id] is None]
        broken = find_broken_rules(connection, decider, changed) if action == "submit" else {}
        times = []
    return BulkPreview(
        matched=len(suggestions),
        changed=len(changed),
        refused=refused,
        effects=sum_effects(changed),
        unknown=sum(suggestion.expected is None for suggestion in changed),
        largest=tuple(sorted(changed, key=lambda s: -abs(s.share_change))[:SHOWN_MOVES]),
        broken=Counter(rule for rules in broken.values() for rule in rules),
        flagged=sum(bool(suggestion.details.get("flags")) for suggestion in changed),
        begins=(min(times), max(times)) if times else None,
        stop=find_stop(connection),
    )


def sum_effects(suggestions: Sequence[NewSuggestion]) -> dict[str, dict[str, Band]]:
    """Return the expected differences from keeping the prices, by currency and by quantity.

    Errors of one category are taken to move together, because its items share what is known of
    their responses; those of different categories are independent.
    """
    means: dict[tuple[str, str], float] = {}
    spreads: dict[tuple[str, str], dict[str, float]] = {}
    for suggestion in suggestions:
        for name, values in (suggestion.expected or {}).items():
            gain = values.get("against_keeping")
            if gain is None:
                continue
            key = suggestion.currency, name
            means[key] = means.get(key, 0.0) + gain["p50"]
            by_category = spreads.setdefault(key, {})
            spread = (gain["p90"] - gain["p10"]) / _WIDTH
            by_category[suggestion.category] = by_category.get(suggestion.category, 0.0) + spread
    effects: dict[str, dict[str, Band]] = {}
    for (currency, name), mean in means.items():
        reach = math.hypot(*spreads[currency, name].values()) * _WIDTH / 2
        effects.setdefault(currency, {})[name] = Band(mean - reach, mean, mean + reach)
    return effects
