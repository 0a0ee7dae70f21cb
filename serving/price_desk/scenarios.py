"""Scenarios: what a zone's prices would be under other rules, computed before anything is filed.

They are computed one after the other on a thread of their own, and stored: any process shows and
files them. What is filed is what was shown. Where a server stops, what it has not computed yet has
failed.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import sqlalchemy as sa

from configs.loading import change_values
from features.contracts.errors import (
    BadInput,
    Conflict,
    Forbidden,
    NotFound,
    ShopwrightError,
    Unavailable,
)
from features.database import lock, reading, transaction
from features.prices.currencies import refuse_unknown_zone
from features.prices.ledger import Ledger
from models.pricing.rules import set_objective
from serving.access import Caller, covers_zone
from serving.price_desk.activation import settle_due
from serving.price_desk.filing import file_suggestions
from serving.price_desk.run_outcomes import PricingRuns
from serving.price_desk.scenario_repository import (
    DONE,
    FAILED,
    FILED,
    RUNNING,
    NewScenario,
    Scenario,
    ScenarioOrder,
    Scenarios,
)
from serving.price_desk.scenario_worker import Interrupted, ScenarioWorker, has_ended, name_process
from serving.price_desk.served_inputs import NamedRules
from serving.price_desk.service import PriceDeskService
from serving.pricing_rules.present_rules import PresentRules, build_rules

if TYPE_CHECKING:
    from serving.price_desk.scenario_outcome import PreparedRun
    from serving.pricing_inputs.items import PricingInputs

log = logging.getLogger(__name__)
SCOPE = "pricing.propose"
MAX_RUNNING = 4  # in all processes
MAX_WEEKS = 52
TIME_LIMIT = timedelta(minutes=10)
# Prices and stock have moved on after this time.
VALID_FOR = timedelta(days=1)
_PATIENCE_SECONDS = 5.0
_LATE = "it was not done within ten minutes"
_STOPPED = "the server that computed it was stopped; compute it again"
_ENDED = "the server that computed it ended; compute it again"
_PRICES_KEPT = 8  # scenarios whose prices a process keeps unpacked


class NewPrices:
    """The prices of the scenarios that were looked at last, by item. Safe to share between threads.

    What a scenario would do never changes, and to unpack it takes long.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._prices: dict[str, Mapping[str, int]] = {}

    def get(self, scenario_id: str) -> Mapping[str, int] | None:
        with self._lock:
            prices = self._prices.pop(scenario_id, None)
            if prices is not None:
                self._prices[scenario_id] = prices  # the last one is the newest
            return prices

    def put(self, scenario_id: str, prices: Mapping[str, int]) -> None:
        with self._lock:
            self._prices[scenario_id] = prices
            while len(self._prices) > _PRICES_KEPT:
                del self._prices[next(iter(self._prices))]


