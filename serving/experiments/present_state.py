"""Experiments as the database and the files have them now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

import sqlalchemy as sa

from configs.settings import Settings
from experiments.definition import Experiment
from features.contracts.errors import NotFound, ShopwrightError
from serving.experiments.definitions import STATE_KEYS, PresentExperiments, build_experiment
from serving.experiments.repository import ExperimentState, ExperimentStates


@dataclass(frozen=True)
class PresentState:
    """All experiments at one instant.

    experiments   by key, in their state and with the shares of today
    states        what became of those that somebody started
    numbers       the version of each definition that has one
    problems      why a definition cannot be used, by key
    """

    experiments: Mapping[str, Experiment]
    states: Mapping[str, ExperimentState] = field(default_factory=dict)
    numbers: Mapping[str, int] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)

    def get(self, key: str) -> Experiment:
        """Return one experiment. Raises NotFound."""
        if key not in self.experiments:
            known = ", ".join(sorted(self.experiments)) or "none"
            raise NotFound(f"no experiment {key!r}", hint=f"Known: {known}")
        return self.experiments[key]


def read_present(
    settings: Settings, connection: sa.Connection, files: Mapping[str, Experiment]
) -> PresentState:
    """Return the experiments: those of files, and saved versions in their place."""
    states = ExperimentStates(connection).all()
    versions = PresentExperiments.read(settings, connection).versions
    experiments, problems = dict(files), {}
    for key, version in versions.items():
        try:
            defined = build_experiment(key, strip_state(version.values))
        except ShopwrightError as error:  # a later release may refuse what this one took
            problems[key] = str(error)
            experiments.pop(key, None)
            continue
        file = files.get(key)
        if file is not None:
            defined = replace(defined, status=file.status, stopped_at=file.stopped_at)
        experiments[key] = defined
    for key, state in states.items():
        if key in experiments:
            experiments[key] = _apply_state(experiments[key], state)
    numbers = {key: version.number for key, version in versions.items()}
    return PresentState(experiments, states, numbers, problems)


def list_allocations(
    state: ExperimentState | None,
) -> list[tuple[datetime, Mapping[str, float]]]:
    """Return the shares of the variants from an instant on, in order of time."""
    if state is None or state.weights is None:
        return []
    return [(datetime.fromisoformat(at), shares) for at, shares in sorted(state.weights.items())]


def strip_state(values: Mapping[str, object]) -> dict[str, object]:
    """Return the values of a definition without what becomes of it."""
    return {name: value for name, value in values.items() if name not in STATE_KEYS}


def _apply_state(experiment: Experiment, state: ExperimentState) -> Experiment:
    """Return an experiment in its state, with the weights of today."""
    variants = experiment.variants
    if allocations := list_allocations(state):
        weights = allocations[-1][1]
        variants = tuple(
            replace(variant, weight=weights.get(variant.name, variant.weight))
            for variant in variants
        )
    stopped_at = None if state.status == "running" else state.stopped_at
    return replace(experiment, status=state.status, stopped_at=stopped_at, variants=variants)
