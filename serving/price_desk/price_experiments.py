"""Price tests on the desk: planned, filed period by period, finished or cancelled.

The prices of a period are a proposal like any other: rules, law, four eyes and ledger. Both prices
of an item lie within its rules, seen from the price before the test; the step between them may be
larger than the rules' largest change, which is confirmed by name and shown to whoever approves.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime

import sqlalchemy as sa

from experiments.designs.portfolio import Portfolio
from experiments.designs.price_test import PriceTest
from features.contracts.calendar import add_weeks
from features.contracts.errors import Conflict
from features.database import lock, reading, transaction
from features.prices.stored_tests import (
    CANCELLED,
    FILED,
    FINISHED,
    PLANNED,
    PROMOTION_RUNNING,
    RUNNING,
    PriceTests,
    StoredTest,
    describe_hold,
)
from models.pricing.rules import CHANGE, UNTESTED
from serving.access import Caller
from serving.database.audit_log import AuditEntry, AuditLog, Decider
from serving.price_desk.activation import settle_due
from serving.price_desk.checked_prices import HOLD, ProposedPrice
from serving.price_desk.filters import SuggestionFilter
from serving.price_desk.lifecycle import supersede_waiting
from serving.price_desk.price_test_batches import (
    Json,
    describe_batch,
    find_refused,
    is_all_filed,
    name_period,
    plan_batch,
    refuse_cancelled,
)
from serving.price_desk.proposals import (
    CheckedProposal,
    FiledProposal,
    ProposalOptions,
    ProposalService,
)
from serving.price_desk.repository import Suggestions
from serving.price_desk.rollback import roll_back

_SUBJECT = "price_test"


@dataclass(frozen=True)
class PriceTestService:
    """Keeps price tests, and files their prices through the proposals of the desk."""

    proposals: ProposalService

    def save(self, caller: Caller, test: PriceTest, portfolio: Portfolio) -> StoredTest:
        """Store a plan. Raises Forbidden without the scope to propose prices."""
        desk = self.proposals.desk
        decider = desk.decider(caller, "pricing.propose", None)
        stored = StoredTest(
            test_id=f"test_{secrets.token_hex(6)}",
            zone=test.zone,
            state=PLANNED,
            begins_at=None,
            ends_at=None,
            document={
                "test": test.to_document(),
                "plan": describe_expectation(portfolio),
                "batches": [],
            },
        )
        with transaction(desk.engine) as connection:
            PriceTests(connection).put(stored, decider.now)
            details = {"zone": test.zone, "items": len(test.item_ids)}
            entry = AuditEntry(decider.actor, "plan", _SUBJECT, stored.test_id, details)
            AuditLog(connection).append([entry], decider.at)
        return stored

    def list(self, zone: str | None = None) -> list[StoredTest]:
        """Return all tests with the state that time has given them."""
        desk = self.proposals.desk
        with reading(desk.engine) as connection:
            tests = PriceTests(connection).list(zone)
        return [_age(test, desk.clock.now()) for test in tests]

    def file_next_period(self, caller: Caller, test_id: str) -> tuple[StoredTest, FiledProposal]:
        """File the prices of the next period; after the last one those before the test.

        The test begins with the week after its first filing. What is filed late begins with the
        next week, the end as soon as it is approved; a period whose weeks are over is missed.
        Raises Conflict where an item is in another test, where no price can be filed, or where
        everything is filed.
        """
        decider, stored, tested = self._open(caller, test_id)
        test = PriceTest.from_document(stored.document["test"])
        n_periods = test.periods.n_periods
        timezone = self.proposals.desk.settings.timezone
        batch, missed = plan_batch(stored, test, decider.now, timezone)
        is_end = batch.period == n_periods
        prices = _find_earlier_prices(test, test_id, tested)
        if not is_end:
            _refuse_tested_items(test, test_id, tested)
            prices = test.find_prices(batch.period)
        reason = f"{name_period(test, batch.period)} of {test_id}"
        options = _choose_options(None if is_end and batch.is_late else batch.starts_at, reason)
        proposal = self._check(caller, stored, prices, options)
        _require_prices(proposal, reason)
        with transaction(self.proposals.desk.engine) as connection:
            tests = self._lock(connection, stored)
            if not is_end:
                tested = tests.find_tested_items(stored.zone, decider.now)
                _refuse_tested_items(test, test_id, tested)
            filed = self._file(connection, caller, proposal, options)
            stored = _add_batches(stored, [*missed, describe_batch(batch, filed)])
            begins_at = stored.begins_at or batch.starts_at
            stored = replace(
                stored,
                state=FILED if stored.state == PLANNED else stored.state,
                begins_at=begins_at,
                ends_at=add_weeks(begins_at, test.periods.n_weeks, timezone),
            )
            tests.put(stored, decider.now)
        return _age(stored, decider.now), filed

    def cancel(self, caller: Caller, test_id: str) -> tuple[StoredTest, FiledProposal]:
        """Cancel a test: its items are free, what waits is withdrawn, and the prices before the
        test are filed for items that cost something else.

        Once more, it files them for items that still do. Raises Conflict for a finished test.
        """
        decider, stored, tested = self._open(caller, test_id)
        if stored.state == FINISHED:
            raise Conflict(f"{test_id} is finished", hint="Propose other prices by hand")
        options = _choose_options(None, f"the end of {test_id}, cancelled")
        test = PriceTest.from_document(stored.document["test"])
        prices = _find_earlier_prices(test, test_id, tested) if stored.begins_at else {}
        proposal = self._check(caller, stored, prices, options)
        with transaction(self.proposals.desk.engine) as connection:
            tests = self._lock(connection, stored)
            self._withdraw(connection, caller, stored, proposal)
            filed = self._file(connection, caller, proposal, options)
            stored = replace(stored, state=CANCELLED)
            tests.put(stored, decider.now)
            details = {"filed": len(filed.ids)}
            entry = AuditEntry(decider.actor, "cancel", _SUBJECT, test_id, details)
            AuditLog(connection).append([entry], decider.at)
        return stored, filed

    def find_finished(self, test_id: str) -> StoredTest:
        """Return a test that is over, all its prices filed. Raises Conflict for another one."""
        desk = self.proposals.desk
        with reading(desk.engine) as connection:
            stored = PriceTests(connection).get(test_id)
        refuse_cancelled(stored)
        if stored.ends_at is None or stored.ends_at > desk.clock.now():
            when = "it is only planned" if stored.ends_at is None else f"it ends {stored.ends_at}"
            raise Conflict(f"{test_id} is not over: {when}")
        if not is_all_filed(stored):
            raise Conflict(
                f"prices of {test_id} are not filed yet",
                hint=f"shopwright prices tests --file {test_id}, or --cancel {test_id}",
            )
        return stored

    def finish(
        self, caller: Caller, stored: StoredTest, result: Mapping[str, object]
    ) -> StoredTest:
        """Store the result of a test that is over: the next training reads it.

        Raises Conflict where nothing was measured, and where the test was changed meanwhile.
        """
        desk = self.proposals.desk
        decider = desk.decider(caller, "pricing.propose", None)
        if not result["items"]:
            raise Conflict(
                f"{stored.test_id} measured nothing: no item was sold at both of its prices",
                hint=f"shopwright prices tests --cancel {stored.test_id}",
            )
        finished = replace(stored.add(result=dict(result)), state=FINISHED)
        with transaction(desk.engine) as connection:
            self._lock(connection, stored).put(finished, decider.now)
            entry = AuditEntry(decider.actor, "finish", _SUBJECT, stored.test_id, {})
            AuditLog(connection).append([entry], decider.at)
        return finished

    def _open(self, caller: Caller, test_id: str) -> tuple[Decider, StoredTest, dict[str, str]]:
        """Let due prices take effect; return a test and the test of each item of its zone."""
        desk = self.proposals.desk
        decider = desk.decider(caller, "pricing.propose", None)
        with transaction(desk.engine) as connection:
            lock(connection, "price_desk")
            settle_due(connection, decider)  # the next prices follow those that are due by now
            tests = PriceTests(connection)
            stored = tests.get(test_id)
            return decider, stored, tests.find_tested_items(stored.zone, decider.now)

    def _lock(self, connection: sa.Connection, stored: StoredTest) -> PriceTests:
        """Wait for other writers; raise Conflict where one has changed the test since it was
        read."""
        lock(connection, "price_desk")
        tests = PriceTests(connection)
        now = tests.get(stored.test_id)
        n_batches = [len(test.document["batches"]) for test in (stored, now)]
        if n_batches[0] != n_batches[1] or stored.state != now.state:
            raise Conflict(f"{stored.test_id} was changed meanwhile", hint="Look again")
        return tests

    def _check(
        self,
        caller: Caller,
        stored: StoredTest,
        prices: Mapping[str, int],
        options: ProposalOptions,
    ) -> CheckedProposal:
        """Return the prices held against the rules; another hold than the test's refuses a price.

        The prices before the test go on in spite of a hold, but for a running promotion.
        """
        if not prices:
            return CheckedProposal("", (), "")
        proposed = [
            ProposedPrice(row, item_id, stored.zone, price_minor)
            for row, (item_id, price_minor) in enumerate(prices.items(), start=1)
        ]
        proposal = self.proposals.check(caller, proposed, options)
        before = PriceTest.from_document(stored.document["test"])
        is_return = dict(prices).items() <= before.find_prices(before.periods.n_periods).items()
        checked = []
        for price in proposal.prices:
            hold = price.broken.get(HOLD, "")
            is_own = not hold or describe_hold(stored.test_id) in hold
            if not is_own and not (is_return and PROMOTION_RUNNING not in hold):
                price = price.refuse(Conflict(f"it cannot be tested now: {hold}"))
            checked.append(price)
        return replace(proposal, prices=tuple(checked))

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

    def _withdraw(
        self,
        connection: sa.Connection,
        caller: Caller,
        stored: StoredTest,
        way_back: CheckedProposal,
    ) -> None:
        """Supersede what nobody has decided on, and undo approved prices that have yet to begin.

        Not those of items that get a way back: they fall away when the price beneath them changes.
        """
        decider = self.proposals.desk.decider(caller, "pricing.propose", None)
        moved = {p.proposed.item_id for p in way_back.valid}
        repository = Suggestions(connection)
        for batch in stored.document["batches"]:
            if batch["proposal_id"] is None:
                continue
            of_batch = repository.matching(SuggestionFilter(run_id=batch["proposal_id"]))
            supersede_waiting(connection, decider, of_batch)
            for suggestion in of_batch:
                if suggestion.status == "scheduled" and suggestion.item_id not in moved:
                    assert suggestion.price_id is not None  # noqa: S101
                    undoing = self.proposals.desk.decider(caller, "pricing.rollback", None)
                    roll_back(connection, undoing, suggestion.price_id, confirmed=True)


def describe_expectation(portfolio: Portfolio) -> dict[str, object]:
    """Return what a portfolio is expected to bring and to cost, as JSON values."""
    return {
        "weeks": portfolio.periods.n_weeks,
        "n_items": portfolio.n_items,
        "value": portfolio.value,
        "cost": portfolio.cost,
        "net": portfolio.net,
        "reasons": dict(portfolio.reasons),
        "units": [
            {
                "name": test.unit.name,
                "cost": test.cost,
                "error_now": test.error_now,
                "error_after": test.error_after,
                "prices": [asdict(prices) for prices in test.unit.prices],
            }
            for test in portfolio.tests
        ],
    }


def _choose_options(starts_at: datetime | None, reason: str) -> ProposalOptions:
    return ProposalOptions(
        effective_from=starts_at,
        confirmed=frozenset({CHANGE, UNTESTED, HOLD}),
        reason=reason,
    )


def _find_earlier_prices(
    test: PriceTest, test_id: str, tested: Mapping[str, str]
) -> dict[str, int]:
    """Return the prices before a test, without items that are in another test by now."""
    earlier = test.find_prices(test.periods.n_periods)
    return {item: price for item, price in earlier.items() if tested.get(item) in (None, test_id)}


def _require_prices(proposal: CheckedProposal, reason: str) -> None:
    """Raise Conflict where all prices are refused."""
    refused = find_refused(proposal)
    if refused and not proposal.valid:
        item_id, error = next(iter(refused.items()))
        raise Conflict(
            f"no price of {reason} can be filed; item {item_id!r}: {error}",
            hint="Were the prices of the period before approved?",
        )


def _add_batches(stored: StoredTest, batches: Sequence[Json]) -> StoredTest:
    return stored.add(batches=[*stored.document["batches"], *batches])


def _refuse_tested_items(test: PriceTest, test_id: str, tested: Mapping[str, str]) -> None:
    for item_id in test.item_ids:
        if tested.get(item_id, test_id) != test_id:
            raise Conflict(
                f"item {item_id!r} is in the price test {tested[item_id]}",
                hint="Plan again: the plan leaves it out",
            )


def _age(test: StoredTest, now: datetime) -> StoredTest:
    """Return a filed test as running once it has begun."""
    has_begun = test.begins_at is not None and test.begins_at <= now
    return replace(test, state=RUNNING) if test.state == FILED and has_begun else test