@dataclass(frozen=True)
class ScenarioService:
    """Computes, shows and files scenarios.

    read_inputs   what a zone's prices are computed from under named rules (ServedInputs.read_zone)
    unfinished    the ids of those that this process computes or will compute
    """

    desk: PriceDeskService
    read_inputs: Callable[[str, NamedRules], PricingInputs]
    worker: ScenarioWorker = field(default_factory=ScenarioWorker)
    unfinished: set[str] = field(default_factory=set)
    new_prices: NewPrices = field(default_factory=NewPrices)

    def start(self, caller: Caller, order: ScenarioOrder) -> Scenario:
        """Begin to compute a scenario; it is stored as running at once.

        Raises Forbidden without the scope, UnknownName for a zone or rules that nobody knows,
        BadInput for values that are no rules, and Unavailable while too many are computed.
        """
        caller.require(SCOPE)
        desk = self.desk
        scenario_id = f"scenario_{secrets.token_hex(8)}"
        with transaction(desk.engine) as connection:
            refuse_unknown_zone(desk.settings, connection, order.zone)
            present = PresentRules.read(desk.settings, connection)
            today, draft = NamedRules.find(present, order.rules), _name_draft(present, order)
            lock(connection, "price_scenarios")
            scenarios = Scenarios(connection)
            at = desk.system_clock.now()
            scenarios.fail_begun_before(at - TIME_LIMIT, _LATE)
            if scenarios.count_running() >= MAX_RUNNING:
                raise Unavailable(
                    f"{MAX_RUNNING} scenarios are being computed",
                    hint="Wait until one of them is done",
                    retry_after_seconds=10,
                )
            scenarios.add(
                NewScenario(
                    id=scenario_id,
                    order=order,
                    created_by=caller.id,
                    process=name_process(),
                    created_at=desk.clock.now(),
                    begun_at=at,
                )
            )
        self.unfinished.add(scenario_id)
        self.worker.submit(partial(self._compute, scenario_id, order.zone, today, draft))
        return self.read(scenario_id)

    def fail_interrupted(self) -> None:
        """Mark as failed what no process computes any more. For the start of a server."""
        latest_begin = self.desk.system_clock.now() - TIME_LIMIT
        with transaction(self.desk.engine) as connection:
            scenarios = Scenarios(connection)
            scenarios.fail_begun_before(latest_begin, _LATE)
            for scenario_id, process in scenarios.list_running().items():
                if has_ended(process):
                    scenarios.fail(scenario_id, _ENDED)

    def close(self, patience: float = _PATIENCE_SECONDS) -> None:
        """Stop computing; what is not done has failed. For the end of a server, which waits for no
        longer than `patience`."""
        unfinished = list(self.unfinished)
        if unfinished:
            try:
                with transaction(self.desk.engine) as connection:
                    for scenario_id in unfinished:
                        Scenarios(connection).fail(scenario_id, _STOPPED)
            except Exception:  # the rest of the server must stop too
                log.exception("scenarios %s could not be marked as failed", ", ".join(unfinished))
        self.worker.stop(patience)

    def read(self, scenario_id: str) -> Scenario:
        """Return a scenario as far as it is. Raises NotFound."""
        with reading(self.desk.engine) as connection:
            scenario = _require(Scenarios(connection).get(scenario_id), scenario_id)
        return self._stop_late(scenario)

    def list_scenarios(
        self, zone: str | None, *, before: int | None = None, limit: int
    ) -> Sequence[Scenario]:
        """Return scenarios before number `before`, newest first.

        Raises UnknownName for a zone that nobody knows.
        """
        with reading(self.desk.engine) as connection:
            if zone is not None:
                refuse_unknown_zone(self.desk.settings, connection, zone)
            page = Scenarios(connection).page(zone, before=before, limit=limit)
        return [self._stop_late(scenario) for scenario in page]

    def find_prices(self, scenario_id: str, item_ids: Sequence[str]) -> dict[str, int] | None:
        """Return the prices that a scenario would change among these items, in minor units; None
        where they are not kept any more."""
        prices = self.new_prices.get(scenario_id)
        if prices is None:
            prices = self._read_new_prices(scenario_id)
            if prices is None:
                return None
            self.new_prices.put(scenario_id, prices)
        return {item_id: prices[item_id] for item_id in item_ids if item_id in prices}

    def _read_new_prices(self, scenario_id: str) -> Mapping[str, int] | None:
        from serving.price_desk.scenario_outcome import unpack_run

        with reading(self.desk.engine) as connection:
            payload = Scenarios(connection).read_payload(scenario_id)
        if payload is None:
            return None
        drafts = unpack_run(payload).drafts
        return {draft.item_id: draft.suggested_price_minor for draft in drafts}

    def file(
        self,
        connection: sa.Connection,
        caller: Caller,
        scenario_id: str,
        reason: str | None = None,
    ) -> Scenario:
        """File the prices of a scenario as suggestions of the caller, in place of everything that
        is undecided in its zone; somebody else must approve them.

        Raises NotFound, Forbidden where the caller may not propose for the whole zone, and Conflict
        for a scenario that is not done, was filed, is too old, or whose prices moved meanwhile.
        """
        from serving.price_desk.scenario_outcome import unpack_run

        decider = self.desk.decider(caller, SCOPE, reason)
        lock(connection, "price_desk")
        settle_due(connection, decider)
        scenarios = Scenarios(connection)
        scenario = _require(scenarios.get(scenario_id), scenario_id)
        zone = scenario.order.zone
        if not covers_zone(decider.areas, zone):
            raise Forbidden(
                f"a scenario replaces all that waits in {zone}, and your role covers a part of it",
                hint="Ask a colleague whose role covers every category",
            )
        if scenario.status != DONE:
            filed = f", as {scenario.run_id}" if scenario.status == FILED else ""
            raise Conflict(f"this scenario is {scenario.status}{filed}", hint="Compute another one")
        payload = scenarios.read_payload(scenario_id)
        if payload is None or decider.now - scenario.created_at > VALID_FOR:
            raise Conflict("this scenario is too old to be filed", hint="Compute it again")
        run = unpack_run(payload)
        _refuse_moved(connection, run, zone, self.desk)
        drafts = [replace(draft, proposed_by=decider.actor) for draft in run.drafts]
        about = {"status": run.record.status, "scenario": scenario_id, **run.about}
        if reason:
            about["reason"] = reason
        filed_run = file_suggestions(connection, decider, run.record.id, zone, drafts, about)
        totals = {**run.record.totals, "n_superseded": filed_run.superseded}
        PricingRuns(connection).add(
            replace(run.record, totals=totals, recorded_at=decider.at), run.outcomes
        )
        if not scenarios.mark_filed(scenario_id, run.record.id, decider.actor):
            raise Conflict("this scenario is not done any more", hint="Compute another one")
        return _require(scenarios.get(scenario_id), scenario_id)

    def _stop_late(self, scenario: Scenario) -> Scenario:
        """Return a scenario as failed where it takes too long, or its process has ended."""
        latest_begin = self.desk.system_clock.now() - TIME_LIMIT
        if scenario.status != RUNNING or scenario.begun_at >= latest_begin:
            return scenario
        return replace(scenario, status=FAILED, problem=_LATE)

    def _compute(self, scenario_id: str, zone: str, today: NamedRules, draft: NamedRules) -> None:
        """Compute a scenario and store what came of it. Runs on the thread of scenarios."""
        from serving.price_desk.scenario_outcome import compute_scenario, pack_run

        try:
            inputs = self.read_inputs(zone, today)
            inputs = replace(inputs, versions={**inputs.versions, "rules": draft.version})
            outcome, run = compute_scenario(
                inputs,
                zone,
                draft.rules,
                draft.presets,
                self.desk.system_clock.now(),
                self.worker.refuse_stopped,
            )
            payload = pack_run(run)
            latest_begin = self.desk.system_clock.now() - TIME_LIMIT
            with transaction(self.desk.engine) as connection:
                scenarios = Scenarios(connection)
                scenarios.fail_begun_before(latest_begin, _LATE)
                scenarios.finish(scenario_id, outcome, payload)
        except Interrupted:
            self._fail(scenario_id, _STOPPED)
        except Exception as error:  # it is shown with the scenario
            problem = str(error)
            if not isinstance(error, ShopwrightError):
                log.exception("scenario %s failed", scenario_id)
                problem = "something failed that was not foreseen; the log of the server says what"
            self._fail(scenario_id, problem)
        finally:
            self.unfinished.discard(scenario_id)

    def _fail(self, scenario_id: str, problem: str) -> None:
        with transaction(self.desk.engine) as connection:
            Scenarios(connection).fail(scenario_id, problem)


