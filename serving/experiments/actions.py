"""What people who signed in do with experiments, each in a transaction of its own.

The routes make the same changes inside the transaction of an Idempotency-Key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from experiments.definition import Experiment
from features.contracts.errors import Conflict
from features.database import transaction
from serving.access import Caller
from serving.experiments.final_decisions import DecisionService
from serving.versioned_rules import FILE, NewVersion


@dataclass(frozen=True)
class Decision:
    """What somebody decides: the variant that stays, and whether it is shipped."""

    variant: str
    ship: bool
    comment: str


@dataclass(frozen=True)
class ExperimentActions:
    """Changes of experiments; all raise Forbidden without the scope for the whole shop."""

    decisions: DecisionService

    scope: ClassVar[str] = "experiments.manage"

    def define(self, caller: Caller, key: str, values: dict[str, object], comment: str) -> None:
        """Store a new experiment, a draft. Raises as ExperimentService.save, and Conflict for a key
        that exists."""
        experiments = self.decisions.experiments
        caller.require_everywhere(self.scope)
        if key in experiments.current:
            raise Conflict(f"there is an experiment {key!r} already", hint="Choose another key")
        self._save(caller, NewVersion(key, values, comment, FILE))

    def change(self, caller: Caller, new: NewVersion) -> None:
        """Store a changed definition. Raises as ExperimentService.save."""
        caller.require_everywhere(self.scope)
        self._save(caller, new)

    def start(self, caller: Caller, key: str, *, accept_worse: bool) -> None:
        """Start an experiment. Raises as ExperimentService.switch, and Conflict with an arm that
        lost clearly in the champion's training, unless that is accepted."""
        experiments = self.decisions.experiments
        caller.require_everywhere(self.scope)
        if not accept_worse:
            experiments.refuse_worse_arms(key)
        versions = experiments.find_versions(key)
        with transaction(experiments.engine) as connection:
            experiments.switch(connection, key, "running", actor=caller.id, versions=versions)
        experiments.refresh()

    def stop(self, caller: Caller, key: str, reason: str | None) -> None:
        """Stop an experiment. Raises as ExperimentService.switch."""
        experiments = self.decisions.experiments
        caller.require_everywhere(self.scope)
        with transaction(experiments.engine) as connection:
            experiments.switch(connection, key, "stopped", actor=caller.id, reason=reason)
        experiments.refresh()

    def raise_coverage(self, caller: Caller, key: str, coverage: float, comment: str) -> None:
        """Let a larger share of all units take part. Raises as ExperimentService.save."""
        caller.require_everywhere(self.scope)
        values, number = self.decisions.experiments.read_values(key)
        self._save(caller, NewVersion(key, {**values, "coverage": coverage}, comment, number))

    def decide(self, caller: Caller, key: str, decision: Decision) -> Experiment:
        """Record a decision, and ship its variant where it says so. Raises as
        DecisionService.prepare and `record`."""
        caller.require_everywhere(self.scope)
        decisions = self.decisions
        plan = decisions.prepare(key, decision.variant, caller, ship=decision.ship)
        with transaction(decisions.experiments.engine) as connection:
            decided, _ = decisions.record(connection, plan, decision.comment, caller)
        decisions.ship_model(plan, caller)
        decisions.experiments.refresh()
        return decided

    def make_override(self, caller: Caller, key: str, variant: str, days: float) -> str:
        """Return a token that shows a variant. Raises as ExperimentService.make_override."""
        caller.require_everywhere(self.scope)
        experiments = self.decisions.experiments
        token = experiments.make_override(key, variant, days, actor=caller.id)
        experiments.refresh()
        return token

    def _save(self, caller: Caller, new: NewVersion) -> None:
        experiments = self.decisions.experiments
        with transaction(experiments.engine) as connection:
            experiments.save(connection, new, actor=caller.id)
        experiments.refresh()
