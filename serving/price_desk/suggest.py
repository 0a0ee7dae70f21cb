"""A run that computes the best prices of a zone and files them as suggestions.

A suggestion is made from the ledger's price, costs, the forecast of demand and the item's price
response: all of them per item and zone, none of them about a person.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pyarrow.compute as pc
import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.clock import Clock
from features.contracts.errors import Conflict
from features.contracts.pricing import Objective, PriceSuggestion, PricingItem
from features.contracts.tables import DEFAULT_ZONE
from features.database import reading, transaction
from features.prices.ledger import Ledger
from models.pricing.optimise import optimiser
from models.pricing.optimise.batch_guards import find_batch_problems
from models.pricing.optimise.endings import PriceGrid
from models.pricing.optimise.optimiser import OptimisedPrices, Outcome
from models.pricing.optimise.waterfall import describe_broken_rule
from models.pricing.rules import PricingRules
from serving.database.audit_log import SYSTEM, Decider
from serving.price_desk.drafts import draft_suggestion
from serving.price_desk.filing import file_suggestions
from serving.price_desk.filters import SuggestionFilter
from serving.price_desk.price_grids import find_grid, use_grid
from serving.price_desk.repository import NewSuggestion, Suggestion, Suggestions
from serving.price_desk.run_outcomes import (
    KEPT,
    SUGGESTED,
    NewRun,
    PricingRuns,
    RunItem,
    count_reasons,
)
from serving.pricing_inputs.items import PricedZone, PricingInputs, read_priced_zone

SHOWN = 10
TRIAL = "not filed"  # the status of a report whose suggestions were only looked at


@dataclass(frozen=True)
class SuggestReport:
    """The result of a run of `suggest_prices` in one zone.

    n_forecast  items with a forecast for the horizon: those that get a suggestion and those kept
    n_items    those of them with a price
    n_assumed_costs    suggestions that rest on a cost that nobody knows; n_assumed_rises: the
               rises among them
    kept       number of items that keep their price, or have none, by reason
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
    n_forecast: int
    n_items: int
    n_suggested: int
    n_superseded: int
    n_assumed_costs: int
    n_rises: int
    n_assumed_rises: int
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
class ComputedRun:
    """The suggestions of one zone, before anything is written.

    items   those with a price and a forecast
    about   objective, horizon, gap and model versions, stored with each suggestion
    outcomes   what was decided about each item with a forecast
    held    the guards that the batch trips, in words
    knows_responses   whether there is a price model
    versions   of the models
    """

    zone: str
    run_id: str
    now: datetime
    rules: PricingRules
    about: Mapping[str, object]
    n_items: int
    items: Sequence[PricingItem]
    suggested: OptimisedPrices
    outcomes: Sequence[RunItem]
    drafts: Sequence[NewSuggestion]
    held: tuple[str, ...]
    notes: tuple[str, ...] = ()
    knows_responses: bool = True
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """The status of the suggestions when they are filed."""
        return "suggested" if self.held else "submitted"

    @property
    def assumed(self) -> list[PriceSuggestion]:
        """The suggestions that rest on an assumed cost."""
        return [each for each in self.suggested.suggestions if each.cost_source == "assumed"]


def suggest_prices(
    inputs: PricingInputs, system_clock: Clock, zone: str = DEFAULT_ZONE, *, dry_run: bool = False
) -> SuggestReport:
    """File the best price within the rules for every item whose best price is not the current one.

    The suggestions are `submitted` by `system`, or filed as `suggested` where a guard of the batch
    trips, and supersede everything undecided of the zone; a dry run changes nothing. Raises
    Conflict when the zone has no prices yet.
    """
    return _file_runs(inputs, [compute_run(inputs, zone)], system_clock, dry_run)[0]


def suggest_everywhere(
    inputs: PricingInputs, system_clock: Clock, *, dry_run: bool = False
) -> ZonesReport:
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
    runs = [compute_run(inputs, zone) for zone in zones]
    reports = _file_runs(inputs, runs, system_clock, dry_run)
    return ZonesReport(tuple(reports), dict(sorted(skipped.items())))


@dataclass(frozen=True)
class OptimisedZone:
    """The items of a zone, and the best prices for them; `grid` is where prices may end."""

    priced: PricedZone
    grid: PriceGrid
    suggested: OptimisedPrices