def _name_draft(present: PresentRules, order: ScenarioOrder) -> NamedRules:
    """Return the rules of an order. Raises UnknownName, and BadInput for values that are none."""
    values = order.values if order.values is not None else present.read_values(order.rules)
    changes = dict(order.changes)
    if order.horizon_weeks is not None:
        if not 1 <= order.horizon_weeks <= MAX_WEEKS:
            raise BadInput(f"a horizon has 1 to {MAX_WEEKS} weeks", where="horizon_weeks")
        changes["horizon_weeks"] = order.horizon_weeks
    rules = build_rules(order.rules, change_values(values, changes))
    rules = set_objective(rules, order.objective)
    version = present.describe_version(order.rules)
    if rules != present.load(order.rules):
        version = f"{version}, changed in a scenario"
    return NamedRules(order.rules, rules, present.load_presets(rules), version)


def _refuse_moved(
    connection: sa.Connection, run: PreparedRun, zone: str, desk: PriceDeskService
) -> None:
    """Raise Conflict where other prices are valid than those that the run was computed from."""
    item_ids = [draft.item_id for draft in run.drafts]
    prices = Ledger(connection).find_current(item_ids, zone, desk.clock.now())
    moved = [
        draft.item_id
        for draft in run.drafts
        if draft.item_id not in prices or prices[draft.item_id].price_id != draft.base_price_id
    ]
    if moved:
        raise Conflict(
            f"{len(moved)} prices changed since this scenario was computed ({moved[0]} first)",
            hint="Compute it again",
        )


def _require(scenario: Scenario | None, scenario_id: str) -> Scenario:
    if scenario is None:
        raise NotFound(f"no scenario {scenario_id!r}", hint="See: GET /v1/price-scenarios")
    return scenario
