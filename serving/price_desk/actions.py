"""Decisions of people on the price desk, each in a transaction of its own.

The routes make the same decisions inside the transaction of an Idempotency-Key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from features.database import reading, transaction
from features.prices.ledger import Price
from features.prices.stored_tests import StoredTest
from serving.access import Caller
from serving.database.price_locks import PriceLock
from serving.price_desk import decisions
from serving.price_desk.comments import CommentService
from serving.price_desk.comments_repository import Comment
from serving.price_desk.controls import DeskControls, RuleValues
from serving.price_desk.controls_repository import RejectPolicy
from serving.price_desk.decision_files import FileDecision
from serving.price_desk.decisions import BulkResult, PriceEdit
from serving.price_desk.filed_decisions import DecidedFile, DecisionOptions, decide_file
from serving.price_desk.filters import SuggestionFilter
from serving.price_desk.locks import LockOrder, PriceLockService
from serving.price_desk.price_experiments import PriceTestService
from serving.price_desk.proposals import (
    CheckedProposal,
    FiledProposal,
    ProposalOptions,
    ProposalService,
)
from serving.price_desk.repository import Suggestion
from serving.price_desk.rollback import (
    RollbackResult,
    RollbackSelection,
    list_changes,
    roll_back,
    roll_back_many,
)
from serving.price_desk.scenario_repository import Scenario
from serving.price_desk.scenarios import ScenarioService
from serving.price_desk.service import PriceDeskService
from serving.price_desk.states import find_scope
from serving.price_desk.undo import UndoneApprovals, undo_approvals


@dataclass(frozen=True)
class DeskActions:
    """What somebody who signed in does to suggestions and prices."""

    desk: PriceDeskService

    def decide(
        self,
        caller: Caller,
        action: str,
        *,
        ids: Sequence[str] | None = None,
        criteria: SuggestionFilter | None = None,
        expected_matched: int | None = None,
        reason: str | None = None,
        effective_from: str | None = None,
    ) -> BulkResult:
        """Submit, approve or reject many; approved prices begin at `effective_from`, as
        PriceDeskService.read_beginning reads it.

        Raises Forbidden, BadInput, and Conflict where others match.
        """
        decider = self.desk.decider(caller, find_scope(action) or "", reason)
        begins = self.desk.read_beginning(effective_from)
        with transaction(self.desk.engine) as connection:
            return decisions.decide_many(
                connection,
                decider,
                action,
                ids=ids,
                criteria=criteria,
                expected_matched=expected_matched,
                begins=begins,
            )

    def decide_file(
        self,
        caller: Caller,
        rows: Sequence[FileDecision],
        options: DecisionOptions,
        expected_decided: int | None = None,
    ) -> DecidedFile:
        """Make the decisions of a file. Raises as filed_decisions.decide_file."""
        with transaction(self.desk.engine) as connection:
            return decide_file(connection, self.desk, caller, rows, options, expected_decided)

    def edit(
        self,
        caller: Caller,
        suggestion_id: str,
        change: PriceEdit,
        version: int | None = None,
        reason: str | None = None,
    ) -> Suggestion:
        """Suggest another price. Raises as decisions.edit."""
        decider = self.desk.decider(caller, "pricing.propose", reason)
        with transaction(self.desk.engine) as connection:
            return decisions.edit(connection, decider, suggestion_id, change, version)

    def roll_back(
        self, caller: Caller, price_id: str, reason: str | None = None, *, confirmed: bool = False
    ) -> Price:
        """Restore the price before a change. Raises as rollback.roll_back."""
        decider = self.desk.decider(caller, "pricing.rollback", reason)
        with transaction(self.desk.engine) as connection:
            return roll_back(connection, decider, price_id, confirmed=confirmed)

    def count_changes(self, selection: RollbackSelection) -> int:
        """Return how many price changes a selection has. Raises as rollback.list_changes."""
        self.desk.catch_up()
        with reading(self.desk.engine) as connection:
            return len(list_changes(connection, selection))

    def roll_back_many(
        self,
        caller: Caller,
        selection: RollbackSelection,
        reason: str | None = None,
        *,
        expected_matched: int | None = None,
    ) -> RollbackResult:
        """Restore the prices before many changes. Raises as rollback.roll_back_many."""
        decider = self.desk.decider(caller, "pricing.rollback", reason)
        with transaction(self.desk.engine) as connection:
            return roll_back_many(connection, decider, selection, expected_matched=expected_matched)

    def undo_approvals(
        self, caller: Caller, suggestion_ids: Sequence[str], reason: str
    ) -> UndoneApprovals:
        """Take back approvals that were just made. Raises Forbidden where the caller may not roll
        back; the rest as undo.undo_approvals."""
        roller = self.desk.decider(caller, "pricing.rollback", reason)
        rejecter = self.desk.decider(caller, "pricing.approve", reason)
        with transaction(self.desk.engine) as connection:
            return undo_approvals(connection, roller, rejecter, suggestion_ids)


@dataclass(frozen=True)
class ProposalActions:
    """What somebody who signed in proposes."""

    proposals: ProposalService

    def file(
        self, caller: Caller, shown: CheckedProposal, options: ProposalOptions
    ) -> FiledProposal:
        """File what was shown. Raises Conflict where it would be another thing by now."""
        proposed = [price.proposed for price in shown.prices]
        checked = self.proposals.check(caller, proposed, options)
        with transaction(self.proposals.desk.engine) as connection:
            return self.proposals.file(connection, caller, checked, options, shown.digest)


@dataclass(frozen=True)
class ScenarioActions:
    """What somebody who signed in does with scenarios."""

    scenarios: ScenarioService

    def file(self, caller: Caller, scenario_id: str, reason: str | None = None) -> Scenario:
        """File the prices of a scenario. Raises as ScenarioService.file."""
        with transaction(self.scenarios.desk.engine) as connection:
            return self.scenarios.file(connection, caller, scenario_id, reason)


@dataclass(frozen=True)
class PriceTestActions:
    """What somebody who signed in does with plans of price tests."""

    tests: PriceTestService

    def keep(self, caller: Caller, test_id: str) -> StoredTest:
        """Keep a plan. Raises as PriceTestService.keep."""
        with transaction(self.tests.proposals.desk.engine) as connection:
            return self.tests.keep(connection, caller, test_id)


@dataclass(frozen=True)
class CommentActions:
    """What somebody who signed in says about suggestions."""

    comments: CommentService

    def add(self, caller: Caller, suggestion_id: str, text: str) -> Comment:
        """Add a comment. Raises as CommentService.add."""
        with transaction(self.comments.desk.engine) as connection:
            return self.comments.add(connection, caller, suggestion_id, text)


@dataclass(frozen=True)
class LockActions:
    """What somebody who signed in does to locks of prices."""

    locks: PriceLockService

    def set(self, caller: Caller, order: LockOrder) -> PriceLock:
        """Lock the price of an item. Raises as PriceLockService.set."""
        with transaction(self.locks.desk.engine) as connection:
            return self.locks.set(connection, caller, order)

    def end(self, caller: Caller, lock_id: str, reason: str | None = None) -> PriceLock:
        """Let a lock end now. Raises as PriceLockService.end."""
        with transaction(self.locks.desk.engine) as connection:
            return self.locks.end(connection, caller, lock_id, reason)


@dataclass(frozen=True)
class ControlActions:
    """What a manager who signed in sets for the whole shop."""

    controls: DeskControls

    def save_reject_policy(
        self, caller: Caller, reasons: Sequence[str], *, required: bool
    ) -> RejectPolicy:
        """Replace the reasons for rejections. Raises as DeskControls.save_reject_policy."""
        decider = self.controls.decider(caller, None)
        with transaction(self.controls.desk.engine) as connection:
            return self.controls.save_reject_policy(connection, decider, reasons, required=required)

    def switch(self, caller: Caller, reason: str | None, *, stopped: bool) -> int:
        """Stop activations or let them go on; returns how many prices are held or released."""
        decider = self.controls.decider(caller, reason)
        with transaction(self.controls.desk.engine) as connection:
            return self.controls.switch(connection, decider, stopped=stopped)

    def save_rule(self, caller: Caller, name: str, values: RuleValues) -> int:
        """Save an approval rule; returns how many of the suggestions that wait it approved."""
        decider = self.controls.decider(caller, None)
        with transaction(self.controls.desk.engine) as connection:
            return self.controls.save_rule(connection, decider, name, values)[1]
