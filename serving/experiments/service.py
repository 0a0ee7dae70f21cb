"""Experiments as they run now: their definitions, and who started, stopped or decided them."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self

import sqlalchemy as sa

from configs.settings import Settings
from experiments.assignment import assign
from experiments.definition import Experiment, Status, Variant
from experiments.experiment_files import load_experiments
from experiments.metrics import Metric, load_metrics
from experiments.overrides import Override, check_override, read_experiment, sign_override
from experiments.worse_arms import find_worse_arms
from features.contracts.clock import Clock
from features.contracts.errors import Conflict
from features.database import lock, reading, transaction
from models.ranking.placement import Placement
from models.registry import CHALLENGER, CHAMPION, NAMES, Registry, Version
from serving.database.audit_log import AuditEntry, AuditLog
from serving.database.rule_versions import RuleVersion
from serving.experiments.definitions import (
    ExperimentDefinitions,
    PresentExperiments,
    build_experiment,
    refuse_late_changes,
)
from serving.experiments.present_state import (
    PresentState,
    list_allocations,
    read_present,
    strip_state,
)
from serving.experiments.repository import ExperimentState, ExperimentStates
from serving.experiments.start_conflicts import refuse_many_versions, refuse_rivals
from serving.versioned_rules import FILE, NewVersion

if TYPE_CHECKING:
    from experiments.analysis.report import ExperimentReport
    from serving.experiments.planning import PowerPlan

SUBJECT = "experiment"
RECOMMENDATIONS = NAMES[0]
_MOVES: Mapping[Status, tuple[Status, ...]] = {
    "draft": ("running",),
    "running": ("stopped",),
    "stopped": ("running", "decided"),
    "decided": (),
}


@dataclass(frozen=True)
class Assignment:
    """The variant of a unit in an experiment; None where the rollout has not reached the unit."""

    experiment: Experiment
    variant: Variant | None


@dataclass(frozen=True)
class ModelVersions:
    """The recommendation models that variants can name.

    find_champion   returns the one that serves
    find            returns the version of a number or of the alias "challenger"; raises NotFound
    """

    find_champion: Callable[[], Version | None]
    find: Callable[[str], Version]

    @classmethod
    def of(cls, registry: Registry) -> Self:
        """Return those of a registry."""
        return cls(
            lambda: registry.find_champion(RECOMMENDATIONS),
            lambda model: registry.find_named(RECOMMENDATIONS, model),
        )


class ExperimentService:
    """The experiments of one process. `current` costs nothing; `refresh` reads what other processes
    defined, started, stopped or decided."""

    def __init__(
        self,
        settings: Settings,
        engine: sa.Engine,
        clock: Clock,
        system_clock: Clock,
        models: ModelVersions,
        list_placements: Callable[[], Mapping[str, Placement]],
    ) -> None:
        self.settings = settings
        self.engine = engine
        self._clock = clock
        self._system_clock = system_clock
        self.models = models
        self.metrics: Mapping[str, Metric] = load_metrics(settings)
        self._files = load_experiments(settings, self.metrics)
        self.definitions = ExperimentDefinitions(
            settings, engine, system_clock, self.metrics, list_placements
        )
        self.list_placements = list_placements
        self._present = PresentState(self._files)
        self._report_lock = threading.Lock()

    @property
    def current(self) -> Mapping[str, Experiment]:
        """All experiments by key, as they are now."""
        return self._present.experiments

    @property
    def states(self) -> Mapping[str, ExperimentState]:
        """What became of the experiments that somebody started, by key."""
        return self._present.states

    @property
    def numbers(self) -> Mapping[str, int]:
        """The version of each definition that has one, by key."""
        return self._present.numbers

    @property
    def problems(self) -> Mapping[str, str]:
        """Why a saved definition cannot be used, by key."""
        return self._present.problems

    @property
    def currency(self) -> str:
        """The currency of the money in reports."""
        return self.settings.currency

    def now(self) -> datetime:
        """Return the time of the shop's clock."""
        return self._clock.now()

    def refresh(self) -> None:
        """Read definitions and states again."""
        with reading(self.engine) as connection:
            self._present = self._read(connection)

    def list_answering(self) -> list[Experiment]:
        """Return the experiments whose variants must be loaded: those that run, and those that
        somebody looks at by an override."""
        return _list_answering(self._present)

    def list_undecided(self) -> list[str]:
        """Return the experiments that were started and that nobody has decided."""
        return [
            key
            for key, experiment in self.current.items()
            if experiment.status in ("running", "stopped")
        ]

    def get(self, key: str) -> Experiment:
        """Return one experiment. Raises NotFound."""
        return self._present.get(key)

    def save(
        self, connection: sa.Connection, new: NewVersion, *, actor: str
    ) -> tuple[Experiment, RuleVersion]:
        """Store a definition within the caller's transaction: that of a new experiment, which is a
        draft, or a change of one.

        Raises BadInput for a definition that cannot run, and Conflict where the experiment already
        exists, was changed meanwhile, or has gone too far for the change. Call `refresh` after the
        commit.
        """
        lock(connection, SUBJECT)
        present = PresentExperiments.read(self.settings, connection)
        current = self._read(connection).experiments
        if new.name in current:
            before = build_experiment(new.name, strip_state(present.read_values(new.name)))
            after = build_experiment(new.name, new.values)
            status = current[new.name].status
            refuse_late_changes(before, after, status, self.now())
        version = self.definitions.save(connection, new, author=actor)
        saved = self._read(connection)
        experiment = saved.get(new.name)
        if experiment.running:
            refuse_rivals(experiment, saved.experiments)
        return experiment, version

    def read_values(self, key: str) -> tuple[Mapping[str, object], int]:
        """Return the values of a definition, without its state, and the number of its version."""
        self.get(key)
        rules = self.definitions.read_set(key)
        return strip_state(rules.values), rules.number

    def switch(
        self,
        connection: sa.Connection,
        key: str,
        status: Status,
        *,
        actor: str,
        reason: str | None = None,
        versions: Mapping[str, str] | None = None,
    ) -> Experiment:
        """Start or stop an experiment within the caller's transaction, and write it to the audit
        log.

        A start fixes the models of the variants at `versions`, see `find_versions`. Raises
        NotFound, and Conflict for a move that its state does not allow or while another experiment
        claims its units. Call `refresh` after the commit.
        """
        lock(connection, SUBJECT)
        present = self._read(connection)
        experiment = present.get(key)
        if experiment.status == status:
            return experiment
        if status not in _MOVES[experiment.status]:
            raise Conflict(
                f"{key} is {experiment.status} and cannot be {status}",
                hint="Define another experiment",
            )
        if status == "running":
            refuse_rivals(experiment, present.experiments)
            experiment = self._fix_models(connection, experiment, versions or {}, actor)
            answering = _list_answering(present)
            refuse_many_versions(experiment, answering, self.settings.max_variant_models)
        now, state = self._clock.now(), present.states.get(key, ExperimentState("draft"))
        is_start = status == "running"
        state = replace(
            state,
            status=status,
            started_at=now if is_start else state.started_at,
            stopped_at=None if is_start else now,
            stop_reason=reason,
        )
        self.set_state(connection, key, state, "start" if is_start else "stop", actor)
        return replace(experiment, status=status, stopped_at=state.stopped_at)

    def set_state(
        self,
        connection: sa.Connection,
        key: str,
        state: ExperimentState,
        action: str,
        actor: str,
    ) -> None:
        """Store a state and write it to the audit log."""
        now = self._system_clock.now()
        ExperimentStates(connection).set(key, state, now)
        details = {} if state.stop_reason is None else {"reason": state.stop_reason}
        AuditLog(connection).append([AuditEntry(actor, action, SUBJECT, key, details)], now)

    def read_state(self, connection: sa.Connection, key: str) -> ExperimentState:
        """Return the state of an experiment, under a lock until the end of the transaction."""
        lock(connection, SUBJECT)
        present = self._read(connection)
        experiment = present.get(key)
        default = ExperimentState(experiment.status, stopped_at=experiment.stopped_at)
        return present.states.get(key, default)

    def refuse_worse_arms(self, key: str) -> None:
        """Raise Conflict where an arm of the experiment lost clearly in the champion's training.

        Call it before a transaction: it asks the registry.
        """
        champion = self.models.find_champion()
        metrics = {} if champion is None else champion.metrics
        for arm in find_worse_arms(self.get(key), metrics):
            raise Conflict(
                f"variant {arm.variant!r} is clearly worse than the champion: NDCG@10 "
                f"{arm.value:.3f} against {arm.champion:.3f} in its training",
                where=f"experiment {key!r}",
                hint="Start it all the same with --accept-worse, over HTTP with accept_worse=true",
            )

    def assign_unit(self, unit_id: str) -> list[Assignment]:
        """Return the variant of `unit_id` in each running experiment, without exposing it."""
        now = self._clock.now()
        running = (experiment for experiment in self.current.values() if experiment.running)
        return [Assignment(experiment, assign(experiment, unit_id, now)) for experiment in running]

    def make_override(self, key: str, variant: str, days: float, *, actor: str) -> str:
        """Return a token with which requests get a variant for so many days, and count nowhere.

        Raises NotFound, UnknownName for a variant that does not exist, and Conflict where too many
        model versions would be loaded.
        """
        experiment = self.get(key)
        experiment.variant(variant)
        refuse_many_versions(experiment, self.list_answering(), self.settings.max_variant_models)
        with transaction(self.engine) as connection:
            state = self.read_state(connection, key)
            if state.override_secret is None:
                state = replace(state, override_secret=secrets.token_hex(32))
                self.set_state(connection, key, state, "make_override", actor)
        assert state.override_secret is not None  # noqa: S101 (set above)
        expires_at = self._system_clock.now() + timedelta(days=days)
        return sign_override(Override(key, variant, expires_at), state.override_secret)

    def read_override(self, token: str) -> tuple[str, str]:
        """Return experiment and variant of a token. Raises BadInput for one that is not valid."""
        key = read_experiment(token)
        state = self.states.get(key)
        secret = state.override_secret if state is not None else None
        now = self._system_clock.now()
        return check_override(token, secret or secrets.token_hex(32), now)

    def report(
        self, key: str, *, as_of: datetime | None = None, is_look: bool = False
    ) -> ExperimentReport:
        """Return the results of an experiment until now or an earlier instant, or until its stop
        and the attribution window after it; money in minor units of the shop's currency.

        is_look   nothing but the primary metric and the guardrails

        One report is made at a time, so that many that are asked for do not take all memory.
        """
        with self._report_lock:
            return self._make_report(key, as_of or self._clock.now(), is_look=is_look)

    def _make_report(self, key: str, now: datetime, *, is_look: bool) -> ExperimentReport:
        # This brings the analytical database with it; a server that answers nothing but slates
        # never loads it.
        from experiments.analysis.report import build_report
        from serving.experiments.report_inputs import read_report_inputs

        experiment = self.get(key)
        if is_look:
            experiment = replace(experiment, secondary_metrics=(), segments=())
        allocations = list_allocations(self.states.get(key))
        inputs = read_report_inputs(
            self.settings, self.engine, experiment, self.metrics, allocations, now
        )
        return build_report(experiment, inputs, self.metrics, as_of=now)

    def plan(self, experiment: Experiment) -> PowerPlan:
        """Return how many units and days an experiment needs. Raises as `plan_experiment`."""
        from serving.experiments.planning import PlanContext, plan_experiment

        context = PlanContext(
            settings=self.settings,
            engine=self.engine,
            now=self.now(),
            metrics=self.metrics,
            placements=sorted(self.list_placements()),
        )
        return plan_experiment(experiment, context)

    def find_versions(self, key: str) -> dict[str, str]:
        """Return the versions that the variants of an experiment name, by variant: a start fixes
        them. Call it before the transaction: it asks the registry. Raises NotFound."""
        return {
            variant.name: self.models.find(variant.model).version
            for variant in self.get(key).variants
            if variant.model != CHAMPION
        }

    def _fix_models(
        self,
        connection: sa.Connection,
        experiment: Experiment,
        versions: Mapping[str, str],
        actor: str,
    ) -> Experiment:
        """Write version numbers in place of the alias challenger."""
        if not any(variant.model == CHALLENGER for variant in experiment.variants):
            return experiment
        present = PresentExperiments.read(self.settings, connection)
        values = strip_state(present.read_values(experiment.key))
        given = values["variants"]
        assert isinstance(given, list)  # noqa: S101 (it was built from them)
        values["variants"] = [
            {**variant, "model": versions[variant["name"]]}
            if variant.get("model") == CHALLENGER
            else variant
            for variant in given
        ]
        version = present.versions.get(experiment.key)
        number = FILE if version is None else version.number
        comment = "Started: the challenger of now"
        new = NewVersion(experiment.key, values, comment, number)
        self.definitions.save(connection, new, author=actor)
        return build_experiment(experiment.key, values)

    def _read(self, connection: sa.Connection) -> PresentState:
        return read_present(self.settings, connection, self._files)


def _list_answering(present: PresentState) -> list[Experiment]:
    return [
        experiment
        for key, experiment in present.experiments.items()
        if experiment.running
        or (
            experiment.status != "decided"
            and (state := present.states.get(key)) is not None
            and state.override_secret is not None
        )
    ]
