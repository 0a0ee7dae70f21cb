"""Files price suggestions against the price ledger.

What goes into a suggestion is the ledger's price, costs, the forecast of demand and the item's price response: all of
them per item and zone, none of them about a person.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.clock import SystemClock
from features.contracts.errors import Conflict, UnknownName
from features.contracts.pricing import Objective, PriceSuggestion, PricingItem
from features.contracts.tables import DEFAULT_ZONE
from features.store.database import lock, reading, transaction
from features.store.facts import Facts
from features.store.ledger import Ledger, Price, opening_list_price
from models.pricing import optimiser
from models.pricing.elasticity import ElasticityModel, Response
from models.pricing.rules import PricingRules
from serving.store.audit import SYSTEM, AuditEntry, AuditLog
from serving.store.pricing_inputs import HorizonForecast, ItemTerms, horizon_forecast, item_terms
from serving.store.suggestions import OPEN, NewSuggestion, Suggestion, SuggestionFilter, Suggestions

# A suggestion that nobody decides on is worthless after this time: prices and forecasts have moved on.
EXPIRES = timedelta(days=14)
SHOWN = 10


class Forecaster(Protocol):
    """A demand model as far as prices need it: its forecasts, with unique_id, zone, ds, mean, p10, p50, p90."""

    @property
    def forecasts(self) -> pa.Table:
        """One row per item, zone and week."""
        ...


@dataclass(frozen=True)
class SuggestReport:
    """What a run of `suggest_prices` did.

    n_items    items with a price and a forecast for the horizon
    kept       why items keep their price: reason to count
    largest    the suggestions with the largest expected gain in profit, largest first
    """

    run_id: str
    zone: str
    currency: str
    objective: Objective
    horizon_weeks: int
    n_items: int
    n_suggested: int
    n_superseded: int
    n_assumed_costs: int
    kept: Mapping[str, int]
    largest: tuple[Suggestion, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ZonesReport:
    """One report per zone that was priced, and why the other zones were not."""

    reports: tuple[SuggestReport, ...]
    skipped: Mapping[str, str]


@dataclass(frozen=True)
class _Run:
    """What one zone's run computed, before anything is written."""

    zone: str
    run_id: str
    rules: PricingRules
    about: Mapping[str, Any]
    n_items: int
    n_assumed_costs: int
    kept: Mapping[str, int]
    drafts: Sequence[NewSuggestion]


@dataclass(frozen=True)
class FiledSuggestions:
    """The ids of a run's suggestions in the order filed, and how many open ones gave way."""

    ids: list[str]
    superseded: int


def suggest_prices(
    facts: Facts,
    engine: sa.Engine,
    settings: Settings,
    demand_model: Forecaster,
    pricing_model: ElasticityModel,
    rules: PricingRules,
    now: datetime,
    objective: Objective | str | None = None,
    zone: str = DEFAULT_ZONE,
    *,
    versions: Mapping[str, str] | None = None,
) -> SuggestReport:
    """Files the best price within the rules for every item whose best price is another than the current one.

    The suggestions are `submitted` by `system`; open ones of the same items give way. `objective` replaces that of the
    rules; `versions` names the models' versions, to be kept with each suggestion. Raises Conflict when the zone has no
    prices yet.
    """
    if objective is not None:
        rules = replace(rules, objective=_objective(objective))
    run = _compute(facts, engine, settings, demand_model, pricing_model, rules, now, zone, versions or {})
    return _file(engine, settings, [run])[0]


