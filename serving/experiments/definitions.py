"""Definitions of experiments as versions: the file of a key, until somebody saves a version."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from configs.loading import build
from experiments.definition import Experiment, Status
from experiments.metrics import Metric, check_metrics, needs_answers
from experiments.placement_changes import check_placements
from features.contracts.errors import BadInput, Conflict
from models.ranking.placement import Placement
from serving.database.desk_tables import experiment_versions
from serving.versioned_rules import PresentValues, VersionedRules

FOLDER = "experiments"
# What becomes of an experiment is its state, and not a part of its definition.
STATE_KEYS = ("status", "stopped_at")
_CHANGEABLE = ("coverage", "ramp", "guardrails", "secondary_metrics")


@dataclass(frozen=True)
class PresentExperiments(PresentValues):
    """The definitions by key, as they were when they were read."""

    folder = FOLDER
    table = experiment_versions
    kind = "experiment"


@dataclass(frozen=True)
class ExperimentDefinitions(VersionedRules[PresentExperiments]):
    """The definitions of one shop's experiments.

    metrics           the shop's metrics by name
    list_placements   returns the shop's placements by name
    """

    metrics: Mapping[str, Metric]
    list_placements: Callable[[], Mapping[str, Placement]]

    present = PresentExperiments
    subject = "experiment"
    title = "Experiment"
    scope = "experiments.manage"

    def check(self, name: str, values: Mapping[str, object], present: PresentExperiments) -> None:
        """Raise BadInput or UnknownName for a definition that cannot run."""
        experiment = build_experiment(name, values)
        check_metrics(experiment, self.metrics)
        check_placements(experiment, self.list_placements())
        if not self.settings.slate_log_days and needs_answers(experiment, self.metrics):
            raise BadInput(
                "a metric reads the logged slates, and no slate is logged",
                where=f"experiment {name!r}",
                hint="Set SHOPWRIGHT_SLATE_LOG_DAYS",
            )
        for other in present.list_names():
            if other == name:
                continue
            if present.read_values(other).get("salt", other) == experiment.salt:
                raise BadInput(
                    f"{other} has the salt {experiment.salt!r}: both would split alike",
                    where=f"experiment {name!r}",
                    hint="Leave salt out: then it is the key",
                )


def build_experiment(key: str, values: Mapping[str, object]) -> Experiment:
    """Return values as a draft of an experiment; without one its salt is its key.

    Raises BadInput for a value that does not fit, UnknownName for a key that does not exist.
    """
    where = f"experiment {key!r}"
    if given := [name for name in STATE_KEYS if name in values]:
        raise BadInput(
            f"{given[0]} is no part of a definition",
            where=where,
            hint="Start and stop it: POST /v1/experiments/{key}/start",
        )
    if "variants" in values:
        _refuse_prices(values["variants"], where)
    defined = {"salt": key, **values, "key": key, "status": "draft"}
    return build(defined, Experiment, where=where)


def _refuse_prices(variants: object, where: str) -> None:
    """Raise BadInput for a variant that names a price."""
    for variant in variants if isinstance(variants, list) else []:
        names = set(variant) if isinstance(variant, Mapping) else set()
        if priced := sorted(name for name in names if "price" in str(name)):
            raise BadInput(
                f"a variant has no {priced[0]}: everybody pays the same price at the same time",
                where=where,
                hint="Test prices by item, family or zone: shopwright prices tests --plan",
            )


def refuse_late_changes(
    before: Experiment, after: Experiment, status: Status, now: datetime
) -> None:
    """Raise Conflict for a change that an experiment with units cannot take.

    While it runs, more units, guardrails and secondary metrics may come; after its stop nothing.
    """
    if status == "draft":
        return
    changed = [
        name
        for name in Experiment.__dataclass_fields__
        if getattr(before, name) != getattr(after, name)
    ]
    late = [name for name in changed if status != "running" or name not in _CHANGEABLE]
    where = f"experiment {before.key!r}"
    if late:
        raise Conflict(
            f"{late[0]} of a {status} experiment cannot change: its units were split by it",
            where=where,
            hint="Define another experiment; while one runs, "
            f"{', '.join(_CHANGEABLE)} may be changed",
        )
    instants = [now, *(step.at for step in (*before.ramp, *after.ramp) if step.at > now)]
    if any(after.coverage_at(at) < before.coverage_at(at) for at in instants):
        raise Conflict("coverage only rises while an experiment runs", where=where)
