"""The items of a zone as the optimiser takes them: one relation of item and zone, no person."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.errors import Conflict
from features.contracts.pricing import PricingItem
from features.contracts.sizes import parse_size
from features.contracts.times import read_time
from features.database import reading
from features.facts.facts import Facts
from features.facts.item_rules import find_item_rules
from features.facts.off_sale import find_off_sale
from features.prices.law import (
    PlannedReduction,
    find_lawful_floor,
    find_spoiled_reduction,
    is_reduction_running,
    list_planned_reductions,
)
from features.prices.ledger import Ledger, Price
from features.prices.reduction_rule import ReductionRule
from features.prices.stored_tests import PROMOTION_RUNNING, PriceTests, describe_hold
from features.prices.timeline import find_opening_list_price, list_steps
from models.pricing.implied_costs import imply_costs
from models.pricing.response.cross_effects import add_cross_effects
from models.pricing.response.elasticity import ElasticityModel, PriceResponse
from models.pricing.rules import AssortmentPart, CompetitorRule, PricingRules, select_rules
from serving.database.price_locks import LOCKED, ActiveLocks, PriceLocks
from serving.pricing_inputs.horizon_forecast import (
    Forecaster,
    HorizonForecast,
    select_horizon,
)
from serving.pricing_inputs.item_facts import (
    ItemTerms,
    parse_map_price,
    read_competitor_prices,
    read_item_terms,
    read_stock_on_hand,
)
from serving.pricing_inputs.promotion_plans import (
    find_planned_reductions,
    find_promotion_runs,
)
from serving.pricing_inputs.repository import find_rejections

INTRODUCTION = "introduction"
_WEEK = timedelta(weeks=1)


@dataclass(frozen=True)
class PricingInputs:
    """What prices are suggested and simulated from, at one instant of business time.

    presets    rules by lifecycle stage, for the stages that `rules` maps to a preset
    versions   the models' versions, stored with each suggestion
    rules_name   the file of configs/pricing that `rules` come from
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
    rules_name: str = "default"

    @property
    def all_rules(self) -> list[PricingRules]:
        """The rules, those of every preset, and those of every scope."""
        scoped = [scope.apply(self.rules) for scope in self.rules.scopes]
        return [self.rules, *self.presets.values(), *scoped]

    def find_rules(self, zone: str, item_ids: Iterable[str]) -> Mapping[str, ReductionRule]:
        """Return from which earlier prices the reductions of items are counted."""
        return find_item_rules(self.settings, self.engine, zone, item_ids, self.now)

    def is_own_currency(self, zone: str) -> bool:
        """Whether the zone's prices are in the shop's own currency."""
        return self.settings.zone(zone).currency == self.settings.currency


@dataclass(frozen=True)
class PricedZone:
    """The items of a zone that have a price and a forecast; prices and terms by item id.

    forecast_ids   all items with a forecast, with or without a price
    """

    zone: str
    items: list[PricingItem]
    prices: Mapping[str, Price]
    terms: Mapping[str, ItemTerms]
    forecast_ids: Sequence[str]


@dataclass(frozen=True)
class _Sources:
    """What was read for the items of a zone, by item id.

    find_competitors   what they charge, by item id, as the rule of a part of the assortment counts
    promoted   items whose price a promotion of the table `promotions` lowers now
    """

    prices: Mapping[str, Price]
    histories: Mapping[str, Sequence[Price]]
    terms: Mapping[str, ItemTerms]
    stock: Mapping[str, float]
    find_competitors: Callable[[AssortmentPart], Mapping[str, float]]
    promotions: Mapping[str, list[PlannedReduction]]
    promoted: frozenset[str]
    rejections: Mapping[tuple[str, str], str]
    locks: ActiveLocks
    off_sale: frozenset[str]
    tests: Mapping[str, str]
    rules: Mapping[str, ReductionRule]


@dataclass(frozen=True)
class _Demand:
    """Forecast and price response of the items of a zone, row by row the same items."""

    forecast: HorizonForecast
    response: PriceResponse


