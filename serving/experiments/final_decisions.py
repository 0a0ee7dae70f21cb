"""Decisions about experiments that were stopped: the record, and what is shipped."""

from __future__ import annotations

from dataclasses import dataclass, replace

import sqlalchemy as sa

from configs.loading import change_values
from experiments.definition import CHAMPION, EVERY_PLACEMENT, Experiment, Variant
from features.contracts.errors import BadInput, Conflict
from models.registry import Version
from serving.access import Caller
from serving.experiments.repository import ExperimentState
from serving.experiments.service import RECOMMENDATIONS, ExperimentService
from serving.merchandising.placements import PlacementService
from serving.models.service import ModelService
from serving.versioned_rules import NewVersion


@dataclass(frozen=True)
class DecisionPlan:
    """What a decision will record and ship.

    version      the model that becomes champion; None: the champion stays
    placements   whether the variant's placement becomes the shop's own
    record       what the results say of the variant
    """

    experiment: Experiment
    variant: Variant
    version: Version | None
    placements: bool
    record: dict[str, object]


@dataclass(frozen=True)
class DecisionService:
    """Decides experiments for one process."""

    experiments: ExperimentService
    models: ModelService
    placements: PlacementService

    def prepare(self, key: str, variant: str, caller: Caller, *, ship: bool) -> DecisionPlan:
        """Return the plan of a decision, before any transaction: it reads the results.

        Raises NotFound, UnknownName, and Forbidden where the caller may not ship what the variant
        changes.
        """
        experiment = self.experiments.get(key)
        chosen = experiment.variant(variant)
        changes_placement = bool(chosen.placement) or chosen.policy != CHAMPION
        if ship and chosen.model != CHAMPION:
            caller.require_everywhere("models.manage")
        if ship and changes_placement:
            caller.require_everywhere(self.placements.scope)
        if ship and chosen.uses_served_models and not changes_placement:
            raise BadInput(
                f"{variant} changes nothing that could be shipped", hint="Decide without ship"
            )
        version = None
        if ship and chosen.model != CHAMPION:
            version = self.experiments.models.find(chosen.model)
        return DecisionPlan(
            experiment=experiment,
            variant=chosen,
            version=version,
            placements=ship and changes_placement,
            record=self._summarize(experiment, variant),
        )

    def ship_model(self, plan: DecisionPlan, caller: Caller) -> None:
        """Make the variant's model the champion, where the plan ships one; after `record`, so that
        of two people who decide only one ships."""
        if plan.version is not None:
            promotion = self.models.promote(RECOMMENDATIONS, plan.version.version)
            reason = f"experiment {plan.experiment.key}"
            self.models.write(promotion, actor=caller.id, reason=reason)

    def record(
        self,
        connection: sa.Connection,
        plan: DecisionPlan,
        comment: str,
        caller: Caller,
    ) -> tuple[Experiment, ExperimentState]:
        """Store a decision, with the placements that it ships, within the caller's transaction.

        Call `ship_model` after the commit. Raises Conflict for an experiment that was not stopped,
        or that somebody else decided.
        """
        key = plan.experiment.key
        state = self.experiments.read_state(connection, key)
        if state.status != "stopped":
            raise Conflict(
                f"{key} is {state.status}; only a stopped experiment is decided",
                hint=f"POST /v1/experiments/{key}/stop",
            )
        shipped = []
        if plan.version is not None:
            shipped.append(f"{RECOMMENDATIONS} {plan.version.version}")
        if plan.placements:
            shipped += self._ship_placements(connection, plan, caller)
        decision = {
            "variant": plan.variant.name,
            **plan.record,
            "shipped": ", ".join(shipped) or None,
            "comment": comment,
            "decided_by": caller.id,
            "decided_at": self.experiments.now().isoformat(),
        }
        state = replace(state, status="decided", decision=decision)
        self.experiments.set_state(connection, key, state, "decide", caller.id)
        return replace(plan.experiment, status="decided"), state

    def _ship_placements(
        self, connection: sa.Connection, plan: DecisionPlan, caller: Caller
    ) -> list[str]:
        """Save the placements of the experiment as the variant has them."""
        experiment, variant = plan.experiment, plan.variant
        present = self.placements.read_present()
        names = present.list_names()
        if EVERY_PLACEMENT not in experiment.placements:
            names = [name for name in names if name in experiment.placements]
        policy = {} if variant.policy == CHAMPION else {"policy": variant.policy}
        saved = []
        for name in names:
            before = present.read_values(name)
            values = change_values(before, {**variant.placement, **policy})
            if values == before:
                continue
            version = present.versions.get(name)
            number = 0 if version is None else version.number
            new = NewVersion(name, values, f"Decision of experiment {experiment.key}", number)
            self.placements.save(connection, new, author=caller.id)
            saved.append(f"placement {name}")
        return saved

    def _summarize(self, experiment: Experiment, variant: str) -> dict[str, object]:
        """Return verdict, and effect with its interval, of a variant by the results."""
        report = self.experiments.report(experiment.key)
        result = next(one for one in report.variants if one.name == variant)
        difference = result.metrics[experiment.primary_metric].difference
        return {
            "verdict": report.verdict.text,
            "metric": experiment.primary_metric,
            "effect": None if difference is None else difference.value,
            "low": None if difference is None else difference.low,
            "high": None if difference is None else difference.high,
        }
