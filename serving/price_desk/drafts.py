"""Computed prices as rows of the queue, with what they rest on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from features.contracts.pricing import Effect, PriceSuggestion, PricingItem
from serving.database.audit_log import SYSTEM
from serving.price_desk.broken_rules import FACTS, store_facts
from serving.price_desk.repository import NewSuggestion

if TYPE_CHECKING:
    from serving.pricing_inputs.items import PricedZone

# A suggestion that nobody decides on is worthless after this time: prices and forecasts have moved
# on.
EXPIRES = timedelta(days=14)


def draft_suggestion(
    suggestion: PriceSuggestion,
    priced: PricedZone,
    run_id: str,
    now: datetime,
    about: Mapping[str, object],
    item: PricingItem,
) -> NewSuggestion:
    """Return an optimised price as a row of the queue, with what it rests on."""
    term = priced.terms[suggestion.item_id]
    against = suggestion.against_keeping
    return NewSuggestion(
        item_id=suggestion.item_id,
        zone=suggestion.zone,
        status="suggested" if about["held"] else "submitted",
        kind="regular",
        currency=suggestion.currency,
        list_price_minor=suggestion.list_price_minor,
        current_price_minor=suggestion.current_price_minor,
        suggested_price_minor=suggestion.suggested_price_minor,
        run_id=run_id,
        base_price_id=priced.prices[suggestion.item_id].price_id,
        effective_from=now,
        created_at=now,
        proposed_by=SYSTEM,
        category=term.category,
        title=term.title,
        expected=describe_effect(suggestion.expected, against),
        waterfall=[asdict(step) for step in suggestion.waterfall],
        details={
            **about,
            "elasticity": _none_for_nan(suggestion.elasticity),
            "elasticity_error": _none_for_nan(suggestion.elasticity_error),
            "unit_cost_minor": suggestion.unit_cost_minor,
            "cost_source": suggestion.cost_source,
            "competitor_price_minor": item.competitor_minor,
            "propensity": suggestion.propensity,
            "strategy": suggestion.strategy,
            "stage": suggestion.stage,
            "flags": list(suggestion.flags),
            FACTS: store_facts(item),
        },
        gain_minor=None if against is None else against.profit.p50,
        evidence_grade=str(suggestion.evidence_grade),
        binding_rule=suggestion.binding_rule,
        expires_at=now + EXPIRES,
    )


def describe_effect(
    expected: Effect | None, against: Effect | None
) -> dict[str, dict[str, object]] | None:
    """Return an expected effect, and the same against keeping the price, as they are stored.

    None where the item's response is not known.
    """
    if expected is None or against is None:
        return None
    return {
        name: {
            **asdict(getattr(expected, name)),
            "against_keeping": asdict(getattr(against, name)),
        }
        for name in ("units", "revenue", "profit")
    }


def _none_for_nan(number: float) -> float | None:
    return None if math.isnan(number) else number