def read_priced_zone(
    inputs: PricingInputs,
    zone: str,
    item_ids: Sequence[str] | None = None,
    *,
    without_forecast: bool = False,
) -> PricedZone:
    """Return the items of a zone, or those of `item_ids`.

    With `without_forecast` also those of `item_ids` that have a price and no forecast: of them
    nothing is known to be sold. Raises Conflict where the zone has no prices.
    """
    forecast = select_horizon(
        inputs.demand_model, zone, inputs.now, inputs.rules.horizon_weeks, item_ids
    )
    if without_forecast:
        forecast = forecast.with_items(item_ids or ())
    response = inputs.pricing_model.find_response(forecast.item_ids, zone)
    sources = _read_sources(inputs, zone, forecast.item_ids)
    forecast = forecast.at_ledger_prices(
        sources.histories, response.elasticity, inputs.now, inputs.settings.timezone
    )
    demand = _Demand(forecast, response)
    items = []
    for row, item_id in enumerate(forecast.item_ids):
        price = sources.prices.get(item_id)
        if price is not None and price.offer_price_minor > 0:
            items.append(_build_item(inputs, sources, demand, row, price))
    cross_effects = inputs.pricing_model.find_cross_elasticities(
        [item.item_id for item in items], zone
    )
    items = add_cross_effects(items, cross_effects)
    if any(item.cost_source == "assumed" for item in items):
        items = add_cross_effects(imply_costs(items), cross_effects)
    return PricedZone(zone, items, sources.prices, sources.terms, forecast.item_ids)


def _read_sources(inputs: PricingInputs, zone: str, item_ids: Sequence[str]) -> _Sources:
    facts, settings, now = inputs.facts, inputs.settings, inputs.now
    with reading(inputs.engine) as connection:
        ledger = Ledger(connection)
        if ledger.is_empty(zone):
            raise Conflict(
                f"zone {zone!r} has no prices yet",
                hint="Import price_history, or sales to derive prices from",
            )
        prices = ledger.find_current(item_ids, zone, now)
        histories = ledger.read_histories(item_ids, zone)
        since = now - timedelta(days=inputs.rules.rejected_days)
        rejections = find_rejections(connection, zone, since)
        locks = PriceLocks(connection).at(now)
        tests = PriceTests(connection).find_tested_items(zone, now)
    opening = {
        item_id: find_opening_list_price(history, now) for item_id, history in histories.items()
    }
    terms = read_item_terms(facts, settings, prices, zone, now, opening)
    stock = read_stock_on_hand(facts, zone, now)
    return _Sources(
        prices=prices,
        histories=histories,
        terms=terms,
        stock=stock,
        find_competitors=_make_competitor_reader(inputs, zone),
        promotions=find_planned_reductions(facts, zone, now),
        promoted=frozenset(run.item_id for run in find_promotion_runs(facts, zone, now, now)),
        rejections=rejections,
        locks=locks,
        off_sale=find_off_sale(settings, now),
        tests=tests,
        rules=inputs.find_rules(zone, prices),
    )


def _build_item(
    inputs: PricingInputs, sources: _Sources, demand: _Demand, row: int, price: Price
) -> PricingItem:
    """Return the item of one row of the forecast, which has this price."""
    forecast, response = demand.forecast, demand.response
    item_id, zone, now = price.item_id, price.zone, inputs.now
    rule, tax = sources.rules[item_id], inputs.settings.zone(zone)
    term, history = sources.terms[item_id], sources.histories.get(item_id, ())
    ahead = [*list_planned_reductions(history, now), *sources.promotions.get(item_id, ())]
    spoiled = find_spoiled_reduction(ahead, now, rule)
    map_minor, map_fault = None, None
    if inputs.is_own_currency(zone):
        map_minor, map_fault = parse_map_price(term.attributes, price.currency)
    stage = find_stage(term.attributes, term.available_from, now, inputs.rules)
    sell_by = _parse_date(term.attributes.get("sell_by")) or _parse_date(inputs.rules.sell_by)
    return PricingItem(
        item_id=item_id,
        zone=zone,
        currency=price.currency,
        list_price_minor=price.list_price_minor,
        current_price_minor=price.offer_price_minor,
        unit_cost_minor=term.unit_cost_minor,
        cost_source="assumed" if term.cost_assumed else "known",
        tax_divisor=tax.tax_divisor,
        units_p10=float(forecast.p10[row]),
        units_p50=float(forecast.p50[row]),
        units_p90=float(forecast.p90[row]),
        units_mean=float(forecast.mean[row]),
        elasticity=float(response.elasticity[row]),
        elasticity_error=float(response.error[row]),
        evidence_grade=response.grade[row],
        n_regular_changes=int(response.n_changes[row]),
        lowest_tried_minor=_round_price(response.lowest_minor[row]),
        highest_tried_minor=_round_price(response.highest_minor[row]),
        opening_list_price_minor=find_opening_list_price(history, now),
        hold=_find_hold(inputs, sources, price) or map_fault,
        category=term.category,
        brand=term.brand,
        family_id=term.family_id,
        size=parse_size(term.size),
        price_image=term.attributes.get("price_image"),
        stage=stage,
        stock_units=sources.stock.get(item_id, term.stock_on_hand),
        weeks_to_sell=None if sell_by is None else max((sell_by - now) / _WEEK, 1 / 7),
        map_minor=map_minor,
        competitor_minor=sources.find_competitors(
            AssortmentPart(term.category, term.brand or "", zone, stage or "")
        ).get(item_id),
        law_floor_minor=find_lawful_floor(history, now, rule),
        spoiled_above_minor=None if spoiled is None else price.offer_price_minor,
        spoiled="" if spoiled is None else _describe_spoiled(spoiled, rule),
        days_since_change=_days_since_change(history, now) if _limits_changes(inputs) else None,
    )