def suggest_everywhere(
    facts: Facts,
    engine: sa.Engine,
    settings: Settings,
    demand_model: Forecaster,
    pricing_model: ElasticityModel,
    rules: PricingRules,
    now: datetime,
    objective: Objective | str | None = None,
    *,
    versions: Mapping[str, str] | None = None,
) -> ZonesReport:
    """`suggest_prices` in every zone that has prices and forecasts; all zones are filed in one transaction.

    Raises Conflict when no zone has both.
    """
    if objective is not None:
        rules = replace(rules, objective=_objective(objective))
    with reading(engine) as connection:
        priced = Ledger(connection).zones()
    foretold = set(pc.unique(demand_model.forecasts["zone"]).to_pylist())
    skipped = dict.fromkeys({*settings.zones, *foretold} - set(priced), "it has no prices")
    skipped |= {zone: "it has no forecasts" for zone in priced if zone not in foretold}
    zones = [zone for zone in priced if zone in foretold]
    if not zones:
        why = "; ".join(f"{zone}: {reason}" for zone, reason in sorted(skipped.items())) or "there are no prices"
        raise Conflict(f"no zone can be priced ({why})", hint="Import price_history, or sales to read prices off")
    runs = [
        _compute(facts, engine, settings, demand_model, pricing_model, rules, now, zone, versions or {})
        for zone in zones
    ]
    return ZonesReport(tuple(_file(engine, settings, runs)), dict(sorted(skipped.items())))


def _compute(
    facts: Facts,
    engine: sa.Engine,
    settings: Settings,
    demand_model: Forecaster,
    pricing_model: ElasticityModel,
    rules: PricingRules,
    now: datetime,
    zone: str,
    versions: Mapping[str, str],
) -> _Run:
    """One zone's suggestions; nothing is written."""
    forecast = horizon_forecast(demand_model.forecasts, zone, now, rules.horizon_weeks)
    with reading(engine) as connection:
        ledger = Ledger(connection)
        if ledger.is_empty(zone):
            raise Conflict(f"zone {zone!r} has no prices yet", hint="Import price_history, or sales to read prices off")
        prices = ledger.current(forecast.item_ids, zone, now)
        histories = ledger.histories(forecast.item_ids, zone)
    response = pricing_model.response(forecast.item_ids, zone)
    forecast = forecast.at_ledger_prices(histories, response.elasticity, now, settings.timezone)
    opening = {item_id: opening_list_price(history, now) for item_id, history in histories.items()}
    terms = item_terms(facts, settings, prices, zone, now, opening)
    items = _pricing_items(forecast, prices, opening, terms, response, settings, zone)
    suggested = optimiser.suggest(items, rules)
    run_id = f"run_{secrets.token_hex(8)}"
    about = {"objective": str(rules.objective), "horizon_weeks": rules.horizon_weeks, "versions": dict(versions)}
    kept = dict(suggested.kept)
    if unanswered := len(prices) - len(items):
        kept["no price response is known"] = unanswered
    if unpriced := len(forecast.item_ids) - len(prices):
        kept["no price in the ledger"] = unpriced
    return _Run(
        zone=zone,
        run_id=run_id,
        rules=rules,
        about=about,
        n_items=len(prices),
        n_assumed_costs=sum(each.cost_source == "assumed" for each in suggested.suggestions),
        kept=kept,
        drafts=[_draft(each, prices, terms, run_id, now, about) for each in suggested.suggestions],
    )


def _file(engine: sa.Engine, settings: Settings, runs: Sequence[_Run]) -> list[SuggestReport]:
    """Files the runs together, or none of them."""
    reports = []
    with transaction(engine) as connection:
        at = SystemClock().now()
        for run in runs:
            filed = file_suggestions(connection, run.drafts, at=at, run={"zone": run.zone, **run.about})
            largest = Suggestions(connection).largest_gains(SuggestionFilter(run_id=run.run_id), SHOWN)
            reports.append(
                SuggestReport(
                    run_id=run.run_id,
                    zone=run.zone,
                    currency=settings.zone(run.zone).currency,
                    objective=run.rules.objective,
                    horizon_weeks=run.rules.horizon_weeks,
                    n_items=run.n_items,
                    n_suggested=len(filed.ids),
                    n_superseded=filed.superseded,
                    n_assumed_costs=run.n_assumed_costs,
                    kept=run.kept,
                    largest=tuple(largest),
                    notes=_notes(settings, run.n_assumed_costs, run.rules),
                )
            )
    return reports


