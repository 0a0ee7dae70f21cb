"""Experiments as they run: what their files say, and who started or stopped them since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from configs.settings import Settings
from experiments.assignment import assign
from experiments.definition import Experiment, Status, Variant, load_experiments
from features.contracts.errors import Conflict, NotFound
from features.database import reading
from features.facts.exposures import first_exposures
from serving.audit.repository import AuditEntry, AuditLog
from serving.experiments.repository import ExperimentStates


class ExperimentDesk:
    """The experiments of one process. `current` costs nothing; `refresh` sees what other processes
    decided."""

    def __init__(self, settings: Settings, engine: sa.Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._defined = load_experiments(settings)
        self._current: Mapping[str, Experiment] = self._defined

    @property
    def current(self) -> Mapping[str, Experiment]:
        """All experiments by key, as they are now."""
        return self._current

    def refresh(self) -> None:
        """Reads the states anew."""
        with reading(self._engine) as connection:
            self._current = self._with(ExperimentStates(connection).all())

    def get(self, key: str) -> Experiment:
        """One experiment. Raises NotFound."""
        return _found(self._current, key)

    def switch(
        self, connection: sa.Connection, key: str, status: Status, *, actor: str, at: datetime
    ) -> Experiment:
        """Starts or stops an experiment within the caller's transaction, and writes it to the audit
        log.

        Raises NotFound, and Conflict when another experiment runs on one of its placements. Call
        `refresh` after the commit.
        """
        states = ExperimentStates(connection)
        present = self._with(states.all())
        experiment = _found(present, key)
        if experiment.status == status:
            return experiment
        if status == "running":
            _refuse_shared(experiment, present)
        states.set(key, status, at)
        action = "start" if status == "running" else "stop"
        AuditLog(connection).append([AuditEntry(actor, action, "experiment", key)], at)
        return replace(experiment, status=status)

    def _with(self, states: Mapping[str, str]) -> dict[str, Experiment]:
        found = dict(self._defined)
        for key, status in states.items():
            if key in found:
                found[key] = replace(
                    found[key], status="running" if status == "running" else "stopped"
                )
        return found


def assignments(
    experiments: Mapping[str, Experiment], unit_id: str
) -> list[tuple[Experiment, Variant | None]]:
    """What `unit_id` gets in each running experiment; None where the rollout has not reached it."""
    running = (experiment for experiment in experiments.values() if experiment.running)
    return [(experiment, assign(experiment, unit_id)) for experiment in running]


def results(
    engine: sa.Engine, settings: Settings, experiment: Experiment, as_of: datetime
) -> dict[str, Any]:
    """The report of an experiment as plain values."""
    # These bring the analytical database with them; a server that answers nothing but slates never
    # loads it.
    from experiments.analysis.report import report
    from features.facts.facts import Facts

    with reading(engine) as connection:
        met = first_exposures(connection, experiment.key, until=as_of)
    foreign = [zone for zone in settings.zones if settings.zone(zone).currency != settings.currency]
    found = report(
        experiment, met, Facts(settings).read("events"), as_of=as_of, other_currency=foreign
    )
    return found.as_dict() | {"currency": settings.currency}


def _found(experiments: Mapping[str, Experiment], key: str) -> Experiment:
    if key not in experiments:
        raise NotFound(
            f"no experiment {key!r}", hint=f"Known: {', '.join(sorted(experiments)) or 'none'}"
        )
    return experiments[key]


def _refuse_shared(experiment: Experiment, present: Mapping[str, Experiment]) -> None:
    for other in present.values():
        shared = set(other.placements) & set(experiment.placements)
        if other.running and other.key != experiment.key and shared:
            raise Conflict(
                f"{other.key} runs on the placement {sorted(shared)[0]!r}",
                hint=f"Stop it first: POST /v1/experiments/{other.key}/stop",
            )
