"""Experiments of YAML files, and the checks that several experiments must pass together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from configs import loading
from configs.settings import Settings
from experiments.definition import EVERY_PLACEMENT, Experiment, find_repeated
from experiments.metrics import Metric, check_metrics, load_metrics
from features.contracts.errors import BadInput

FOLDER = "experiments"


def load_experiments(
    settings: Settings, metrics: Mapping[str, Metric] | None = None
) -> dict[str, Experiment]:
    """Return the experiments of files by key: the shipped files, changed by those of
    settings.config_dir.

    Raises BadInput when a key is not its file's name, when running experiments share units of a
    placement (one answer cannot follow two), or when two experiments share a salt (their splits
    would coincide), and UnknownName for a metric that does not exist.
    """
    known = load_metrics(settings) if metrics is None else metrics
    experiments: dict[str, Experiment] = {}
    for name in loading.list_configs(FOLDER, overlay=settings.config_dir):
        experiment = loading.load(f"{FOLDER}/{name}", Experiment, overlay=settings.config_dir)
        if experiment.key != name:
            raise BadInput(
                f"key {experiment.key!r} is not the file's name", where=f"{FOLDER}/{name}.yaml"
            )
        check_metrics(experiment, known)
        experiments[name] = experiment
    for experiment in experiments.values():
        if experiment.running and (rivals := find_rivals(experiment, experiments)):
            raise BadInput(
                f"running experiments {experiment.key}, {rivals[0].key} share a placement",
                where=FOLDER,
                hint="Stop one of them (status: stopped), or give them parts of one layer",
            )
    _refuse_shared_salts(list(experiments.values()))
    return experiments


def find_rivals(
    experiment: Experiment, experiments: Mapping[str, Experiment]
) -> Sequence[Experiment]:
    """Return the running experiments that claim units of this one on one of its placements.

    Those in disjoint parts of one layer with the same kind of unit, or for different zones, do not.
    Nor do holdouts and those after them: they take the units that a holdout leaves.
    """
    return [
        other
        for other in experiments.values()
        if other.running
        and other.key != experiment.key
        and other.rank == experiment.rank
        and _share_placement(experiment, other)
        and not _are_apart(experiment, other)
    ]


def _share_placement(experiment: Experiment, other: Experiment) -> bool:
    everywhere = EVERY_PLACEMENT in (*experiment.placements, *other.placements)
    return everywhere or bool(set(experiment.placements) & set(other.placements))


def _are_apart(experiment: Experiment, other: Experiment) -> bool:
    zones, others = experiment.targeting.zones, other.targeting.zones
    if zones and others and not set(zones) & set(others):
        return True
    if experiment.layer is None or other.layer is None or experiment.unit != other.unit:
        return False
    return not experiment.layer.overlaps(other.layer)


def _refuse_shared_salts(experiments: Sequence[Experiment]) -> None:
    salt = find_repeated(experiment.salt for experiment in experiments)
    if salt is None:
        return
    keys = ", ".join(experiment.key for experiment in experiments if experiment.salt == salt)
    raise BadInput(
        f"experiments {keys} share the salt {salt!r}", where=FOLDER, hint="Give each its own"
    )
