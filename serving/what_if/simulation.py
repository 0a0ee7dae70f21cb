"""Simulations of an item at other prices and of a promotion of some items. Nothing is written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from features.contracts.arrays import Float64Array
from features.contracts.errors import BadInput, Conflict, NotFound
from features.contracts.pricing import Effect, PricingItem
from features.database import reading
from features.prices.law import explain_objection
from features.prices.ledger import Ledger, NewPrice, PriceSource
from features.prices.timeline import list_steps
from models.pricing.optimise.bounds import list_bounds
from models.pricing.optimise.objective import ItemColumns, compare_with_current, predict_effects
from models.pricing.promotions.conflicts import CampaignConflict, PromotionRun, find_conflicts
from models.pricing.promotions.mechanics import Campaign, compute_reduced_prices
from models.pricing.promotions.promotion_response import read_promotion_response
from models.pricing.promotions.support_lift import SupportLift, compute_support_lift
from models.pricing.promotions.what_if import MAX_ITEMS, MAX_PRICES, WhatIf, evaluate_campaign
from models.pricing.rules import AssortmentPart
from serving.pricing_inputs.item_facts import add_family_items
from serving.pricing_inputs.items import PricingInputs, read_priced_zone
from serving.pricing_inputs.promotion_plans import average_planned_reach, find_promotion_runs


@dataclass(frozen=True)
class PricePoint:
    """The effect of one price over the horizon, the same against keeping the present price, and
    the rules that forbid the price."""

    price_minor: int
    expected: Effect
    against_keeping: Effect
    broken_rules: tuple[str, ...]


@dataclass(frozen=True)
class PriceSimulation:
    """An item at several prices."""

    item: PricingItem
    horizon_weeks: int
    points: tuple[PricePoint, ...]


@dataclass(frozen=True)
class PromotionSimulation:
    """The effect of a promotion and its conflicts with others.

    unlawful   why the reduction may not be announced, by item id
    missing    items without a price or a forecast
    notes      what was assumed
    """

    what_if: WhatIf
    conflicts: tuple[CampaignConflict, ...]
    unlawful: dict[str, str]
    missing: tuple[str, ...]
    notes: tuple[str, ...] = ()


def simulate_prices(
    inputs: PricingInputs, item_id: str, prices_minor: Sequence[int], zone: str
) -> PriceSimulation:
    """Return an item's expected units, revenue and profit at each price, with intervals.

    Raises NotFound without a price or a forecast, Conflict where the item's price response is not
    known.
    """
    if not 0 < len(prices_minor) <= MAX_PRICES or min(prices_minor) <= 0:
        raise BadInput(f"give 1 to {MAX_PRICES} prices above 0", where="prices")
    family = read_priced_zone(inputs, zone, add_family_items(inputs.facts, [item_id])).items
    matches = [item for item in family if item.item_id == item_id]
    if not matches:
        raise NotFound(f"item {item_id!r} has no price or no forecast in zone {zone!r}")
    (item,) = matches
    if math.isnan(item.elasticity):
        raise Conflict(
            f"the price response of item {item_id!r} is not known",
            hint="Test other prices first",
        )
    columns = ItemColumns.from_items(matches)
    rows = np.zeros(len(prices_minor), np.int64)
    prices = np.array(prices_minor, np.float64)
    limits = list_bounds(item, inputs.rules.apply_scopes(AssortmentPart.of(item)))
    points = [
        PricePoint(
            price_minor=price,
            expected=expected,
            against_keeping=against_keeping,
            broken_rules=tuple(limit.rule for limit in limits if limit.clamp(price) != price),
        )
        for price, expected, against_keeping in zip(
            prices_minor,
            predict_effects(columns, rows, prices),
            compare_with_current(columns, rows, prices),
            strict=True,
        )
    ]
    return PriceSimulation(item, inputs.rules.horizon_weeks, tuple(points))


def simulate_promotion(
    inputs: PricingInputs, campaign: Campaign, item_ids: Sequence[str]
) -> PromotionSimulation:
    """Return the effect of a promotion of some items, its conflicts, and where it is unlawful."""
    chosen = list(dict.fromkeys(item_ids))
    if not 0 < len(chosen) <= MAX_ITEMS:
        raise BadInput(f"give 1 to {MAX_ITEMS} items", where="item_ids")
    zone = read_priced_zone(inputs, campaign.zone, add_family_items(inputs.facts, chosen))
    by_id = {item.item_id: item for item in zone.items}
    items = [by_id[item_id] for item_id in chosen if item_id in by_id]
    family_ids = {item.family_id for item in items if item.family_id}
    relatives = [
        item for item in zone.items if item.family_id in family_ids and item.item_id not in chosen
    ]
    promoted_ids = [item.item_id for item in items]
    support = _lift_of_support(inputs, campaign, promoted_ids)
    response = read_promotion_response(
        inputs.pricing_model, [item.item_id for item in (*items, *relatives)], campaign.zone
    )
    effect = evaluate_campaign(
        campaign, items, relatives, inputs.rules.horizon_weeks, response, support.log_units
    )
    runs = find_promotion_runs(inputs.facts, campaign.zone, campaign.starts_at, campaign.ends_at)
    runs += _find_ledger_runs(inputs, campaign, [item.item_id for item in (*items, *relatives)])
    family_of = {item.item_id: item.family_id for item in zone.items}
    return PromotionSimulation(
        what_if=effect,
        conflicts=tuple(
            find_conflicts(campaign, promoted_ids, list(dict.fromkeys(runs)), family_of)
        ),
        unlawful=_find_unlawful(inputs, effect),
        missing=tuple(item_id for item_id in chosen if item_id not in by_id),
        notes=support.notes,
    )


def _lift_of_support(
    inputs: PricingInputs, campaign: Campaign, item_ids: Sequence[str]
) -> SupportLift:
    """Return what the campaign's support adds to what the forecasts contain of it already."""
    planned: dict[str, Float64Array] = {}
    if campaign.support:
        # The campaign's units are its share of the horizon's: they contain a plan by its mean reach
        # over the horizon.
        end = inputs.now + timedelta(weeks=inputs.rules.horizon_weeks)
        plans = average_planned_reach(inputs.facts, campaign.zone, inputs.now, end, campaign.reach)
        planned = {
            kind: np.array([plans.get((item_id, kind), 0.0) for item_id in item_ids])
            for kind in campaign.support
        }
    lifts = inputs.pricing_model.find_lifts(item_ids, campaign.zone)
    return compute_support_lift(campaign, lifts, planned, len(item_ids))