def file_suggestions(
    connection: sa.Connection, drafts: Sequence[NewSuggestion], *, at: datetime, run: Mapping[str, Any]
) -> FiledSuggestions:
    """Files a run's suggestions in the given order; open ones of the same items and zones give way to them.

    `at` is system time; `run` says in the audit log what the run was (objective, versions, zone). Every draft has the
    same creation time and run.
    """
    lock(connection, "price_desk")
    repository = Suggestions(connection)
    waiting = repository.of_items(((draft.item_id, draft.zone) for draft in drafts), OPEN)
    ids = repository.add(drafts)
    deeds = []
    if drafts:
        repository.change([place.id for place in waiting], drafts[0].created_at, status="superseded")
        deeds = [
            AuditEntry(
                SYSTEM, "supersede", "price_suggestion", place.id, {"item_id": place.item_id, "zone": place.zone}
            )
            for place in waiting
        ]
        counts = {"filed": len(ids), "superseded": len(waiting)}
        deeds.append(AuditEntry(SYSTEM, "suggest", "pricing_run", drafts[0].run_id, {**run, **counts}))
    AuditLog(connection).append(deeds, at)
    return FiledSuggestions(ids, len(waiting))


def _objective(name: str) -> Objective:
    if name not in tuple(Objective):
        raise UnknownName(str(name), tuple(Objective), kind="objective")
    return Objective(name)


def _notes(settings: Settings, n_assumed: int, rules: PricingRules) -> tuple[str, ...]:
    notes = [f"effects are expected over {rules.horizon_weeks} weeks, net of tax, from the response to past prices"]
    if n_assumed:
        notes.append(
            f"{n_assumed} suggestions rest on an assumed cost: a margin of {settings.assumed_margin:.0%} of the net "
            "list price (SHOPWRIGHT_ASSUMED_MARGIN); import `costs` or `items.unit_cost` to replace it"
        )
    return tuple(notes)


def _pricing_items(
    forecast: HorizonForecast,
    prices: Mapping[str, Price],
    opening: Mapping[str, int | None],
    terms: Mapping[str, ItemTerms],
    response: Response,
    settings: Settings,
    zone: str,
) -> list[PricingItem]:
    """What the optimiser may know of each item that has a price and a known response."""
    tax = settings.zone(zone)
    divisor = 1 + tax.tax_rate if tax.prices_include_tax else 1.0
    items = []
    for n, item_id in enumerate(forecast.item_ids):
        price = prices.get(item_id)
        if price is None or price.offer_price_minor <= 0 or math.isnan(response.elasticity[n]):
            continue
        term = terms[item_id]
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
                opening_list_price_minor=opening[item_id],
            )
        )
    return items


def _whole(minor: float) -> int | None:
    return None if math.isnan(minor) else round(minor)


def _draft(
    suggestion: PriceSuggestion,
    prices: Mapping[str, Price],
    terms: Mapping[str, ItemTerms],
    run_id: str,
    now: datetime,
    about: Mapping[str, Any],
) -> NewSuggestion:
    term = terms[suggestion.item_id]
    expected = {}
    for name in ("units", "revenue", "profit"):
        keeping = asdict(getattr(suggestion.against_keeping, name))
        expected[name] = {**asdict(getattr(suggestion.expected, name)), "against_keeping": keeping}
    return NewSuggestion(
        item_id=suggestion.item_id,
        zone=suggestion.zone,
        status="submitted",
        kind="regular",
        currency=suggestion.currency,
        list_price_minor=suggestion.list_price_minor,
        current_price_minor=suggestion.current_price_minor,
        suggested_price_minor=suggestion.suggested_price_minor,
        run_id=run_id,
        base_price_id=prices[suggestion.item_id].price_id,
        effective_from=now,
        created_at=now,
        proposed_by=SYSTEM,
        category=term.category,
        title=term.title,
        expected=expected,
        waterfall=[asdict(step) for step in suggestion.waterfall],
        details={
            **about,
            "elasticity": suggestion.elasticity,
            "elasticity_error": suggestion.elasticity_error,
            "unit_cost_minor": suggestion.unit_cost_minor,
            "cost_source": suggestion.cost_source,
            "propensity": suggestion.propensity,
        },
        gain_minor=None if suggestion.against_keeping is None else suggestion.against_keeping.profit.p50,
        evidence_grade=str(suggestion.evidence_grade),
        binding_rule=suggestion.binding_rule,
        expires_at=now + EXPIRES,
    )
