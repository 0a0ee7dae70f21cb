"""Promotions that are suggested for a zone: which items, how deep, in which weeks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np

from features.contracts.errors import Conflict
from features.contracts.pricing import PricingItem
from features.database import reading
from features.prices.law import explain_objection
from features.prices.ledger import Ledger, NewPrice, PriceSource
from models.pricing.promotions.conflicts import PromotionRun
from models.pricing.promotions.promotion_response import read_promotion_response
from models.pricing.promotions.weekly_plan import (
    PLANNED,
    UNLAWFUL,
    PlanInput,
    PlanLimits,
    PromotionPlan,
    list_reduced_prices,
    plan_promotions,
)
from serving.pricing_inputs.horizon_forecast import select_horizon
from serving.pricing_inputs.item_facts import add_family_items
from serving.pricing_inputs.items import PricingInputs, read_priced_zone
from serving.pricing_inputs.promotion_plans import find_promotion_runs

_WEEK = timedelta(weeks=1)


@dataclass(frozen=True)
class SuggestedPromotions:
    """A plan for a zone.

    n_items   candidates with a price and a forecast; missing: asked for and without either
    """

    zone: str
    currency: str
    plan: PromotionPlan
    n_items: int
    missing: tuple[str, ...]
    notes: tuple[str, ...]


def suggest_promotions(
    inputs: PricingInputs,
    zone: str,
    weeks: int,
    limits: PlanLimits,
    item_ids: Sequence[str] | None = None,
) -> SuggestedPromotions:
    """Return the promotions that gain most within the limits over the next `weeks` weeks.

    Of all items of the zone, or of `item_ids`. Nothing is written. Raises Conflict without a
    forecast of these weeks.
    """
    inputs = replace(inputs, rules=replace(inputs.rules, horizon_weeks=weeks))
    wanted = None if item_ids is None else list(dict.fromkeys(item_ids))
    read = None if wanted is None else add_family_items(inputs.facts, wanted)
    priced = read_priced_zone(inputs, zone, read)
    chosen = set(wanted if wanted is not None else [item.item_id for item in priced.items])
    items = [item for item in priced.items if item.item_id in chosen and item.hold is None]
    others = [item for item in priced.items if item.item_id not in {i.item_id for i in items}]
    forecast = select_horizon(inputs.demand_model, zone, inputs.now, weeks, read)
    planned = [n for n, start in enumerate(forecast.week_starts) if start >= inputs.now]
    if not planned:
        raise Conflict(
            "no week to plan has a forecast", hint="Train again: shopwright train demand"
        )
    rows = {item_id: row for row, item_id in enumerate(forecast.item_ids)}
    units = forecast.weeks[[rows[item.item_id] for item in items], :, 0]
    mean = np.maximum(units.mean(1, keepdims=True), 1e-12)
    given = PlanInput(
        items=items,
        families=others,
        response=read_promotion_response(
            inputs.pricing_model, [item.item_id for item in (*items, *others)], zone
        ),
        horizon_weeks=len(forecast.week_starts),
        profile=(units / mean)[:, planned],
        starts_at=[forecast.week_starts[n] for n in planned],
    )
    known = {item.item_id for item in priced.items}
    return SuggestedPromotions(
        zone=zone,
        currency=inputs.settings.zone(zone).currency,
        plan=plan_promotions(given, limits, _find_forbidden(inputs, given, limits, zone)),
        n_items=len(items),
        missing=tuple(item_id for item_id in wanted or () if item_id not in known),
        notes=_list_notes(inputs, zone, limits, len(chosen & known) - len(items)),
    )


def _find_forbidden(
    inputs: PricingInputs, given: PlanInput, limits: PlanLimits, zone: str
) -> dict[tuple[str, int, int], str]:
    """Return why an item may not be offered at a price in a week, by item, price and week."""
    item_ids = [item.item_id for item in given.items]
    last = given.starts_at[-1] + _WEEK
    runs_of: dict[str, list[PromotionRun]] = {}
    for run in find_promotion_runs(inputs.facts, zone, given.starts_at[0], last):
        runs_of.setdefault(run.item_id, []).append(run)
    rules = inputs.find_rules(zone, item_ids)
    with reading(inputs.engine) as connection:
        histories = Ledger(connection).read_histories(item_ids, zone)
    forbidden: dict[tuple[str, int, int], str] = {}
    for item in given.items:
        for week, start in enumerate(given.starts_at):
            is_planned = _overlaps(runs_of.get(item.item_id, ()), start)
            for _, price in list_reduced_prices(item, limits):
                reduction = _build_reduction(item, price, start, inputs.now)
                key = item.item_id, price, week
                if is_planned:
                    forbidden[key] = PLANNED
                elif explain_objection(
                    histories.get(item.item_id, ()), reduction, rules[item.item_id]
                ):
                    forbidden[key] = UNLAWFUL
    return forbidden


def _overlaps(runs: Sequence[PromotionRun], start: datetime) -> bool:
    return any(
        run.starts_at < start + _WEEK and (run.ends_at is None or run.ends_at > start)
        for run in runs
    )


def _build_reduction(item: PricingItem, price: int, start: datetime, now: datetime) -> NewPrice:
    return NewPrice(
        item_id=item.item_id,
        zone=item.zone,
        valid_from=start,
        valid_to=start + _WEEK,
        list_price_minor=max(item.list_price_minor, item.current_price_minor),
        offer_price_minor=price,
        currency=item.currency,
        source=PriceSource.DESK,
        recorded_at=now,
    )


def _list_notes(
    inputs: PricingInputs, zone: str, limits: PlanLimits, n_held: int
) -> tuple[str, ...]:
    days = inputs.settings.zone(zone).price_law.days
    notes = []
    if limits.max_per_item > 1 and limits.spacing_weeks * 7 < days:
        notes.append(
            f"promotions of one item may follow within the {days} days of the price law: "
            "the later one then counts from the price of the earlier one"
        )
    if n_held:
        notes.append(f"{n_held:,} items are left out: their price must stay as it is now")
    return tuple(notes)
