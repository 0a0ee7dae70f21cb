"""Price tests on the desk: planned, filed period by period, finished with a result.

The prices of a period are a proposal like any other: rules, law, four eyes and ledger. Both prices
of an item lie within its rules, seen from the price before the test; the step between them may be
larger than the rules' largest change, which is confirmed by name and shown to whoever approves.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from experiments.designs.portfolio import Portfolio
from experiments.designs.price_test import PriceTest
from features.contracts.calendar import add_weeks, find_week_start
from features.contracts.errors import Conflict
from features.database import reading, transaction
from features.prices.stored_tests import (
    FILED,
    FINISHED,
    PLANNED,
    RUNNING,
    PriceTests,
    StoredTest,
    describe_hold,
)
from models.pricing.rules import CHANGE, UNTESTED
from serving.access import Caller
from serving.database.audit_log import AuditEntry, AuditLog
from serving.price_desk.activation import settle_due
from serving.price_desk.checked_prices import HOLD, ProposedPrice
from serving.price_desk.proposals import FiledProposal, ProposalOptions, ProposalService

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

        The test begins with the week after its first filing. Raises Conflict where an item is in
        another test, held for another reason, or where everything is filed.
        """
        desk = self.proposals.desk
        decider = desk.decider(caller, "pricing.propose", None)
        with transaction(desk.engine) as connection:
            settle_due(connection, decider)  # the next prices follow those that are due by now
            tests = PriceTests(connection)
            stored = tests.get(test_id)
            tested = tests.find_tested_items(stored.zone)
        test = PriceTest.from_document(stored.document["test"])
        _refuse_tested_items(test, test_id, tested)
        period = len(stored.document["batches"])
        if period > test.periods.n_periods:
            raise Conflict("all prices of the test are filed", hint="Finish it when it is over")
        zone_time = desk.settings.timezone
        next_week = add_weeks(find_week_start(desk.clock.now(), zone_time), 1, zone_time)
        begins_at = stored.begins_at or next_week
        starts_at = add_weeks(begins_at, period * test.periods.period_weeks, zone_time)
        options = ProposalOptions(
            effective_from=starts_at,
            confirmed=frozenset({CHANGE, UNTESTED, HOLD}),
            reason=f"{_name_period(test, period)} of {test_id}",
        )
        proposed = [
            ProposedPrice(row, item_id, stored.zone, price_minor)
            for row, (item_id, price_minor) in enumerate(test.find_prices(period).items(), start=1)
        ]
        proposal = self.proposals.check(caller, proposed, options)
        for price in proposal.prices:
            hold = price.broken.get(HOLD)
            if hold is not None and describe_hold(test_id) not in hold:
                raise Conflict(f"item {price.proposed.item_id!r} cannot be tested now: {hold}")
        if not proposal.valid:
            raise Conflict(
                f"no price of {options.reason} can be filed: {proposal.prices[0].error}",
                hint="Were the prices of the period before approved?",
            )
        with transaction(desk.engine) as connection:
            filed = self.proposals.file(connection, caller, proposal, options, proposal.digest)
            batch = {
                "period": period,
                "proposal_id": proposal.proposal_id,
                "starts_at": starts_at.isoformat(),
                "refused": {p.proposed.item_id: str(p.error) for p in proposal.refused},
            }
            stored = replace(
                stored.add(batches=[*stored.document["batches"], batch]),
                state=FILED if stored.state == PLANNED else stored.state,
                begins_at=begins_at,
                ends_at=add_weeks(begins_at, test.periods.n_weeks, zone_time),
            )
            PriceTests(connection).put(stored, desk.clock.now())
        return _age(stored, desk.clock.now()), filed

    def find_finished(self, test_id: str) -> StoredTest:
        """Return a test that is over. Raises Conflict for one that is not."""
        desk = self.proposals.desk
        with reading(desk.engine) as connection:
            stored = PriceTests(connection).get(test_id)
        if stored.ends_at is None or stored.ends_at > desk.clock.now():
            when = "it is only planned" if stored.ends_at is None else f"it ends {stored.ends_at}"
            raise Conflict(f"{test_id} is not over: {when}")
        return stored

    def finish(
        self, caller: Caller, stored: StoredTest, result: Mapping[str, object]
    ) -> StoredTest:
        """Store the result of a test that is over: the next training reads it."""
        desk = self.proposals.desk
        decider = desk.decider(caller, "pricing.propose", None)
        finished = replace(stored.add(result=dict(result)), state=FINISHED)
        with transaction(desk.engine) as connection:
            PriceTests(connection).put(finished, decider.now)
            entry = AuditEntry(decider.actor, "finish", _SUBJECT, stored.test_id, {})
            AuditLog(connection).append([entry], decider.at)
        return finished


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


def _name_period(test: PriceTest, period: int) -> str:
    if period == test.periods.n_periods:
        return "the end"
    return f"period {period + 1} of {test.periods.n_periods}"
