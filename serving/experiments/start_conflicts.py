"""Why an experiment cannot be answered for beside those that run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from experiments.definition import CHAMPION, Experiment
from experiments.experiment_files import find_rivals
from features.contracts.errors import Conflict


def refuse_rivals(experiment: Experiment, current: Mapping[str, Experiment]) -> None:
    """Raise Conflict while another running experiment claims units of this one."""
    for other in find_rivals(experiment, current):
        shared = sorted(set(other.placements) & set(experiment.placements)) or ["*"]
        raise Conflict(
            f"{other.key} runs on the placement {shared[0]!r}",
            hint=f"Stop it first: POST /v1/experiments/{other.key}/stop; or give both disjoint "
            "parts of one layer",
        )


def refuse_many_versions(
    experiment: Experiment, answering: Iterable[Experiment], max_versions: int
) -> None:
    """Raise Conflict where every process would hold more model versions beside the champion."""
    versions: dict[str, str] = {}  # the experiment that needs it, by version
    for other in (*answering, experiment):
        for variant in other.variants:
            if variant.model != CHAMPION:
                versions.setdefault(variant.model, other.key)
    if len(versions) > max_versions:
        needed = ", ".join(f"{version} ({key})" for version, key in sorted(versions.items()))
        raise Conflict(
            f"{len(versions)} model versions would be loaded beside the champion: {needed}",
            where=f"experiment {experiment.key!r}",
            hint=f"Stop an experiment, or raise SHOPWRIGHT_MAX_VARIANT_MODELS ({max_versions}) "
            "where the memory allows it",
        )