def optimise_zone(inputs: PricingInputs, zone: str) -> OptimisedZone:
    """Return the best prices of a zone within the rules; nothing is written.

    Raises Conflict where the zone has no prices yet.
    """
    priced = read_priced_zone(inputs, zone)
    list_prices = [i.opening_list_price_minor or i.list_price_minor for i in priced.items]
    grid = find_grid(inputs, zone, list_prices)
    presets = {stage: use_grid(preset, grid) for stage, preset in inputs.presets.items()}
    rules = use_grid(inputs.rules, grid)
    return OptimisedZone(priced, grid, optimiser.optimise_prices(priced.items, rules, presets))


def compute_run(inputs: PricingInputs, zone: str) -> ComputedRun:
    """Return one zone's suggestions; nothing is written. Raises as `optimise_zone`."""
    optimised, rules = optimise_zone(inputs, zone), inputs.rules
    priced, grid, suggested = optimised.priced, optimised.grid, optimised.suggested
    run_id = f"run_{secrets.token_hex(8)}"
    items = {item.item_id: item for item in priced.items}
    held = find_batch_problems(
        suggested.suggestions, priced.items, _read_week_ago(inputs, priced), rules.guards
    )
    about = {
        "rules": inputs.rules_name,
        "objective": str(rules.objective),
        "horizon_weeks": rules.horizon_weeks,
        "gap": suggested.outcome.gap,
        "versions": dict(inputs.versions),
        "held": list(held),
    }
    return ComputedRun(
        zone=zone,
        run_id=run_id,
        now=inputs.now,
        rules=rules,
        about=about,
        n_items=len(priced.prices),
        items=priced.items,
        suggested=suggested,
        outcomes=_list_outcomes(priced, suggested),
        drafts=[
            draft_suggestion(
                suggestion, priced, run_id, inputs.now, about, items[suggestion.item_id]
            )
            for suggestion in suggested.suggestions
        ],
        held=held,
        notes=_describe_prices(inputs, priced, grid),
        knows_responses=len(inputs.pricing_model.item_ids) > 0,
        versions=inputs.versions,
    )


def _list_outcomes(priced: PricedZone, suggested: OptimisedPrices) -> list[RunItem]:
    """Return what was decided about each item with a forecast: counts of reasons add up."""
    reasons = {kept.item_id: kept.reason for kept in suggested.kept_prices}
    new_prices = {each.item_id: each.suggested_price_minor for each in suggested.suggestions}
    outcomes = []
    for item_id in priced.forecast_ids:
        price, term = priced.prices.get(item_id), priced.terms.get(item_id)
        new_price, reason = new_prices.get(item_id), reasons.get(item_id)
        if new_price is None and reason is None:
            reason = "no price in the ledger" if price is None else "its price is 0"
        outcomes.append(
            RunItem(
                item_id=item_id,
                outcome=KEPT if new_price is None else SUGGESTED,
                reason=reason,
                category="" if term is None else term.category,
                title=None if term is None else term.title,
                current_price_minor=None if price is None else price.offer_price_minor,
                suggested_price_minor=new_price,
            )
        )
    return outcomes


def _describe_prices(inputs: PricingInputs, priced: PricedZone, grid: PriceGrid) -> tuple[str, ...]:
    """Return what whoever reads a run should know of the zone's prices."""
    notes = []
    if inputs.rules.endings is None:
        notes.append(grid.describe(inputs.settings.zone(priced.zone).currency))
    ended = [price.expired_at for price in priced.prices.values() if price.expired_at is not None]
    if ended:
        notes.append(
            f"the price lists of {len(ended):,} items have ended, the last on "
            f"{max(ended).date().isoformat()}: their last list prices go on; import a new list"
        )
    return tuple(notes)


def _read_week_ago(inputs: PricingInputs, priced: PricedZone) -> dict[str, int]:
    """Return the list prices of a week ago by item."""
    with reading(inputs.engine) as connection:
        prices = Ledger(connection).find_current(
            priced.prices, priced.zone, inputs.now - timedelta(days=7)
        )
    return {item_id: price.list_price_minor for item_id, price in prices.items()}


def _file_runs(
    inputs: PricingInputs, runs: Sequence[ComputedRun], system_clock: Clock, dry_run: bool
) -> list[SuggestReport]:
    """File the runs together, or none of them; a dry run files them and takes that back."""
    with transaction(inputs.engine) as connection:
        at = system_clock.now()
        reports = [_file_run(connection, inputs.settings, run, at) for run in runs]
        if dry_run:
            connection.rollback()
            return [replace(report, status=TRIAL) for report in reports]
        return reports


