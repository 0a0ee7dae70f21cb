"""Plans of price tests, computed one after the other on a thread of their own, and stored.

Any process shows and keeps them. What is kept is what was shown. Where a server stops, what it has
not computed yet has failed. The command line plans without it: it waits for the result.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import sqlalchemy as sa

from features.contracts.errors import ShopwrightError, TooManyRequests
from features.contracts.pricing import DEFAULT_RULES
from features.database import lock, reading, transaction
from features.prices.currencies import refuse_unknown_zone
from features.prices.stored_tests import (
    DRAFT,
    FAILED,
    PLANNED,
    PLANNING,
    PLANS_LOCK,
    PriceTests,
    StoredTest,
)
from serving.access import Caller
from serving.price_desk.price_experiments import PriceTestService
from serving.price_desk.price_test_batches import Json
from serving.price_desk.price_test_checks import require_zones
from serving.price_desk.price_test_drafts import draft_test
from serving.price_desk.price_test_plans import PlanOrder
from serving.price_desk.price_test_reading import LATE, age_test
from serving.price_desk.scenario_worker import Interrupted, ScenarioWorker, has_ended, name_process
from serving.price_desk.served_inputs import NamedRules
from serving.price_desk.service import PriceDeskService
from serving.pricing_rules.present_rules import PresentRules

if TYPE_CHECKING:
    from serving.pricing_inputs.items import PricingInputs

log = logging.getLogger(__name__)
MAX_RUNNING = 4  # in all processes
_PATIENCE_SECONDS = 5.0
_STOPPED = "the server that computed it was stopped; plan again"
_ENDED = "the server that computed it ended; plan again"
_UNFORESEEN = "something failed that was not foreseen; the log of the server says what"


@dataclass(frozen=True)
class PriceTestPlanner:
    """Plans price tests for people who do not wait for the answer.

    read_inputs   what a zone's prices are computed from under named rules (ServedInputs.read_zone)
    worker        that of the scenarios, so that a process computes one thing at a time
    unfinished    the ids of the plans that this process computes or will compute
    """

    tests: PriceTestService
    read_inputs: Callable[[str, NamedRules], PricingInputs]
    worker: ScenarioWorker = field(default_factory=ScenarioWorker)
    unfinished: set[str] = field(default_factory=set)

    @property
    def desk(self) -> PriceDeskService:
        """The price desk, with its database and clocks."""
        return self.tests.proposals.desk

    def start(self, caller: Caller, order: PlanOrder) -> StoredTest:
        """Begin to compute a plan; it is stored as being computed at once.

        Raises Forbidden without the scope for the whole zones, UnknownName for a zone that nobody
        knows, BadInput for numbers out of range and for what the design cannot have, and
        TooManyRequests while too many are computed.
        """
        require_zones(caller, order.zones)
        order.check()
        desk = self.desk
        with transaction(desk.engine) as connection:
            for zone in order.zones:
                refuse_unknown_zone(desk.settings, connection, zone)
            present = PresentRules.read(desk.settings, connection)
            named = NamedRules.find(present, DEFAULT_RULES)
            lock(connection, PLANS_LOCK)
            tests = PriceTests(connection)
            self._fail_late(tests)
            if tests.count(PLANNING) >= MAX_RUNNING:
                raise TooManyRequests(
                    f"{MAX_RUNNING} plans of price tests are being computed",
                    hint="Wait until one of them is done",
                    retry_after_seconds=10,
                )
            tests.remove_old_plans()
            stored = self._describe_order(caller, order)
            tests.put(stored, desk.clock.now())
        self.unfinished.add(stored.test_id)
        self.worker.submit(partial(self._compute, caller, stored.test_id, order, named))
        with reading(desk.engine) as connection:
            return PriceTests(connection).get(stored.test_id)

    def fail_interrupted(self) -> None:
        """Mark as failed what no process computes any more. For the start of a server."""
        with transaction(self.desk.engine) as connection:
            lock(connection, PLANS_LOCK)
            tests = PriceTests(connection)
            self._fail_late(tests)
            for stored in tests.list(state=PLANNING):
                if has_ended(stored.document["order"]["process"]):
                    self._put_failed(tests, stored, _ENDED)

    def close(self, patience: float = _PATIENCE_SECONDS) -> None:
        """Stop computing; what is not done has failed. For the end of a server, which waits for no
        longer than `patience`."""
        for test_id in list(self.unfinished):
            try:
                self._fail(test_id, _STOPPED)
            except Exception:  # the rest of the server must stop too
                log.exception("the plan %s could not be marked as failed", test_id)
        self.worker.stop(patience)

    def _describe_order(self, caller: Caller, order: PlanOrder) -> StoredTest:
        about: Json = {
            **asdict(order),
            "ordered_by": caller.id,
            "process": name_process(),
            "ordered_at": self.desk.system_clock.now().isoformat(),
        }
        return StoredTest(
            test_id=f"test_{secrets.token_hex(6)}",
            zone=min(order.zones),
            state=PLANNING,
            begins_at=None,
            ends_at=None,
            document={"order": about, "test": None, "plan": None, "batches": []},
        )

    def _compute(self, caller: Caller, test_id: str, order: PlanOrder, named: NamedRules) -> None:
        """Compute a plan and store it. Runs on the thread of the worker."""
        try:
            if not self._begin(test_id):
                return
            draft = draft_test(lambda zone: self._read_inputs(zone, named), order)
            outcome: Json = {
                "plan": draft.expected,
                "test": None if draft.test is None else draft.test.to_document(),
            }
            with transaction(self.desk.engine) as connection:
                self._put_outcome(connection, caller, test_id, outcome)
        except Interrupted:
            self._fail(test_id, _STOPPED)
        except Exception as error:  # it is shown with the plan
            problem = str(error)
            if not isinstance(error, ShopwrightError):
                log.exception("the plan %s failed", test_id)
                problem = _UNFORESEEN
            self._fail(test_id, problem)
        finally:
            self.unfinished.discard(test_id)

    def _read_inputs(self, zone: str, named: NamedRules) -> PricingInputs:
        self.worker.refuse_stopped()
        return self.read_inputs(zone, named)

    def _begin(self, test_id: str) -> bool:
        """Store that a plan is computed from now on; False where it has failed while it waited."""
        with transaction(self.desk.engine) as connection:
            lock(connection, PLANS_LOCK)
            tests = PriceTests(connection)
            self._fail_late(tests)
            stored = tests.get(test_id)
            if stored.state != PLANNING:
                return False
            begun_at = self.desk.system_clock.now().isoformat()
            about = {**stored.document["order"], "begun_at": begun_at}
            tests.put(stored.add(order=about), self.desk.clock.now())
            return True

    def _put_outcome(
        self, connection: sa.Connection, caller: Caller, test_id: str, outcome: Json
    ) -> None:
        """Store what was planned, unless the plan has failed meanwhile."""
        lock(connection, PLANS_LOCK)
        tests = PriceTests(connection)
        self._fail_late(tests)
        stored = tests.get(test_id)
        if stored.state != PLANNING:
            return
        stored = stored.add(**outcome)
        if stored.document["order"]["save"] and outcome["test"] is not None:
            self.tests.put_plan(connection, caller, replace(stored, state=PLANNED))
        else:
            tests.put(replace(stored, state=DRAFT), self.desk.clock.now())

    def _fail_late(self, tests: PriceTests) -> None:
        """Fail the plans that are computed for too long."""
        for stored in tests.list(state=PLANNING):
            if age_test(stored, self.desk).state == FAILED:
                self._put_failed(tests, stored, LATE)

    def _fail(self, test_id: str, problem: str) -> None:
        with transaction(self.desk.engine) as connection:
            lock(connection, PLANS_LOCK)
            tests = PriceTests(connection)
            stored = tests.get(test_id)
            if stored.state == PLANNING:
                self._put_failed(tests, stored, problem)

    def _put_failed(self, tests: PriceTests, stored: StoredTest, problem: str) -> None:
        tests.put(replace(stored.add(problem=problem), state=FAILED), self.desk.clock.now())