def _make_competitor_reader(
    inputs: PricingInputs, zone: str
) -> Callable[[AssortmentPart], Mapping[str, float]]:
    """Return what reads the competitors' prices as the rule of a part of the assortment counts
    them; where its rules count none, by any rule: a trial of other rules may."""
    listed = [rules.competitor for rules in inputs.all_rules if rules.competitor is not None]
    fallback = next(iter(listed), None)

    @cache
    def read(rule: CompetitorRule) -> Mapping[str, float]:
        return read_competitor_prices(inputs.facts, rule, inputs.now)

    @cache
    def find(part: AssortmentPart) -> Mapping[str, float]:
        if fallback is None or not inputs.is_own_currency(zone):
            return {}
        rules = select_rules(inputs.rules, inputs.presets.get(part.stage)).apply_scopes(part)
        return read(rules.competitor or fallback)

    return find


def _find_hold(inputs: PricingInputs, sources: _Sources, price: Price) -> str | None:
    """Return why the price must stay as it is; None where it may move."""
    if price.item_id in sources.off_sale:
        return "it is off sale"
    if sources.locks.find(price.item_id, price.zone) is not None:
        return LOCKED
    is_reduced = price.offer_price_minor < price.list_price_minor
    if is_reduced and price.item_id in sources.promoted:
        return PROMOTION_RUNNING
    if is_reduction_running(sources.histories.get(price.item_id, ()), inputs.now):
        return PROMOTION_RUNNING
    if decided := sources.rejections.get((price.item_id, price.price_id)):
        return f"another price was {decided} in the last {inputs.rules.rejected_days} days"
    # The last reason: a test confirms its own hold, and no other one.
    if test_id := sources.tests.get(price.item_id):
        return describe_hold(test_id)
    return None


def _describe_spoiled(promotion: PlannedReduction, rule: ReductionRule) -> str:
    return (
        f"promotion {promotion.name} begins on {promotion.starts_at.date().isoformat()}: "
        f"its reduction counts from {rule.describe_prior()}, "
        "not from a price raised now"
    )


def find_stage(
    attributes: Mapping[str, object], since: datetime | None, now: datetime, rules: PricingRules
) -> str | None:
    """Return the stage that the catalogue names, else introduction for an item that is available
    since lately."""
    if stage := attributes.get("lifecycle_stage"):
        return str(stage)
    new = since is not None and now - since < timedelta(days=rules.introduction_days)
    return INTRODUCTION if new else None


def _limits_changes(inputs: PricingInputs) -> bool:
    return any(rules.min_days_between_changes for rules in inputs.all_rules)


def _days_since_change(history: Sequence[Price], now: datetime) -> float | None:
    """Return the days since the offer price last changed; None where it never did."""
    offers = [
        (since, None if price is None else price.offer_price_minor)
        for since, price in list_steps(history, now)
    ]
    changes = [
        since
        for (since, offer), (_, before) in zip(offers[1:], offers, strict=False)
        if offer != before
    ]
    return (now - changes[-1]) / timedelta(days=1) if changes else None


def _parse_date(text: object) -> datetime | None:
    """Return the instant of a time or of a date; None where the text is empty or something else."""
    return read_time(str(text)) if text else None


def _round_price(minor: float) -> int | None:
    return None if math.isnan(minor) else round(minor)
