"""Price tests on the desk: planned, filed period by period, finished or cancelled.

The prices of a period are a proposal like any other: rules, law, four eyes and ledger. Only prices
that change are filed. Both prices of an item lie within its rules, seen from the price before the
test; the step between them may be larger than the rules' largest change, which is confirmed by name
and shown to whoever approves. A roll-out brings the prices that suggestions proposed, and keeps
them.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import sqlalchemy as sa

from experiments.designs.price_test import PriceTest
from experiments.designs.tested_units import ItemZone
from features.contracts.calendar import add_weeks
from features.contracts.errors import Conflict, Unavailable
from features.database import lock, reading, transaction
from features.prices.stored_tests import (
    CANCELLED,
    DRAFT,
    FILED,
    FINISHED,
    PLANNED,
    PLANS_LOCK,
    PriceTests,
    StoredTest,
)
from serving.access import Caller
from serving.database.audit_log import AuditEntry, AuditLog, Decider
from serving.price_desk.activation import settle_due
from serving.price_desk.lifecycle import supersede_replaced
from serving.price_desk.price_test_batches import (
    Json,
    describe_batch,
    name_period,
    name_ways,
    plan_batch,
    refuse_plan,
    refuse_unfinished,
)
from serving.price_desk.price_test_checks import (
    SCOPE,
    PreparedCancel,
    PreparedFiling,
    check_prices,
    choose_options,
    drop_tested_elsewhere,
    find_tested,
    lock_test,
    refuse_tested_items,
    require_prices,
    require_zones,
)
from serving.price_desk.price_test_measures import (
    MeasuredTest,
    describe_evidence,
    has_measured_nothing,
    measure_test,
)
from serving.price_desk.price_test_prices import (
    drop_current_prices,
    find_own_prices,
    mark_left_prices,
    refuse_moved_prices,
    refuse_undecided_prices,
    supersede_returned_prices,
    supersede_taken_prices,
    withdraw_prices,
)
from serving.price_desk.price_test_reading import (
    MAX_PAGE,
    PriceTestView,
    age_test,
    count_due_tests,
    list_price_tests,
    read_price_test,
)
from serving.price_desk.proposals import (
    CheckedProposal,
    FiledProposal,
    ProposalOptions,
    ProposalService,
)

_SUBJECT = "price_test"


@dataclass(frozen=True)
class PriceTestService:
    """Keeps price tests, and files their prices through the proposals of the desk.

    measuring   held while a test is analysed: that reads all sales, one test at a time
    """

    proposals: ProposalService
    measuring: threading.Lock = field(default_factory=threading.Lock)

    def save(self, caller: Caller, test: PriceTest, expected: Mapping[str, object]) -> StoredTest:
        """Store a plan and what is expected of it. Raises Forbidden for who may not propose prices
        of its whole zones."""
        stored = StoredTest(
            test_id=f"test_{secrets.token_hex(6)}",
            zone=test.zones[0],
            state=PLANNED,
            begins_at=None,
            ends_at=None,
            document={"test": test.to_document(), "plan": expected, "batches": []},
        )
        with transaction(self.proposals.desk.engine) as connection:
            return self.put_plan(connection, caller, stored)

    def keep(self, connection: sa.Connection, caller: Caller, test_id: str) -> StoredTest:
        """Keep a plan that was computed, so that its prices can be filed.

        Raises NotFound, Forbidden, and Conflict for what is no plan, advises no test, or was
        computed from other prices than those of now.
        """
        lock(connection, "price_desk")
        lock(connection, PLANS_LOCK)  # old plans are removed under it
        stored = PriceTests(connection).get(test_id)
        require_zones(caller, stored.zones)
        if stored.state != DRAFT:
            raise Conflict(
                f"{test_id} is {stored.state}, not a plan to be kept",
                hint=f"See: GET /v1/price-tests/{test_id}",
            )
        if stored.document["test"] is None:
            raise Conflict(
                f"{test_id} advises no test: none brings more than it costs",
                hint="Plan for more weeks: POST /v1/price-tests, or "
                "shopwright prices tests --plan --weeks N",
            )
        now = self.proposals.desk.clock.now()
        refuse_moved_prices(connection, PriceTest.from_document(stored.document["test"]), now)
        return self.put_plan(connection, caller, replace(stored, state=PLANNED))

    def put_plan(self, connection: sa.Connection, caller: Caller, stored: StoredTest) -> StoredTest:
        """Store a plan that somebody keeps, with its line in the audit log. Raises Forbidden for
        who may not propose prices of its whole zones."""
        require_zones(caller, stored.zones)
        decider = self.proposals.desk.decider(caller, SCOPE, None)
        test = PriceTest.from_document(stored.document["test"])
        PriceTests(connection).put(stored, decider.now)
        details = {
            "zone": ", ".join(test.zones),
            "design": str(test.design),
            "items": len(test.item_ids),
        }
        entry = AuditEntry(decider.actor, "plan", _SUBJECT, stored.test_id, details)
        AuditLog(connection).append([entry], decider.at)
        return stored

    def list(
        self,
        zone: str | None = None,
        state: str | None = None,
        *,
        offset: int = 0,
        limit: int = MAX_PAGE,
    ) -> list[StoredTest]:
        """Return tests as `list_price_tests` does."""
        desk = self.proposals.desk
        return list_price_tests(desk, zone, state, offset=offset, limit=limit)

    def count_due(self, zone: str) -> int:
        """Return of how many tests of a zone something is to be filed or finished now."""
        return count_due_tests(self.proposals.desk, zone)

    def read(self, test_id: str) -> PriceTestView:
        """Return one test as it is now, with its periods. Raises NotFound."""
        return read_price_test(self.proposals.desk, test_id)

    def file_next_period(self, caller: Caller, test_id: str) -> tuple[StoredTest, FiledProposal]:
        """File the prices that change in the next period; after the last one those before the test,
        but for a roll-out, whose prices stay.

        The test begins with the week after its first filing. What is filed late begins with the
        next week, the end as soon as it is approved; a period whose weeks are over is missed.
        Raises as `prepare_filing` and `file`.
        """
        prepared = self.prepare_filing(caller, test_id)
        with transaction(self.proposals.desk.engine) as connection:
            return self.file(connection, caller, prepared)

    def prepare_filing(self, caller: Caller, test_id: str) -> PreparedFiling:
        """Check the prices that are filed next, outside of the transaction that files them.

        Raises Conflict where an item is in another test, while prices that were filed before are
        undecided, where a test cannot begin, or where everything is filed.
        """
        decider, stored, tested = self._open(caller, test_id)
        test = PriceTest.from_document(stored.document["test"])
        n_periods = test.periods.n_periods
        timezone = self.proposals.desk.settings.timezone
        with reading(self.proposals.desk.engine) as connection:
            marked = mark_left_prices(connection, stored, decider.now)
            refuse_undecided_prices(connection, stored, test)
        batch, missed = plan_batch(marked, test, decider.now, timezone)
        is_end = batch.period == n_periods
        is_return = is_end and not test.keeps_prices
        prices = test.find_filed_prices(batch.period)
        if is_end:
            prices = drop_tested_elsewhere(prices, test_id, tested)
        else:
            refuse_tested_items(test, test_id, tested)
        with reading(self.proposals.desk.engine) as connection:
            prices = drop_current_prices(connection, prices, batch.starts_at)
        reason = f"{name_period(test, batch.period)} of {test_id}"
        starts_at = None if is_end and batch.is_late else batch.starts_at
        options = choose_options(test, starts_at, reason, is_return=is_return)
        proposal = check_prices(
            self.proposals, caller, stored, prices, options, is_return=is_return
        )
        if not stored.document["batches"]:
            require_prices(proposal, reason)
        return PreparedFiling(stored, batch, missed, proposal, options)

    def file(
        self, connection: sa.Connection, caller: Caller, prepared: PreparedFiling
    ) -> tuple[StoredTest, FiledProposal]:
        """File prices that were just checked, in this transaction.

        Raises Conflict where the test or a price was changed meanwhile, and before the first period
        where an item costs something else than when the test was planned.
        """
        desk = self.proposals.desk
        stored, batch = prepared.stored, prepared.batch
        decider = desk.decider(caller, SCOPE, None)
        now = decider.now
        test = PriceTest.from_document(stored.document["test"])
        tests = lock_test(connection, stored)
        refuse_undecided_prices(connection, stored, test)
        supersede_returned_prices(connection, decider, stored)
        if not stored.document["batches"]:
            refuse_moved_prices(connection, test, now)
            supersede_taken_prices(connection, decider, stored, test)
            # From now on the test decides, also about prices that it changes later.
            supersede_replaced(connection, decider, test.find_prices_before())
        if batch.period < test.periods.n_periods:
            refuse_tested_items(test, stored.test_id, find_tested(tests, test, now))
        filed = self._file(connection, caller, prepared.proposal, prepared.options)
        batches = [*prepared.missed, describe_batch(batch, filed)]
        stored = stored.add(batches=[*stored.document["batches"], *batches])
        begins_at = stored.begins_at or batch.starts_at
        stored = replace(
            stored,
            state=FILED if stored.state == PLANNED else stored.state,
            begins_at=begins_at,
            ends_at=add_weeks(begins_at, test.periods.n_weeks, desk.settings.timezone),
        )
        tests.put(stored, now)
        return age_test(stored, desk), filed

    def cancel(self, caller: Caller, test_id: str) -> tuple[StoredTest, FiledProposal]:
        """Cancel a test: its items are free, what waits is withdrawn, and the prices before the
        test are filed for items that cost what it gave them.

        Once more, it files them for items that still do. Raises Conflict for a finished test.
        """
        prepared = self.prepare_cancel(caller, test_id)
        with transaction(self.proposals.desk.engine) as connection:
            return self.cancel_prepared(connection, caller, prepared)

    def prepare_cancel(self, caller: Caller, test_id: str) -> PreparedCancel:
        """Check the prices before a test, outside of the transaction that cancels it."""
        decider, stored, tested = self._open(caller, test_id)
        if stored.state == FINISHED:
            raise Conflict(f"{test_id} is finished", hint="Propose other prices by hand")
        test = PriceTest.from_document(stored.document["test"])
        reason = f"the end of {test_id}, cancelled"
        options = choose_options(test, None, reason, is_return=True)
        with reading(self.proposals.desk.engine) as connection:
            earlier = find_own_prices(connection, stored, test, decider.now)
        prices = drop_tested_elsewhere(earlier, test_id, tested)
        proposal = check_prices(self.proposals, caller, stored, prices, options, is_return=True)
        return PreparedCancel(stored, proposal, options)

    def cancel_prepared(
        self, connection: sa.Connection, caller: Caller, prepared: PreparedCancel
    ) -> tuple[StoredTest, FiledProposal]:
        """Cancel a test whose earlier prices were just checked, in this transaction."""
        decider = self.proposals.desk.decider(caller, SCOPE, None)
        stored, proposal = prepared.stored, prepared.proposal
        tests = lock_test(connection, stored)
        withdraw_prices(connection, decider, stored, proposal)
        filed = self._file(connection, caller, proposal, prepared.options)
        stored = replace(stored, state=CANCELLED)
        tests.put(stored, decider.now)
        details = {"filed": len(filed.ids)}
        entry = AuditEntry(decider.actor, "cancel", _SUBJECT, stored.test_id, details)
        AuditLog(connection).append([entry], decider.at)
        return stored, filed

    def find_finished(self, test_id: str) -> StoredTest:
        """Return a test that is over, all its prices filed. Raises Conflict for another one."""
        desk = self.proposals.desk
        with reading(desk.engine) as connection:
            stored = PriceTests(connection).get(test_id)
            marked = mark_left_prices(connection, stored, desk.clock.now())
        refuse_unfinished(marked, desk.clock.now())
        return stored

    def measure(self, caller: Caller, test_id: str) -> MeasuredTest:
        """Analyse a test that is over, from all sales; nothing is stored.

        Raises as `find_finished`, BadInput where its sales are not there yet, and Unavailable while
        this process analyses another test.
        """
        caller.require(SCOPE)
        if not self.measuring.acquire(blocking=False):
            raise Unavailable(
                "another price test is being analysed", hint="Try again", retry_after_seconds=10
            )
        try:
            stored = self.find_finished(test_id)
            require_zones(caller, stored.zones)
            result = measure_test(self.proposals.desk.settings, stored)
            # A repeated analysis must not take what it taught for what was known before.
            before = stored.document.get("result", {}).get("before")
            return MeasuredTest(stored, result | {"before": before or self.find_evidence(stored)})
        finally:
            self.measuring.release()

    def find_evidence(self, stored: StoredTest) -> Json:
        """Return what the price model of now says of the items of a test."""
        item_ids = PriceTest.from_document(stored.document["test"]).item_ids
        inputs = {zone: self.proposals.read_inputs(zone, item_ids) for zone in stored.zones}
        return describe_evidence(inputs, item_ids)

    def finish(
        self, caller: Caller, stored: StoredTest, result: Mapping[str, object]
    ) -> StoredTest:
        """Store the result of a test that is over: the next training reads it.

        Raises Conflict where nothing was measured, and where the test was changed meanwhile.
        """
        with transaction(self.proposals.desk.engine) as connection:
            return self.keep_result(connection, caller, MeasuredTest(stored, result))

    def keep_result(
        self, connection: sa.Connection, caller: Caller, measured: MeasuredTest
    ) -> StoredTest:
        """Store a result that was just measured, in this transaction. Raises as `finish`."""
        stored, result = measured.stored, measured.result
        require_zones(caller, stored.zones)
        decider = self.proposals.desk.decider(caller, SCOPE, None)
        if has_measured_nothing(result):
            raise Conflict(
                f"{stored.test_id} measured nothing: no item was sold at both of its prices",
                hint=name_ways(stored.test_id, "cancel"),
            )
        finished = replace(stored.add(result=dict(result)), state=FINISHED)
        lock_test(connection, stored).put(finished, decider.now)
        entry = AuditEntry(decider.actor, "finish", _SUBJECT, stored.test_id, {})
        AuditLog(connection).append([entry], decider.at)
        return finished

    def _open(
        self, caller: Caller, test_id: str
    ) -> tuple[Decider, StoredTest, dict[ItemZone, str]]:
        """Let due prices take effect; return a test, and the test that each item of its zones is
        in. Raises Forbidden for who may not propose prices of its whole zones."""
        desk = self.proposals.desk
        decider = desk.decider(caller, SCOPE, None)
        with transaction(desk.engine) as connection:
            lock(connection, "price_desk")
            settle_due(connection, decider)  # the next prices follow those that are due by now
            tests = PriceTests(connection)
            stored = tests.get(test_id)
            require_zones(caller, stored.zones)
            refuse_plan(stored)
            test = PriceTest.from_document(stored.document["test"])
            return decider, stored, find_tested(tests, test, decider.now)

    def _file(
        self,
        connection: sa.Connection,
        caller: Caller,
        proposal: CheckedProposal,
        options: ProposalOptions,
    ) -> FiledProposal:
        """File what can be filed: nothing where all items have their price already."""
        if not proposal.valid:
            return FiledProposal(proposal)
        return self.proposals.file(connection, caller, proposal, options, proposal.digest)
