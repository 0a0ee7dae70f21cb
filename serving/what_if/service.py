"""What would happen: an item at other prices, a promotion of some items. Nothing is written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from features.contracts.arrays import Float64Array
from features.contracts.errors import BadInput, Conflict, NotFound
from features.contracts.pricing import Effect, PricingItem
from features.contracts.tables import TIMESTAMP
from features.database import reading
from features.prices.law import explain_objection
from features.prices.ledger import Ledger, NewPrice, PriceSource
from models.demand.lookup import ForecastTable
from models.pricing.optimise.bounds import list_bounds
from models.pricing.optimise.objective import ItemColumns, compare_with_current, predict_effects
from models.pricing.promotions.support_lift import SupportLift, compute_support_lift
from models.pricing.promotions.what_if import (
    MAX_ITEMS,
    MAX_PRICES,
    Campaign,
    CampaignConflict,
    Mechanic,
    PromotionRun,
    WhatIf,
    evaluate_campaign,
    find_conflicts,
)
from serving.pricing_inputs.inputs import planned_reach, promotion_runs, with_families
from serving.pricing_inputs.items import PricingInputs, priced_zone


@dataclass(frozen=True)
class PricePoint:
    """One price: what is expected over the horizon, the same against keeping the price, and the
    rules it breaks."""

    price_minor: int
    expected: Effect
    against_keeping: Effect
    broken_rules: tuple[str, ...]


@dataclass(frozen=True)
class Simulation:
    """An item at several prices."""

    item: PricingItem
    horizon_weeks: int
    points: tuple[PricePoint, ...]


@dataclass(frozen=True)
class PromotionSimulation:
    """A promotion's effect, what it collides with, the items on which it may not be announced, and
    what was assumed."""

    what_if: WhatIf
    conflicts: tuple[CampaignConflict, ...]
    unlawful: dict[str, str]
    missing: tuple[str, ...]
    notes: tuple[str, ...] = ()


class ServedDemand:
    """The served forecasts of some items, as a table."""

    def __init__(
        self, table: ForecastTable, item_ids: Sequence[str], zone: str, weeks: int, now: datetime
    ) -> None:
        rows = []
        for item_id in item_ids:
            try:
                found = table.look_up(item_id, zone, weeks, now)
            except NotFound:
                continue
            rows += [
                {
                    "unique_id": item_id,
                    "zone": zone,
                    "ds": week.start,
                    "mean": week.mean,
                    "p10": week.p10,
                }
                | {"p50": week.p50, "p90": week.p90, "price_minor": week.price_minor}
                for week in found
            ]
        self.forecasts = pa.Table.from_pylist(rows, _FORECASTS)


_NUMBERS = ("mean", "p10", "p50", "p90", "price_minor")
_FORECASTS = pa.schema(
    [
        ("unique_id", pa.string()),
        ("zone", pa.string()),
        ("ds", TIMESTAMP),
        *((name, pa.float64()) for name in _NUMBERS),
    ]
)


def simulate_prices(
    inputs: PricingInputs, item_id: str, prices_minor: Sequence[int], zone: str
) -> Simulation:
    """An item's expected units, revenue and profit at each price, with intervals.

    Raises NotFound without a price or a forecast, Conflict where the item's price response is not
    known.
    """
    if not 0 < len(prices_minor) <= MAX_PRICES or min(prices_minor) <= 0:
        raise BadInput(f"give 1 to {MAX_PRICES} prices above 0", where="prices")
    family = priced_zone(inputs, zone, with_families(inputs.facts, [item_id])).items
    found = [each for each in family if each.item_id == item_id]
    if not found:
        raise NotFound(f"item {item_id!r} has no price or no forecast in zone {zone!r}")
    (item,) = found
    if math.isnan(item.elasticity):
        raise Conflict(
            f"how item {item_id!r} answers to its price is not known",
            hint="Test other prices first",
        )
    columns = ItemColumns.from_items(found)
    places, prices = np.zeros(len(prices_minor), np.int64), np.array(prices_minor, np.float64)
    limits = list_bounds(item, inputs.rules)
    points = [
        PricePoint(
            price, at, less, tuple(each.rule for each in limits if each.clamp(price) != price)
        )
        for price, at, less in zip(
            prices_minor,
            predict_effects(columns, places, prices),
            compare_with_current(columns, places, prices),
            strict=True,
        )
    ]
    return Simulation(item, inputs.rules.horizon_weeks, tuple(points))


def simulate_promotion(
    inputs: PricingInputs, campaign: Campaign, item_ids: Sequence[str]
) -> PromotionSimulation:
    """What a promotion of some items would do, with what it collides, and where the law forbids to
    announce it."""
    chosen = list(dict.fromkeys(item_ids))
    if not 0 < len(chosen) <= MAX_ITEMS:
        raise BadInput(f"give 1 to {MAX_ITEMS} items", where="item_ids")
    zone = priced_zone(inputs, campaign.zone, with_families(inputs.facts, chosen))
    by_id = {each.item_id: each for each in zone.items}
    items = [by_id[each] for each in chosen if each in by_id]
    named = {each.family_id for each in items if each.family_id}
    families = [
        each for each in zone.items if each.family_id in named and each.item_id not in chosen
    ]
    support = _support(inputs, campaign, [each.item_id for each in items])
    found = evaluate_campaign(
        campaign, items, families, inputs.rules.horizon_weeks, support.log_units
    )
    runs = promotion_runs(inputs.facts, campaign.zone, campaign.starts_at, campaign.ends_at)
    runs += _ledger_runs(inputs, campaign, [each.item_id for each in (*items, *families)])
    family_of = {each.item_id: each.family_id for each in zone.items}
    clashes = find_conflicts(campaign, [each.item_id for each in items], runs, family_of)
    missing = tuple(each for each in chosen if each not in by_id)
    return PromotionSimulation(
        found, tuple(clashes), _unlawful(inputs, found), missing, support.notes
    )


def _support(inputs: PricingInputs, campaign: Campaign, item_ids: Sequence[str]) -> SupportLift:
    """What the campaign's support adds, beyond what the forecasts hold of it."""
    planned: dict[str, Float64Array] = {}
    if campaign.support:
        # The campaign's units are its share of the horizon's: these hold of a plan its mean reach
        # over the horizon.
        end = inputs.now + timedelta(weeks=inputs.rules.horizon_weeks)
        plans = planned_reach(inputs.facts, campaign.zone, inputs.now, end, campaign.reach)
        planned = {
            kind: np.array([plans.get((each, kind), 0.0) for each in item_ids])
            for kind in campaign.support
        }
    lifts = inputs.pricing_model.find_lifts(item_ids, campaign.zone)
    return compute_support_lift(campaign, lifts, planned, len(item_ids))


