"""One training from data to registry: fit and evaluate at the cut, refit, register, pass the gate,
promote."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from configs.loading import build, load
from configs.settings import Settings
from features.contracts.errors import BadInput
from features.facts.facts import Facts
from models.registry import NAMES, Registry, Version
from training.gate import Standing, Verdict, decide
from training.results import Evaluation
from training.tracking import tracking_run

# A challenger has seen newer data than the champion; this share of loss on the same cut is noise,
# not a step back.
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
    name: str,
    settings: Settings,
    *,
    file: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
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
    """Trains `name` on the data before `until` and promotes the new version when the gate allows
    it.

    The figures are measured by the model fitted at the cut; the version holds the same
    configuration refitted on all visible data, or with `refit=False` the model at the cut itself.
    """
    started = time.monotonic()
    task = import_module(f"training.{name}")
    standing = _standing(task, config)
    parameters = {
        "config": asdict(config),
        "until": str(until),
        "refit": refit,
        "seed": settings.seed,
    }
    fitted_on = "all data" if refit else "data before the cut"
    tags = {"task": "train", "served_model_fitted_on": fitted_on}
    with tracking_run(settings, registry, name=name, parameters=parameters, tags=tags) as run:
        trained = task.train(facts, settings, config, until=until, refit=refit, progress=progress)
        evaluation: Evaluation = trained.evaluation
        run.log_evaluation(evaluation)

        def rejudge(champion: Standing) -> Evaluation:
            """What the champion's configuration does in the challenger's place."""
            progress("fitting the champion's configuration at the same cut")
            other = build(
                {**champion.config, **standing.protocol},
                task.CONFIG,
                where="the champion's configuration",
            )
            judged: Evaluation = task.evaluate(
                facts, settings, other, until=until, progress=progress
            )
            return judged

        champion = registry.champion(name)
        held = None if champion is None else _standing_of(task, champion)
        verdict = decide(evaluation, standing, champion, held, rejudge, tolerance=GATE_TOLERANCE)
        tags = {
            "cut": evaluation.cut.isoformat(),
            "fitted_on": fitted_on,
            "metric": evaluation.primary,
            "primary": repr(evaluation.comparison(evaluation.primary).ours),
            "config": json.dumps(standing.config),
            "verdict": verdict.reason,
        }
        version = run.register(name, trained.served, tags=tags)
    if verdict.promote:
        version = registry.promote(name, version.version)
    return TrainingReport(evaluation, version, verdict, time.monotonic() - started)


def _standing(task: Any, config: Any) -> Standing:
    values = json.loads(json.dumps(asdict(config)))
    return Standing(values, {name: values[name] for name in task.PROTOCOL})


def _standing_of(task: Any, champion: Version) -> Standing | None:
    """None where the version does not say, or names what this release does not know."""
    try:
        return _standing(
            task,
            build(json.loads(champion.tags["config"]), task.CONFIG, where="the champion's tags"),
        )
    except (KeyError, ValueError, BadInput):
        return None


def evaluate(
    name: str,
    facts: Facts,
    settings: Settings,
    registry: Registry | None,
    config: Any,
    *,
    until: datetime | None = None,
    protocol: str = "time",
    progress: Progress,
) -> Evaluation:
    """Ours beside the baselines on the same data in the same run; nothing is registered.

    Without a registry no tracking run is written. `protocol` is one of the task's; only
    recommendations have another than "time".
    """
    task = import_module(f"training.{name}")
    known = getattr(task, "PROTOCOLS", ("time",))
    if protocol not in known:
        raise BadInput(
            f"{name} has no protocol {protocol!r}",
            where="--protocol",
            hint=f"One of: {', '.join(known)}",
        )
    chosen = {"protocol": protocol} if len(known) > 1 else {}
    if registry is None:
        judged: Evaluation = task.evaluate(
            facts, settings, config, until=until, progress=progress, **chosen
        )
        return judged
    parameters = {"config": asdict(config), "until": str(until), "seed": settings.seed, **chosen}
    with tracking_run(
        settings, registry, name=name, parameters=parameters, tags={"task": "evaluate"}
    ) as run:
        evaluation: Evaluation = task.evaluate(
            facts, settings, config, until=until, progress=progress, **chosen
        )
        run.log_evaluation(evaluation)
    return evaluation
