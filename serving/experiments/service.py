"""Experiments as they run now: their files, and who started or stopped them since."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import sqlalchemy as sa

from configs.settings import Settings
from experiments.assignment import assign
from experiments.definition import Experiment, Status, Variant, load_experiments
from experiments.worse_arms import find_worse_arms
from features.contracts.clock import Clock
from features.contracts.errors import Conflict, NotFound
from features.database import reading
from features.facts.exposures import read_first_exposures, read_links
from models.registry import Version
from serving.database.audit_log import AuditEntry, AuditLog
from serving.experiments.repository import ExperimentState, ExperimentStates

if TYPE_CHECKING:
    from experiments.analysis.report import ExperimentReport


@dataclass(frozen=True)
class Assignment:
    """The variant of a unit in an experiment; None where the rollout has not reached the unit."""

    experiment: Experiment
    variant: Variant | None


class ExperimentService:
    """The experiments of one process. `current` costs nothing; `refresh` reads what other processes
    started or stopped.

    find_champion   returns the recommendation model that serves
    """

    def __init__(
        self,
        settings: Settings,
        engine: sa.Engine,
        clock: Clock,
        system_clock: Clock,
        find_champion: Callable[[], Version | None],
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._clock = clock
        self._system_clock = system_clock
        self._find_champion = find_champion
        self._defined = load_experiments(settings)
        self._current: Mapping[str, Experiment] = self._defined

    @property
    def current(self) -> Mapping[str, Experiment]:
        """All experiments by key, as they are now."""
        return self._current

    def refresh(self) -> None:
        """Read the statuses again."""
        with reading(self._engine) as connection:
            self._current = self._apply(ExperimentStates(connection).all())

    def get(self, key: str) -> Experiment:
        """Return one experiment. Raises NotFound."""
        return _get(self._current, key)

    def switch(
        self, connection: sa.Connection, key: str, status: Status, *, actor: str
    ) -> Experiment:
        """Start or stop an experiment within the caller's transaction, and write it to the audit
        log.

        Raises NotFound, and Conflict when another experiment runs on one of its placements. Call
        `refresh` after the commit.
        """
        states = ExperimentStates(connection)
        current = self._apply(states.all())
        experiment = _get(current, key)
        if experiment.status == status:
            return experiment
        if status == "running":
            _check_placements_free(experiment, current)
        now = self._system_clock.now()
        state = ExperimentState(status, self._clock.now() if status == "stopped" else None)
        states.set(key, state, now)
        action = "start" if status == "running" else "stop"
        AuditLog(connection).append([AuditEntry(actor, action, "experiment", key)], now)
        return replace(experiment, status=status, stopped_at=state.stopped_at)

    def refuse_worse_arms(self, key: str) -> None:
        """Raise Conflict where an arm of the experiment lost clearly in the champion's training.

        Call it before a transaction: it asks the registry.
        """
        champion = self._find_champion()
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
        running = (experiment for experiment in self._current.values() if experiment.running)
        return [Assignment(experiment, assign(experiment, unit_id)) for experiment in running]

    def report(self, key: str) -> ExperimentReport:
        """Return the results of an experiment until now, or until its stop and the attribution
        window after it; money in minor units of the shop's currency."""
        # These bring the analytical database with them; a server that answers nothing but slates
        # never loads it.
        from experiments.analysis.report import build_report
        from features.facts.facts import Facts

        experiment, now = self.get(key), self._clock.now()
        with reading(self._engine) as connection:
            exposures = read_first_exposures(connection, key, until=now)
            links = read_links(connection, key, until=now)
        settings = self._settings
        other_currency = [
            zone for zone in settings.zones if settings.zone(zone).currency != settings.currency
        ]
        events = Facts(settings).read("events")
        return build_report(
            experiment, exposures, events, as_of=now, links=links, other_currency=other_currency
        )

    @property
    def currency(self) -> str:
        """The currency of the money in reports."""
        return self._settings.currency

    def _apply(self, states: Mapping[str, ExperimentState]) -> dict[str, Experiment]:
        """Return the experiments with these states."""
        experiments = dict(self._defined)
        for key, state in states.items():
            if key in experiments:
                experiments[key] = replace(
                    experiments[key],
                    status="running" if state.status == "running" else "stopped",
                    stopped_at=state.stopped_at,
                )
        return experiments


def _get(experiments: Mapping[str, Experiment], key: str) -> Experiment:
    if key not in experiments:
        raise NotFound(
            f"no experiment {key!r}", hint=f"Known: {', '.join(sorted(experiments)) or 'none'}"
        )
    return experiments[key]


def _check_placements_free(experiment: Experiment, current: Mapping[str, Experiment]) -> None:
    for other in current.values():
        shared = set(other.placements) & set(experiment.placements)
        if other.running and other.key != experiment.key and shared:
            raise Conflict(
                f"{other.key} runs on the placement {sorted(shared)[0]!r}",
                hint=f"Stop it first: POST /v1/experiments/{other.key}/stop",
            )
