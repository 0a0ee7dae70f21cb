"""One training from data to registry: fit and evaluate at the cut, refit, register, pass the gate,
promote."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from configs.loading import build, load
from configs.settings import Settings
from features.contracts.errors import BadInput
from features.facts.facts import Facts
from models.registry import NAMES, Registry, Version
from training.gate import EvaluatedConfig, Verdict, decide
from training.results import Evaluation, SavedModel, Trained
from training.task import TIME, Config, Progress, Task
from training.tracking import tracking_run

# A challenger has seen newer data than the champion; a loss below this share on the same cut counts
# as noise.
GATE_TOLERANCE = 0.01


@dataclass(frozen=True)
class TrainingReport:
    """The result of one training: the metrics, the registered version, the gate's verdict."""

    evaluation: Evaluation
    version: Version
    verdict: Verdict
    seconds: float


def load_task(name: str) -> Task[Any]:
    """Return the task of this name; only its own libraries are imported. Raises BadInput."""
    if name == "recommendations":
        from training.recommendations.task import RecommendationsTask

        return RecommendationsTask()
    if name == "demand":
        from training.demand.task import DemandTask

        return DemandTask()
    if name == "pricing":
        from training.pricing.task import PricingTask

        return PricingTask()
    raise BadInput(f"no model is called {name!r}", hint=f"One of: {', '.join(NAMES)}")


def load_config(
    task: Task[Config],
    settings: Settings,
    *,
    file: Path | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Config:
    """Return the task's config: the shipped YAML, then the shop's, `file`, dotted overrides."""
    name, overlay = f"models/{task.name}", settings.config_dir
    return load(name, task.config, overlay=overlay, file=file, overrides=overrides)


@dataclass(frozen=True)
class TrainingRun:
    """A shop's data and registry, and the instant at which its data end for this run.

    registry   None: nothing is tracked; needed for `train`
    until      None: all data
    """

    facts: Facts
    settings: Settings
    registry: Registry | None
    until: datetime | None
    progress: Progress

    def train(self, task: Task[Config], config: Config, *, refit: bool = True) -> TrainingReport:
        """Train, register a new version, and promote it when the gate allows it.

        The metrics are those of the model fitted at the cut; the version holds the same
        configuration refitted on all visible data, or with `refit=False` the model at the cut.
        """
        if self.registry is None:
            raise BadInput("a training needs a registry")
        started = time.monotonic()
        evaluated_config = _describe_config(task, config)
        fitted_on = "all data" if refit else "data before the cut"
        tags = {"task": "train", "served_model_fitted_on": fitted_on}
        parameters = {**self._parameters(config), "refit": refit}
        with tracking_run(
            self.settings, self.registry, name=task.name, parameters=parameters, tags=tags
        ) as run:
            trained = self._fit(task, config, refit=refit)
            evaluation = trained.evaluation
            run.log_evaluation(evaluation)
            verdict = self._pass_gate(task, evaluated_config, evaluation, self.registry)
            tags = {
                "cut": evaluation.cut.isoformat(),
                "fitted_on": fitted_on,
                "metric": evaluation.primary,
                "primary": repr(evaluation.comparison(evaluation.primary).ours),
                "config": json.dumps(evaluated_config.config),
                "verdict": verdict.reason,
            }
            version = run.register(task.name, trained.served, tags=tags)
        if verdict.promote:
            version = self.registry.promote(task.name, version.version)
        return TrainingReport(evaluation, version, verdict, time.monotonic() - started)

    def evaluate(self, task: Task[Config], config: Config, *, split: str = TIME) -> Evaluation:
        """Measure ours beside the baselines on the same data; no version is registered."""
        if split not in task.splits:
            raise BadInput(
                f"{task.name} has no protocol {split!r}",
                where="--protocol",
                hint=f"One of: {', '.join(task.splits)}",
            )
        if self.registry is None:
            return self._evaluate(task, config, split)
        parameters = self._parameters(config)
        if len(task.splits) > 1:
            parameters["protocol"] = split
        tags = {"task": "evaluate"}
        with tracking_run(
            self.settings, self.registry, name=task.name, parameters=parameters, tags=tags
        ) as run:
            evaluation = self._evaluate(task, config, split)
            run.log_evaluation(evaluation)
        return evaluation

    def _fit(self, task: Task[Config], config: Config, *, refit: bool) -> Trained[SavedModel]:
        return task.train(
            self.facts,
            self.settings,
            config,
            until=self.until,
            refit=refit,
            progress=self.progress,
        )

    def _evaluate(self, task: Task[Config], config: Config, split: str) -> Evaluation:
        return task.evaluate(
            self.facts,
            self.settings,
            config,
            until=self.until,
            split=split,
            progress=self.progress,
        )

    def _parameters(self, config: Config) -> dict[str, object]:
        """Return what the tracking run records of this run."""
        return {"config": asdict(config), "until": str(self.until), "seed": self.settings.seed}

    def _pass_gate(
        self,
        task: Task[Config],
        challenger: EvaluatedConfig,
        evaluation: Evaluation,
        registry: Registry,
    ) -> Verdict:
        """Compare the challenger with its baselines and with the champion."""

        def evaluate_again(champion: EvaluatedConfig) -> Evaluation:
            """Fit and evaluate the champion's configuration at the challenger's cut."""
            self.progress("fitting the champion's configuration at the same cut")
            values = {**champion.config, **challenger.protocol}
            config = build(values, task.config, where="the champion's configuration")
            return self._evaluate(task, config, TIME)

        champion = registry.find_champion(task.name)
        champion_config = None if champion is None else _champion_config(task, champion)
        return decide(
            evaluation,
            challenger,
            champion,
            champion_config,
            evaluate_again,
            tolerance=GATE_TOLERANCE,
        )


def _describe_config(task: Task[Config], config: Config) -> EvaluatedConfig:
    values = json.loads(json.dumps(asdict(config)))
    return EvaluatedConfig(values, {name: values[name] for name in task.protocol})


def _champion_config(task: Task[Config], champion: Version) -> EvaluatedConfig | None:
    """Return None where the version has no config, or one that this release does not know."""
    try:
        values = json.loads(champion.tags["config"])
        config = build(values, task.config, where="the champion's tags")
        return _describe_config(task, config)
    except (KeyError, ValueError, BadInput):
        return None
