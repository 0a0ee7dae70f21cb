"""What a scenario would do, beside the queue and beside the rules of today; nothing is written."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa
from pydantic import TypeAdapter

from features.database import reading
from models.pricing.rules import PricingRules
from serving.price_desk.filters import SuggestionFilter
from serving.price_desk.preview import sum_effects
from serving.price_desk.repository import NewSuggestion, Suggestions
from serving.price_desk.rule_trial import count_forbidden
from serving.price_desk.run_outcomes import NewRun, RunItem
from serving.price_desk.scenario_types import PriceTotals, ScenarioMove, ScenarioOutcome
from serving.price_desk.states import OPEN
from serving.price_desk.suggest import ComputedRun, compute_run, describe_run
from serving.pricing_inputs.items import PricingInputs

LARGEST = 10


@dataclass(frozen=True)
class PreparedRun:
    """A run as filing it would store it. `about` describes it in the audit log."""

    record: NewRun
    drafts: Sequence[NewSuggestion]
    outcomes: Sequence[RunItem]
    about: Mapping[str, object]


_RUNS = TypeAdapter(PreparedRun)


def compute_scenario(
    inputs: PricingInputs,
    zone: str,
    rules: PricingRules,
    presets: Mapping[str, PricingRules],
    at: datetime,
    refuse_stopped: Callable[[], None],
) -> tuple[ScenarioOutcome, PreparedRun]:
    """Return what other rules than those of `inputs` would do to a zone, and the run to file.

    `refuse_stopped` is called between the steps that take long, and raises where the outcome is not
    wanted any more. Raises Conflict where the zone has no prices yet.
    """
    refuse_stopped()
    run = compute_run(replace(inputs, rules=rules, presets=presets), zone)
    refuse_stopped()
    is_today = rules == inputs.rules and dict(presets) == dict(inputs.presets)
    today = run if is_today else compute_run(inputs, zone)
    refuse_stopped()
    with reading(inputs.engine) as connection:
        waiting = _read_waiting(connection, zone)
    record = describe_run(inputs.settings, run, at)
    moves = _list_moves(run, today, waiting)
    outcome = ScenarioOutcome(
        currency=record.currency,
        horizon_weeks=rules.horizon_weeks,
        objective=str(rules.objective),
        n_items=run.n_items,
        n_different=len(moves),
        scenario=_sum_run(run, count_forbidden(run.items, rules, presets)),
        waiting=_sum_prices(waiting, {}, ()),
        today=_sum_run(today, count_forbidden(today.items, inputs.rules, inputs.presets)),
        moves=tuple(moves[:LARGEST]),
        held=run.held,
        kept=record.kept,
    )
    return outcome, PreparedRun(record, run.drafts, run.outcomes, run.about)


def pack_run(run: PreparedRun) -> bytes:
    """Return a run as compressed JSON."""
    return zlib.compress(_RUNS.dump_json(run), level=3)


def unpack_run(payload: bytes) -> PreparedRun:
    """Return the run of compressed JSON."""
    return _RUNS.validate_json(zlib.decompress(payload))


def _read_waiting(connection: sa.Connection, zone: str) -> list[NewSuggestion]:
    """Return the regular prices of a zone that wait for a decision, the newest of each item."""
    criteria = SuggestionFilter(zone=zone, status=OPEN)
    newest = {
        suggestion.item_id: suggestion
        for suggestion in Suggestions(connection).matching(criteria)
        if suggestion.kind == "regular"
    }
    return list(newest.values())


def _list_moves(
    run: ComputedRun, today: ComputedRun, waiting: Sequence[NewSuggestion]
) -> list[ScenarioMove]:
    """Return the items with another price than the queue has, largest difference first."""
    queued = {suggestion.item_id: suggestion.suggested_price_minor for suggestion in waiting}
    of_today = {draft.item_id: draft.suggested_price_minor for draft in today.drafts}
    new = {draft.item_id: draft.suggested_price_minor for draft in run.drafts}
    moves = []
    for item in run.outcomes:
        current = item.current_price_minor
        if not current:
            continue
        move = ScenarioMove(
            item_id=item.item_id,
            title=item.title,
            current_minor=current,
            waiting_minor=queued.get(item.item_id),
            today_minor=of_today.get(item.item_id, current),
            new_minor=new.get(item.item_id, current),
        )
        if move.new_minor != queued.get(item.item_id, current):
            moves.append(move)
    moves.sort(key=lambda move: (-_measure(move), move.item_id))
    return moves


def _measure(move: ScenarioMove) -> float:
    """Return the difference from the queue as a share of the price."""
    before = move.current_minor if move.waiting_minor is None else move.waiting_minor
    return abs(move.new_minor - before) / move.current_minor


def _sum_run(run: ComputedRun, forbidden: Mapping[str, int]) -> PriceTotals:
    not_kept = tuple(broken.rule for broken in run.suggested.outcome.broken)
    return _sum_prices(run.drafts, forbidden, not_kept)


def _sum_prices(
    prices: Sequence[NewSuggestion],
    forbidden: Mapping[str, int],
    not_kept: tuple[str, ...],
) -> PriceTotals:
    return PriceTotals(
        n_changes=len(prices),
        n_rises=sum(one.suggested_price_minor > one.current_price_minor for one in prices),
        n_unknown=sum(one.expected is None for one in prices),
        effects=next(iter(sum_effects(prices).values()), {}),  # a zone has one currency
        forbidden=forbidden,
        not_kept=not_kept,
    )