def _file_run(
    connection: sa.Connection, settings: Settings, run: ComputedRun, at: datetime
) -> SuggestReport:
    about = {"status": run.status, **run.about}
    system = Decider(SYSTEM, run.now, at)
    filed = file_suggestions(connection, system, run.run_id, run.zone, run.drafts, about)
    largest = Suggestions(connection).largest_gains(SuggestionFilter(run_id=run.run_id), SHOWN)
    report = replace(
        _report_run(settings, run), n_superseded=filed.superseded, largest=tuple(largest)
    )
    PricingRuns(connection).add(_record_run(report, run, at), run.outcomes)
    return report


def describe_run(settings: Settings, run: ComputedRun, at: datetime) -> NewRun:
    """Return a run as it would be stored, before it supersedes anything."""
    return _record_run(_report_run(settings, run), run, at)


def _report_run(settings: Settings, run: ComputedRun) -> SuggestReport:
    """Return the report of a run that has superseded nothing yet."""
    return SuggestReport(
        run_id=run.run_id,
        zone=run.zone,
        currency=settings.zone(run.zone).currency,
        objective=run.rules.objective,
        horizon_weeks=run.rules.horizon_weeks,
        n_forecast=len(run.outcomes),
        n_items=run.n_items,
        n_suggested=len(run.drafts),
        n_superseded=0,
        n_assumed_costs=len(run.assumed),
        n_rises=sum(map(_is_rise, run.suggested.suggestions)),
        n_assumed_rises=sum(map(_is_rise, run.assumed)),
        n_flagged=sum(bool(suggestion.flags) for suggestion in run.suggested.suggestions),
        outcome=run.suggested.outcome,
        kept=count_reasons(run.outcomes),
        largest=(),
        notes=(*_describe_assumptions(settings, run), *run.notes),
        status=run.status,
        held=run.held,
    )


def _record_run(report: SuggestReport, run: ComputedRun, at: datetime) -> NewRun:
    """Return the run as it is stored: its totals, and why prices are kept."""
    outcome, expected = report.outcome, run.suggested.suggestions
    gains = [each.against_keeping.profit.p50 for each in expected if each.against_keeping]
    names = (
        "n_forecast",
        "n_items",
        "n_suggested",
        "n_superseded",
        "n_assumed_costs",
        "n_rises",
        "n_assumed_rises",
        "n_flagged",
    )
    return NewRun(
        id=report.run_id,
        zone=report.zone,
        currency=report.currency,
        objective=str(report.objective),
        horizon_weeks=report.horizon_weeks,
        rules=str(run.about["rules"]),
        status=report.status,
        created_at=run.now,
        recorded_at=at,
        totals={
            **{name: getattr(report, name) for name in names},
            "n_kept": sum(report.kept.values()),
            "profit_gain_minor": sum(gains),
            "value": outcome.value,
            "keeping": outcome.keeping,
            "bound": outcome.bound,
            "gap": outcome.gap,
        },
        kept=report.kept,
        held=report.held,
        broken_rules=[describe_broken_rule(each, report.currency) for each in outcome.broken],
        notes=report.notes,
        versions=run.versions,
    )


def _is_rise(suggestion: PriceSuggestion) -> bool:
    return suggestion.suggested_price_minor > suggestion.current_price_minor


def _describe_assumptions(settings: Settings, run: ComputedRun) -> tuple[str, ...]:
    effects = (
        f"effects are expected over {run.rules.horizon_weeks} weeks, net of tax, "
        "from the response to past prices"
    )
    if not run.knows_responses:
        effects = (
            "no price model serves, so no effect is expected: the strategies cost_plus and "
            "competitor_index (--strategy) make prices from costs and competitors' prices alone"
        )
    if not run.assumed:
        return (effects,)
    costs = (
        f"{_count_assumed(run.assumed, run.suggested.suggestions)} rest on an assumed "
        "cost: that at which the prices of a category "
        "are right on average, and without a known response a margin of "
        f"{settings.assumed_margin:.0%} of the net list price (SHOPWRIGHT_ASSUMED_MARGIN); "
        "import `costs` or `items.unit_cost` to replace it"
    )
    return (costs, effects)


def _count_assumed(
    assumed: Sequence[PriceSuggestion], suggestions: Sequence[PriceSuggestion]
) -> str:
    """Return how many of the suggestions, and of the rises, are among the assumed ones."""
    n_rises = sum(map(_is_rise, suggestions))
    n_assumed, n_assumed_rises = len(assumed), sum(map(_is_rise, assumed))
    share = (
        f"{n_assumed:,} of {len(suggestions):,} suggestions ({n_assumed / len(suggestions):.0%})"
    )
    if not n_rises:
        return share
    return f"{share} and {n_assumed_rises:,} of {n_rises:,} rises ({n_assumed_rises / n_rises:.0%})"
