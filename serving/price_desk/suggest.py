"""A run that computes the best prices of a zone and files them as suggestions.

A suggestion is made from the ledger's price, costs, the forecast of demand and the item's price
response: all of them per item and zone, none of them about a person.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import pyarrow.compute as pc
import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.clock import Clock
from features.contracts.errors import Conflict
from features.contracts.pricing import Objective, PriceSuggestion
from features.contracts.tables import DEFAULT_ZONE
from features.database import lock, reading, transaction
from features.prices.ledger import Ledger
from models.pricing.optimise import optimiser
from models.pricing.optimise.batch_guards import find_batch_problems
from models.pricing.optimise.optimiser import OptimisedPrices, Outcome
from models.pricing.rules import PricingRules
from serving.database.audit_log import SYSTEM, AuditEntry, AuditLog
from serving.price_desk.repository import (
    OPEN,
    NewSuggestion,
    Suggestion,
    SuggestionFilter,
    Suggestions,
)
from serving.pricing_inputs.items import PricedZone, PricingInputs, read_priced_zone

# A suggestion that nobody decides on is worthless after this time: prices and forecasts have moved
# on.
EXPIRES = timedelta(days=14)
SHOWN = 10


@dataclass(frozen=True)
class SuggestReport:
    """The result of a run of `suggest_prices` in one zone.

    n_items    items with a price and a forecast for the horizon
    kept       number of items that keep their price, by reason
    n_flagged  suggestions with something that whoever approves should know
    status     submitted, or suggested where the batch as a whole looks wrong
    held       why an analyst must submit the suggestions; empty where they are submitted
    outcome    how near the prices together are to the best possible ones, and the rules that could
               not be kept
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
    n_flagged: int
    outcome: Outcome
    kept: Mapping[str, int]
    largest: tuple[Suggestion, ...]
    notes: tuple[str, ...]
    status: str = "submitted"
    held: tuple[str, ...] = ()


@dataclass(frozen=True)
class ZonesReport:
    """One report per zone that was priced, and why the other zones were not."""

    reports: tuple[SuggestReport, ...]
    skipped: Mapping[str, str]


@dataclass(frozen=True)
class _Run:
    """The suggestions of one zone, before anything is written.

    about   objective, horizon, gap and model versions, stored with each suggestion
    held    the guards that the batch trips, in words
    """

    zone: str
    run_id: str
    rules: PricingRules
    about: Mapping[str, object]
    n_items: int
    suggested: OptimisedPrices
    kept: Mapping[str, int]
    drafts: Sequence[NewSuggestion]
    held: tuple[str, ...]

    @property
    def status(self) -> str:
        """The status of the suggestions when they are filed."""
        return "suggested" if self.held else "submitted"

    @property
    def n_assumed_costs(self) -> int:
        suggestions = self.suggested.suggestions
        return sum(suggestion.cost_source == "assumed" for suggestion in suggestions)


@dataclass(frozen=True)
class FiledSuggestions:
    """The ids of a run's suggestions in the order filed, and the number of superseded ones."""

    ids: list[str]
    superseded: int


def suggest_prices(
    inputs: PricingInputs, system_clock: Clock, zone: str = DEFAULT_ZONE
) -> SuggestReport:
    """File the best price within the rules for every item whose best price is not the current one.

    The suggestions are `submitted` by `system`, or filed as `suggested` where a guard of the batch
    trips, and supersede open ones of the same items. Raises Conflict when the zone has no prices
    yet.
    """
    return _file_runs(inputs, [_compute_run(inputs, zone)], system_clock)[0]


def suggest_everywhere(inputs: PricingInputs, system_clock: Clock) -> ZonesReport:
    """Run `suggest_prices` in every zone with prices and forecasts, filed in one transaction.

    Raises Conflict when no zone has both.
    """
    with reading(inputs.engine) as connection:
        priced = Ledger(connection).list_zones()
    forecast = set(pc.unique(inputs.demand_model.forecasts["zone"]).to_pylist())
    unpriced = {*inputs.settings.zones, *forecast} - set(priced)
    skipped = dict.fromkeys(unpriced, "it has no prices")
    skipped |= {zone: "it has no forecasts" for zone in priced if zone not in forecast}
    zones = [zone for zone in priced if zone in forecast]
    if not zones:
        reasons = "; ".join(f"{zone}: {reason}" for zone, reason in sorted(skipped.items()))
        raise Conflict(
            f"no zone can be priced ({reasons or 'there are no prices'})",
            hint="Import price_history, or sales to derive prices from",
        )
    runs = [_compute_run(inputs, zone) for zone in zones]
    reports = _file_runs(inputs, runs, system_clock)
    return ZonesReport(tuple(reports), dict(sorted(skipped.items())))


def _compute_run(inputs: PricingInputs, zone: str) -> _Run:
    """Compute one zone's suggestions; nothing is written."""
    priced, rules = read_priced_zone(inputs, zone), inputs.rules
    suggested = optimiser.optimise_prices(priced.items, rules, inputs.presets)
    run_id = f"run_{secrets.token_hex(8)}"
    held = find_batch_problems(
        suggested.suggestions, priced.items, _read_week_ago(inputs, priced), rules.guards
    )
    about = {
        "objective": str(rules.objective),
        "horizon_weeks": rules.horizon_weeks,
        "gap": suggested.outcome.gap,
        "versions": dict(inputs.versions),
        "held": list(held),
    }
    kept = dict(suggested.kept)
    if unpriced := priced.n_forecast - len(priced.prices):
        kept["no price in the ledger"] = unpriced
    return _Run(
        zone=zone,
        run_id=run_id,
        rules=rules,
        about=about,
        n_items=len(priced.prices),
        suggested=suggested,
        kept=kept,
        drafts=[
            _draft_suggestion(suggestion, priced, run_id, inputs.now, about)
            for suggestion in suggested.suggestions
        ],
        held=held,
    )


