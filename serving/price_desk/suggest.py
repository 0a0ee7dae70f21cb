"""Files price suggestions against the price ledger.

What goes into a suggestion is the ledger's price, costs, the forecast of demand and the item's
price response: all of them per item and zone, none of them about a person.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

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
from serving.pricing_inputs.items import PricedZone, PricingInputs, priced_zone

# A suggestion that nobody decides on is worthless after this time: prices and forecasts have moved
# on.
EXPIRES = timedelta(days=14)
SHOWN = 10


@dataclass(frozen=True)
class SuggestReport:
    """What a run of `suggest_prices` did.

    n_items    items with a price and a forecast for the horizon
    kept       why items keep their price: reason to count
    n_flagged  suggestions with something that whoever approves should know
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
    suggested: OptimisedPrices
    kept: Mapping[str, int]
    drafts: Sequence[NewSuggestion]

    @property
    def n_assumed_costs(self) -> int:
        return sum(each.cost_source == "assumed" for each in self.suggested.suggestions)


@dataclass(frozen=True)
class FiledSuggestions:
    """The ids of a run's suggestions in the order filed, and how many open ones gave way."""

    ids: list[str]
    superseded: int


def suggest_prices(
    inputs: PricingInputs, system_clock: Clock, zone: str = DEFAULT_ZONE
) -> SuggestReport:
    """Files the best price within the rules for every item whose best price is another than the
    current one.

    The suggestions are `submitted` by `system`; open ones of the same items give way. Raises
    Conflict when the zone has no prices yet.
    """
    return _file(inputs, system_clock, [_compute(inputs, zone)])[0]


def suggest_everywhere(inputs: PricingInputs, system_clock: Clock) -> ZonesReport:
    """`suggest_prices` in every zone that has prices and forecasts; all zones are filed in one
    transaction.

    Raises Conflict when no zone has both.
    """
    with reading(inputs.engine) as connection:
        priced = Ledger(connection).zones()
    foretold = set(pc.unique(inputs.demand_model.forecasts["zone"]).to_pylist())
    skipped = dict.fromkeys({*inputs.settings.zones, *foretold} - set(priced), "it has no prices")
    skipped |= {zone: "it has no forecasts" for zone in priced if zone not in foretold}
    zones = [zone for zone in priced if zone in foretold]
    if not zones:
        why = (
            "; ".join(f"{zone}: {reason}" for zone, reason in sorted(skipped.items()))
            or "there are no prices"
        )
        raise Conflict(
            f"no zone can be priced ({why})",
            hint="Import price_history, or sales to read prices off",
        )
    runs = [_compute(inputs, zone) for zone in zones]
    return ZonesReport(tuple(_file(inputs, system_clock, runs)), dict(sorted(skipped.items())))


def _compute(inputs: PricingInputs, zone: str) -> _Run:
    """One zone's suggestions; nothing is written."""
    found, rules = priced_zone(inputs, zone), inputs.rules
    suggested = optimiser.optimise_prices(found.items, rules, inputs.presets)
    run_id = f"run_{secrets.token_hex(8)}"
    about = {
        "objective": str(rules.objective),
        "horizon_weeks": rules.horizon_weeks,
        "gap": suggested.outcome.gap,
        "versions": dict(inputs.versions),
    }
    kept = dict(suggested.kept)
    if unpriced := found.n_forecast - len(found.prices):
        kept["no price in the ledger"] = unpriced
    drafts = [_draft(each, found, run_id, inputs.now, about) for each in suggested.suggestions]
    return _Run(zone, run_id, rules, about, len(found.prices), suggested, kept, drafts)