def _ledger_runs(
    inputs: PricingInputs, campaign: Campaign, item_ids: Sequence[str]
) -> list[PromotionRun]:
    """The reductions of the ledger that overlap the campaign."""
    with reading(inputs.engine) as connection:
        histories = Ledger(connection).histories(item_ids, campaign.zone)
    return [
        PromotionRun(row.promotion_id or row.price_id, row.item_id, row.valid_from, row.valid_to)
        for history in histories.values()
        for row in history
        if row.offer_price_minor < row.list_price_minor
        and row.valid_from < campaign.ends_at
        and (row.valid_to is None or row.valid_to > campaign.starts_at)
    ]


def _unlawful(inputs: PricingInputs, found: WhatIf) -> dict[str, str]:
    """Why some items' reduction could not be announced; only where the offer price itself is
    lowered."""
    campaign = found.campaign
    if campaign.mechanic not in (Mechanic.PERCENT_OFF, Mechanic.PRICE_OFF):
        return {}
    ids = [each.item_id for each in found.items]
    law = inputs.settings.zone(campaign.zone).price_law
    with reading(inputs.engine) as connection:
        ledger = Ledger(connection)
        histories, present = (
            ledger.histories(ids, campaign.zone),
            ledger.current(ids, campaign.zone, campaign.starts_at),
        )
    reasons = {}
    for each in found.items:
        price = present.get(each.item_id)
        if price is None:
            continue
        row = NewPrice(
            item_id=each.item_id,
            zone=campaign.zone,
            valid_from=campaign.starts_at,
            valid_to=campaign.ends_at,
            list_price_minor=max(price.list_price_minor, each.price_minor),
            offer_price_minor=each.price_minor,
            currency=price.currency,
            source=PriceSource.DESK,
            recorded_at=inputs.now,
        )
        if why := explain_objection(histories[each.item_id], row, law):
            reasons[each.item_id] = why
    return reasons
