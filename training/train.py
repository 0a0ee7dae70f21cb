"""One training from data to registry: fit and evaluate at the cut, refit, register, pass the gate, promote."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from configs.loading import load
from configs.settings import Settings
from features.contracts.errors import BadInput
from features.store.facts import Facts
from models.registry import NAMES, Registry, Version
from training.gate import Verdict, decide
from training.results import Evaluation
from training.tracking import tracking_run

# A challenger has seen newer data than the champion; this share of loss on the same cut is noise, not a step back.
GATE_TOLERANCE = 0.01

Progress = Callable[[str], None]


@dataclass(frozen=True)
class TrainingReport:
    """What one training left behind."""

    evaluation: Evaluation
    version: Version
    verdict: Verdict
    seconds: float


def task_config(
    name: str, settings: Settings, *, file: Path | None = None, overrides: Mapping[str, Any] | None = None
) -> Any:
    """The task's config: the shipped YAML, then the shop's, then `file`, then dotted overrides."""
    if name not in NAMES:
        raise BadInput(f"no model is called {name!r}", hint=f"One of: {', '.join(NAMES)}")
    kind = import_module(f"training.{name}").CONFIG
    return load(f"models/{name}", kind, overlay=settings.config_dir, file=file, overrides=overrides)


def train(
    name: str,
    facts: Facts,
    settings: Settings,
    registry: Registry,
    config: Any,
    *,
    until: datetime | None = None,
    refit: bool = True,
    progress: Progress,
) -> TrainingReport:
    """Trains `name` on the data before `until` and promotes the new version when the gate allows it.

    The figures are measured by the model fitted at the cut; the version holds the same configuration refitted on all
    visible data, or with `refit=False` the model at the cut itself.
    """
    started = time.monotonic()
    parameters = {"config": asdict(config), "until": str(until), "refit": refit, "seed": settings.seed}
    with tracking_run(settings, registry, name=name, parameters=parameters, tags={"task": "train"}) as run:
        trained = import_module(f"training.{name}").train(
            facts, settings, config, until=until, refit=refit, progress=progress
        )
        evaluation: Evaluation = trained.evaluation
        run.log_evaluation(evaluation)
        verdict = decide(evaluation, registry.champion(name), tolerance=GATE_TOLERANCE)
        tags = {
            "cut": evaluation.cut.isoformat(),
            "fitted_on": "all data" if refit else "data before the cut",
            "metric": evaluation.primary,
            "primary": repr(evaluation.comparison(evaluation.primary).ours),
            "verdict": verdict.reason,
        }
        version = run.register(name, trained.served, tags=tags)
    if verdict.promote:
        version = registry.promote(name, version.version)
    return TrainingReport(evaluation, version, verdict, time.monotonic() - started)


def evaluate(
    name: str,
    facts: Facts,
    settings: Settings,
    registry: Registry,
    config: Any,
    *,
    until: datetime | None = None,
    progress: Progress,
) -> Evaluation:
    """Ours beside the baselines on the same data in the same run; nothing is registered."""
    parameters = {"config": asdict(config), "until": str(until), "seed": settings.seed}
    with tracking_run(settings, registry, name=name, parameters=parameters, tags={"task": "evaluate"}) as run:
        evaluation: Evaluation = import_module(f"training.{name}").evaluate(
            facts, settings, config, until=until, progress=progress
        )
        run.log_evaluation(evaluation)
    return evaluation