def _file(inputs: PricingInputs, system_clock: Clock, runs: Sequence[_Run]) -> list[SuggestReport]:
    """Files the runs together, or none of them."""
    reports, settings = [], inputs.settings
    with transaction(inputs.engine) as connection:
        at = system_clock.now()
        for run in runs:
            filed = file_suggestions(
                connection, run.drafts, at=at, run={"zone": run.zone, **run.about}
            )
            largest = Suggestions(connection).largest_gains(
                SuggestionFilter(run_id=run.run_id), SHOWN
            )
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
                    n_flagged=sum(bool(each.flags) for each in run.suggested.suggestions),
                    outcome=run.suggested.outcome,
                    kept=run.kept,
                    largest=tuple(largest),
                    notes=_notes(settings, run.n_assumed_costs, run.rules),
                )
            )
    return reports


def file_suggestions(
    connection: sa.Connection,
    drafts: Sequence[NewSuggestion],
    *,
    at: datetime,
    run: Mapping[str, Any],
) -> FiledSuggestions:
    """Files a run's suggestions in the given order; open ones of the same items and zones give way
    to them.

    `at` is system time; `run` says in the audit log what the run was (objective, versions, zone).
    Every draft has the same creation time and run.
    """
    lock(connection, "price_desk")
    repository = Suggestions(connection)
    waiting = repository.of_items(((draft.item_id, draft.zone) for draft in drafts), OPEN)
    ids = repository.add(drafts)
    deeds = []
    if drafts:
        repository.change(
            [place.id for place in waiting], drafts[0].created_at, status="superseded"
        )
        deeds = [
            AuditEntry(
                SYSTEM,
                "supersede",
                "price_suggestion",
                place.id,
                {"item_id": place.item_id, "zone": place.zone},
            )
            for place in waiting
        ]
        counts = {"filed": len(ids), "superseded": len(waiting)}
        deeds.append(
            AuditEntry(SYSTEM, "suggest", "pricing_run", drafts[0].run_id, {**run, **counts})
        )
    AuditLog(connection).append(deeds, at)
    return FiledSuggestions(ids, len(waiting))


def _notes(settings: Settings, n_assumed: int, rules: PricingRules) -> tuple[str, ...]:
    notes = [
        f"effects are expected over {rules.horizon_weeks} weeks, net of tax, from the response to past prices"
    ]
    if n_assumed:
        notes.append(
            f"{n_assumed} suggestions rest on an assumed cost: a margin of {settings.assumed_margin:.0%} of the net "
            "list price (SHOPWRIGHT_ASSUMED_MARGIN); import `costs` or `items.unit_cost` to replace it"
        )
    return tuple(notes)


def _draft(
    suggestion: PriceSuggestion,
    found: PricedZone,
    run_id: str,
    now: datetime,
    about: Mapping[str, Any],
) -> NewSuggestion:
    term = found.terms[suggestion.item_id]
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
        base_price_id=found.prices[suggestion.item_id].price_id,
        effective_from=now,
        created_at=now,
        proposed_by=SYSTEM,
        category=term.category,
        title=term.title,
        expected=_expected(suggestion),
        waterfall=[asdict(step) for step in suggestion.waterfall],
        details={
            **about,
            "elasticity": _known(suggestion.elasticity),
            "elasticity_error": _known(suggestion.elasticity_error),
            "unit_cost_minor": suggestion.unit_cost_minor,
            "cost_source": suggestion.cost_source,
            "propensity": suggestion.propensity,
            "strategy": suggestion.strategy,
            "stage": suggestion.stage,
            "flags": list(suggestion.flags),
        },
        gain_minor=None
        if suggestion.against_keeping is None
        else suggestion.against_keeping.profit.p50,
        evidence_grade=str(suggestion.evidence_grade),
        binding_rule=suggestion.binding_rule,
        expires_at=now + EXPIRES,
    )


def _expected(suggestion: PriceSuggestion) -> dict[str, Any] | None:
    """The expected effect as it is kept; None where the item's response is not known."""
    at, against = suggestion.expected, suggestion.against_keeping
    if at is None or against is None:
        return None
    names = ("units", "revenue", "profit")
    return {
        name: {**asdict(getattr(at, name)), "against_keeping": asdict(getattr(against, name))}
        for name in names
    }


def _known(number: float) -> float | None:
    return None if math.isnan(number) else number