def _find_ledger_runs(
    inputs: PricingInputs, campaign: Campaign, item_ids: Sequence[str]
) -> list[PromotionRun]:
    """Return the reductions that will be the valid price at a time of the campaign."""
    with reading(inputs.engine) as connection:
        histories = Ledger(connection).read_histories(item_ids, campaign.zone)
    runs: dict[str, PromotionRun] = {}
    for history in histories.values():
        steps = list_steps(history, campaign.ends_at)
        ends = [*(step.since for step in steps[1:]), campaign.ends_at]
        for (since, row), until in zip(steps, ends, strict=True):
            overlaps = since < campaign.ends_at and until > campaign.starts_at
            if row is not None and overlaps and row.offer_price_minor < row.list_price_minor:
                runs[row.price_id] = PromotionRun(
                    row.promotion_id or row.price_id, row.item_id, row.valid_from, row.valid_to
                )
    return list(runs.values())


def _find_unlawful(inputs: PricingInputs, effect: WhatIf) -> dict[str, str]:
    """Return by item id why its reduction may not be announced.

    A price that is lower for everybody is an announced reduction, also by a coupon that everybody
    may use or by the same percentage off everything.
    """
    campaign = effect.campaign
    if not campaign.is_reduction:
        return {}
    item_ids = [item.item_id for item in effect.items]
    rules = inputs.find_rules(campaign.zone, item_ids)
    with reading(inputs.engine) as connection:
        ledger = Ledger(connection)
        histories = ledger.read_histories(item_ids, campaign.zone)
        prices = ledger.find_current(item_ids, campaign.zone, campaign.starts_at)
    reasons = {}
    for item in effect.items:
        price = prices.get(item.item_id)
        if price is None:
            continue
        current = np.array([float(item.current_price_minor)])
        reduced = max(round(float(compute_reduced_prices(campaign, current)[0])), 0)
        reduction = NewPrice(
            item_id=item.item_id,
            zone=campaign.zone,
            valid_from=campaign.starts_at,
            valid_to=campaign.ends_at,
            list_price_minor=max(price.list_price_minor, reduced),
            offer_price_minor=reduced,
            currency=price.currency,
            source=PriceSource.DESK,
            recorded_at=inputs.now,
        )
        rule = rules[item.item_id]
        if reason := explain_objection(histories[item.item_id], reduction, rule):
            reasons[item.item_id] = reason
    return reasons