def _read_week_ago(inputs: PricingInputs, priced: PricedZone) -> dict[str, int]:
    """Return the list prices of a week ago by item."""
    with reading(inputs.engine) as connection:
        prices = Ledger(connection).find_current(
            priced.prices, priced.zone, inputs.now - timedelta(days=7)
        )
    return {item_id: price.list_price_minor for item_id, price in prices.items()}


def _file_runs(
    inputs: PricingInputs, runs: Sequence[_Run], system_clock: Clock
) -> list[SuggestReport]:
    """File the runs together, or none of them."""
    with transaction(inputs.engine) as connection:
        at = system_clock.now()
        return [_file_run(connection, inputs.settings, run, at) for run in runs]


def _file_run(
    connection: sa.Connection, settings: Settings, run: _Run, at: datetime
) -> SuggestReport:
    about = {"zone": run.zone, "status": run.status, **run.about}
    filed = file_suggestions(connection, run.drafts, at=at, about=about)
    largest = Suggestions(connection).largest_gains(SuggestionFilter(run_id=run.run_id), SHOWN)
    return SuggestReport(
        run_id=run.run_id,
        zone=run.zone,
        currency=settings.zone(run.zone).currency,
        objective=run.rules.objective,
        horizon_weeks=run.rules.horizon_weeks,
        n_items=run.n_items,
        n_suggested=len(filed.ids),
        n_superseded=filed.superseded,
        n_assumed_costs=run.n_assumed_costs,
        n_flagged=sum(bool(suggestion.flags) for suggestion in run.suggested.suggestions),
        outcome=run.suggested.outcome,
        kept=run.kept,
        largest=tuple(largest),
        notes=_describe_assumptions(settings, run.n_assumed_costs, run.rules),
        status=run.status,
        held=run.held,
    )


def file_suggestions(
    connection: sa.Connection,
    drafts: Sequence[NewSuggestion],
    *,
    at: datetime,
    about: Mapping[str, object],
) -> FiledSuggestions:
    """File a run's suggestions in the given order; they supersede open ones of the same items.

    `at` is system time; `about` describes the run in the audit log (objective, versions, zone).
    Every draft has the same creation time and run.
    """
    lock(connection, "price_desk")
    repository = Suggestions(connection)
    waiting = repository.of_items(((draft.item_id, draft.zone) for draft in drafts), OPEN)
    ids = repository.add(drafts)
    entries = []
    if drafts:
        waiting_ids = [entry.id for entry in waiting]
        repository.change(waiting_ids, drafts[0].created_at, status="superseded")
        entries = [
            AuditEntry(
                SYSTEM,
                "supersede",
                "price_suggestion",
                entry.id,
                {"item_id": entry.item_id, "zone": entry.zone},
            )
            for entry in waiting
        ]
        details = {**about, "filed": len(ids), "superseded": len(waiting)}
        entries.append(AuditEntry(SYSTEM, "suggest", "pricing_run", drafts[0].run_id, details))
    AuditLog(connection).append(entries, at)
    return FiledSuggestions(ids, len(waiting))


def _describe_assumptions(
    settings: Settings, n_assumed: int, rules: PricingRules
) -> tuple[str, ...]:
    effects = (
        f"effects are expected over {rules.horizon_weeks} weeks, net of tax, "
        "from the response to past prices"
    )
    if not n_assumed:
        return (effects,)
    costs = (
        f"{n_assumed} suggestions rest on an assumed cost: that at which the prices of a category "
        "are right on average, and without a known response a margin of "
        f"{settings.assumed_margin:.0%} of the net list price (SHOPWRIGHT_ASSUMED_MARGIN); "
        "import `costs` or `items.unit_cost` to replace it"
    )
    return (effects, costs)


def _draft_suggestion(
    suggestion: PriceSuggestion,
    priced: PricedZone,
    run_id: str,
    now: datetime,
    about: Mapping[str, object],
) -> NewSuggestion:
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
        expected=_effect_document(suggestion),
        waterfall=[asdict(step) for step in suggestion.waterfall],
        details={
            **about,
            "elasticity": _none_for_nan(suggestion.elasticity),
            "elasticity_error": _none_for_nan(suggestion.elasticity_error),
            "unit_cost_minor": suggestion.unit_cost_minor,
            "cost_source": suggestion.cost_source,
            "propensity": suggestion.propensity,
            "strategy": suggestion.strategy,
            "stage": suggestion.stage,
            "flags": list(suggestion.flags),
        },
        gain_minor=None if against is None else against.profit.p50,
        evidence_grade=str(suggestion.evidence_grade),
        binding_rule=suggestion.binding_rule,
        expires_at=now + EXPIRES,
    )


def _effect_document(suggestion: PriceSuggestion) -> dict[str, dict[str, object]] | None:
    """Return the expected effect as it is stored; None where the item's response is not known."""
    expected, against = suggestion.expected, suggestion.against_keeping
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
