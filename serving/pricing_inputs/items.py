"""What the optimiser is told of each item of a zone: one relation of item and zone. Nothing
personal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pyarrow as pa
import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.errors import Conflict
from features.contracts.money import to_minor
from features.contracts.pricing import PricingItem
from features.contracts.sizes import parse_size
from features.database import reading
from features.facts.facts import Facts
from features.prices.law import (
    PlannedReduction,
    find_lawful_floor,
    find_spoiled_reduction,
    is_reduction_running,
    list_planned_reductions,
)
from features.prices.ledger import Ledger, Price, list_steps, opening_list_price
from models.pricing.response.cross_effects import add_cross_effects
from models.pricing.response.elasticity import ElasticityModel
from models.pricing.rules import PricingRules
from serving.price_desk.repository import Suggestions
from serving.pricing_inputs.inputs import (
    ItemTerms,
    competitor_prices,
    horizon_forecast,
    item_terms,
    planned_promotions,
    stock_on_hand,
)

INTRODUCTION = "introduction"
_WEEK = timedelta(weeks=1)


class Forecaster(Protocol):
    """A demand model as far as prices need it: its forecasts, with unique_id, zone, ds, mean, p10,
    p50, p90."""

    @property
    def forecasts(self) -> pa.Table:
        """One row per item, zone and week."""
        ...


@dataclass(frozen=True)
class PricingInputs:
    """What prices are suggested and simulated from, at one instant of business time.

    presets    rules by lifecycle stage, for the stages that `rules` maps to a preset
    versions   the models' versions, to be kept with each suggestion
    """

    facts: Facts
    engine: sa.Engine
    settings: Settings
    demand_model: Forecaster
    pricing_model: ElasticityModel
    rules: PricingRules
    now: datetime
    presets: Mapping[str, PricingRules]
    versions: Mapping[str, str]

    @property
    def all_rules(self) -> list[PricingRules]:
        """The rules and those of every preset."""
        return [self.rules, *self.presets.values()]


@dataclass(frozen=True)
class PricedZone:
    """The items of a zone that have a price and a forecast; prices and terms by item id."""

    zone: str
    items: list[PricingItem]
    prices: Mapping[str, Price]
    terms: Mapping[str, ItemTerms]
    n_forecast: int


@dataclass(frozen=True)
class _Sources:
    """What was read for the items of a zone, by item id."""

    prices: Mapping[str, Price]
    histories: Mapping[str, Sequence[Price]]
    terms: Mapping[str, ItemTerms]
    stock: Mapping[str, float]
    competitors: Mapping[str, float]
    promotions: Mapping[str, list[PlannedReduction]]
    rejected: Mapping[str, str]


def priced_zone(
    inputs: PricingInputs, zone: str, item_ids: Sequence[str] | None = None
) -> PricedZone:
    """The items of a zone, or those of `item_ids`. Raises Conflict where the zone has no prices."""
    forecast = horizon_forecast(
        inputs.demand_model.forecasts, zone, inputs.now, inputs.rules.horizon_weeks, item_ids
    )
    response = inputs.pricing_model.find_response(forecast.item_ids, zone)
    sources = _read(inputs, zone, forecast.item_ids)
    forecast = forecast.at_ledger_prices(
        sources.histories, response.elasticity, inputs.now, inputs.settings.timezone
    )
    tax = inputs.settings.zone(zone)
    divisor = 1 + tax.tax_rate if tax.prices_include_tax else 1.0
    items = []
    for n, item_id in enumerate(forecast.item_ids):
        price = sources.prices.get(item_id)
        if price is None or price.offer_price_minor <= 0:
            continue
        term = sources.terms[item_id]
        items.append(
            PricingItem(
                item_id=item_id,
                zone=zone,
                currency=price.currency,
                list_price_minor=price.list_price_minor,
                current_price_minor=price.offer_price_minor,
                unit_cost_minor=term.unit_cost_minor,
                cost_source="assumed" if term.cost_assumed else "known",
                tax_divisor=divisor,
                units_p10=float(forecast.p10[n]),
                units_p50=float(forecast.p50[n]),
                units_p90=float(forecast.p90[n]),
                units_mean=float(forecast.mean[n]),
                elasticity=float(response.elasticity[n]),
                elasticity_error=float(response.error[n]),
                evidence_grade=response.grade[n],
                lowest_tried_minor=_whole(response.lowest_minor[n]),
                highest_tried_minor=_whole(response.highest_minor[n]),
                **_circumstances(inputs, zone, item_id, price, sources),
            )
        )
    items = add_cross_effects(
        items, inputs.pricing_model.find_cross_elasticities([item.item_id for item in items], zone)
    )
    return PricedZone(zone, items, sources.prices, sources.terms, len(forecast.item_ids))


def _read(inputs: PricingInputs, zone: str, item_ids: Sequence[str]) -> _Sources:
    facts, settings, now, rules = inputs.facts, inputs.settings, inputs.now, inputs.rules
    with reading(inputs.engine) as connection:
        ledger = Ledger(connection)
        if ledger.is_empty(zone):
            raise Conflict(
                f"zone {zone!r} has no prices yet",
                hint="Import price_history, or sales to read prices off",
            )
        prices = ledger.current(item_ids, zone, now)
        histories = ledger.histories(item_ids, zone)
        rejected = Suggestions(connection).rejected(zone, now - timedelta(days=rules.rejected_days))
    opening = {item_id: opening_list_price(history, now) for item_id, history in histories.items()}
    competitor = next(
        (each.competitor for each in inputs.all_rules if each.competitor is not None), None
    )
    return _Sources(
        prices,
        histories,
        item_terms(facts, settings, prices, zone, now, opening),
        stock_on_hand(facts, zone, now),
        competitor_prices(facts, competitor, now)
        if competitor and _own_currency(settings, zone)
        else {},
        planned_promotions(facts, zone, now),
        rejected,
    )


def _circumstances(
    inputs: PricingInputs, zone: str, item_id: str, price: Price, sources: _Sources
) -> dict[str, Any]:
    """What rules may ask of an item beside its price, cost, demand and response."""
    now, rules, law = inputs.now, inputs.rules, inputs.settings.zone(zone).price_law
    term, history = sources.terms[item_id], sources.histories.get(item_id, ())
    ahead = [*list_planned_reductions(history, now), *sources.promotions.get(item_id, ())]
    spoiled = find_spoiled_reduction(ahead, now, law)
    hold = None
    if is_reduction_running(history, now):
        hold = "a promotion is running"
    elif sources.rejected.get(item_id) == price.price_id:
        hold = f"another price was rejected in the last {rules.rejected_days} days"
    map_price = term.attributes.get("map_price") if _own_currency(inputs.settings, zone) else None
    sell_by = _date(term.attributes.get("sell_by")) or _date(rules.sell_by)
    return {
        "opening_list_price_minor": opening_list_price(history, now),
        "hold": hold,
        "category": term.category,
        "family_id": term.family_id,
        "size": parse_size(term.size),
        "price_image": term.attributes.get("price_image"),
        "stage": _stage(term, now, rules),
        "stock_units": sources.stock.get(item_id, term.stock_on_hand),
        "weeks_to_sell": None if sell_by is None else max((sell_by - now) / _WEEK, 1 / 7),
        "map_minor": None if map_price is None else to_minor(str(map_price), price.currency),
        "competitor_minor": sources.competitors.get(item_id),
        "law_floor_minor": find_lawful_floor(history, now, law),
        "spoiled_above_minor": None if spoiled is None else price.offer_price_minor,
        "spoiled": "" if spoiled is None else _spoils(spoiled, law.days),
        "days_since_change": _days_since_change(history, now) if _asks_for_rest(inputs) else None,
    }


def _spoils(promotion: PlannedReduction, days: int) -> str:
    return (
        f"promotion {promotion.name} begins on {promotion.starts_at.date().isoformat()}: its reduction counts from the "
        f"lowest price of the {days} days before, not from a price raised now"
    )


def _stage(term: ItemTerms, now: datetime, rules: PricingRules) -> str | None:
    """The stage that the catalogue says, else introduction for an item that is new."""
    if stage := term.attributes.get("lifecycle_stage"):
        return str(stage)
    since = term.available_from
    new = since is not None and now - since < timedelta(days=rules.introduction_days)
    return INTRODUCTION if new else None


def _asks_for_rest(inputs: PricingInputs) -> bool:
    return any(each.min_days_between_changes for each in inputs.all_rules)


def _days_since_change(history: Sequence[Price], now: datetime) -> float | None:
    """Days since the offer price last changed; None where it never did."""
    offers = [
        (since, None if price is None else price.offer_price_minor)
        for since, price in list_steps(history, now)
    ]
    changed = [
        since
        for (since, offer), (_, before) in zip(offers[1:], offers, strict=False)
        if offer != before
    ]
    return (now - changed[-1]) / timedelta(days=1) if changed else None


def _own_currency(settings: Settings, zone: str) -> bool:
    return settings.zone(zone).currency == settings.currency


def _date(text: object) -> datetime | None:
    """The start of an ISO date in UTC; None where the catalogue says none or something else."""
    try:
        return datetime.fromisoformat(str(text)).replace(tzinfo=UTC) if text else None
    except ValueError:
        return None


def _whole(minor: float) -> int | None:
    return None if math.isnan(minor) else round(minor)
