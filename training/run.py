"""One training from data to registry: fit and evaluate at the cut, refit, register, pass the gate,
promote."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from configs.loading import build, load
from configs.settings import Settings
from features.contracts.errors import BadInput
from features.facts.facts import Facts
from models.registry import NAMES, PASSED, REFUSED, Registry, Version
from training.champion import (
    Candidate,
    compare_with_champion,
    decide_unmeasured,
    describe_carried,
)
from training.data_checks import (
    DataProfile,
    find_data_problems,
    read_data_profile,
    read_weeks,
    write_weeks,
)
from training.gate import GateConfig, Verdict
from training.non_inferiority import UnitValues
from training.results import Evaluation, SavedModel, Trained
from training.task import TIME, Config, Progress, Task
from training.tracking import tracking_run

_TAG_LENGTH = 4000  # MLflow's tags take 5,000 characters


@dataclass(frozen=True)
class EvaluatedConfig:
    """The configuration of a version as its tags keep it.

    protocol   the part of `values` that decides how the model is evaluated, not what is fitted
    """

    values: Mapping[str, object]
    protocol: Mapping[str, object]

    @property
    def fitted(self) -> dict[str, object]:
        """The part that decides what is fitted."""
        return {name: value for name, value in self.values.items() if name not in self.protocol}


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

    registry      None: nothing is tracked; needed for `train`
    until         None: all data
    now           business time, where old data must stop a training
    accept_data   train although the data look wrong
    """

    facts: Facts
    settings: Settings
    registry: Registry | None
    until: datetime | None
    progress: Progress
    now: datetime | None = None
    accept_data: bool = False

    def train(self, task: Task[Config], config: Config, *, refit: bool = True) -> TrainingReport:
        """Train, register a new version, and promote it when the gate allows it.

        The metrics are those of the model fitted at the cut; the version holds the same
        configuration refitted on all visible data, or with `refit=False` the model at the cut.
        Raises BadInput where the data differ too much from those of the champion.
        """
        if self.registry is None:
            raise BadInput("a training needs a registry")
        started = time.monotonic()
        profile = self._check_data(task.name, self.registry)
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
            verdict = self._pass_gate(task, trained, evaluated_config, self.registry)
            tags = {
                "cut": evaluation.cut.isoformat(),
                "fitted_on": fitted_on,
                "metric": evaluation.primary,
                "primary": repr(evaluation.primary_value),
                "config": json.dumps(evaluated_config.values),
                "weeks": write_weeks(profile),
                "fitted_until": trained.fitted_until.isoformat(),
                "verdict": verdict.reason[:_TAG_LENGTH],
                "gate": PASSED if verdict.promote else REFUSED,
                **describe_carried(verdict),
            }
            evaluated = trained.evaluated if refit else None
            version = run.register(task.name, trained.served, evaluated=evaluated, tags=tags)
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

    def _check_data(self, name: str, registry: Registry) -> DataProfile | None:
        """Return the profile of the data. Raises BadInput where it would not do for a retraining;
        a first training has nothing to compare with."""
        profile = read_data_profile(self.facts, self.until)
        champion = registry.find_champion(name)
        if champion is None or profile is None or self.accept_data:
            return profile
        limits = self._gate_config().data
        former = read_weeks(champion.tags.get("weeks"))
        if problems := find_data_problems(profile, former, self.now, limits):
            raise BadInput(
                f"{name} is not trained: {'; '.join(problems)}",
                where="the imported events",
                hint="Import what is missing, or train anyway with --accept-data",
            )
        return profile

    def _gate_config(self) -> GateConfig:
        return load("gate", GateConfig, overlay=self.settings.config_dir)

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
        trained: Trained[SavedModel],
        challenger: EvaluatedConfig,
        registry: Registry,
    ) -> Verdict:
        """Compare the challenger with its baselines and with the champion."""
        evaluation = trained.evaluation
        champion = registry.find_champion(task.name)
        former = evaluation.primary if champion is None else champion.tags.get("metric")
        if not evaluation.passed:
            bars = "; ".join(evaluation.failed_bars)
            is_first = champion is None or former not in (None, evaluation.primary)
            if task.serves_behind and is_first and not trained.stands_in:
                return Verdict(True, f"the first of its kind serves, although it is {bars}")
            return Verdict(False, bars)
        if former not in (None, evaluation.primary) and (
            trained.stands_in or not trained.measure(None)
        ):
            return Verdict(
                False,
                f"cannot be compared with the champion, which was evaluated by {former}: "
                f"{'; '.join(evaluation.notes)}",
            )
        candidate = Candidate(
            task.name,
            trained,
            self._gate_config(),
            partial(self._refit, task, challenger),
            self.progress,
        )
        if not evaluation.comparisons:
            known = None if champion is None else _read_config(task, champion)
            is_same = known is not None and known.fitted == challenger.fitted
            return decide_unmeasured(candidate, champion, is_same_config=is_same)
        if champion is None:
            reason = "first model, and not measurably behind any baseline that it must beat"
            return Verdict(True, reason)
        return compare_with_champion(candidate, champion, registry)

    def _refit(
        self, task: Task[Config], challenger: EvaluatedConfig, version: Version
    ) -> Mapping[str, UnitValues] | None:
        """Fit a version's configuration at the challenger's cut and measure it there; None where it
        is not known, or is the challenger's."""
        former = _read_config(task, version)
        if former is None or former.fitted == challenger.fitted:
            return None
        self.progress("fitting the champion's configuration at the same cut")
        values = {**former.values, **challenger.protocol}
        config = build(values, task.config, where="the champion's configuration")
        return self._fit(task, config, refit=False).measure(None)


def _describe_config(task: Task[Config], config: Config) -> EvaluatedConfig:
    values = json.loads(json.dumps(asdict(config)))
    return EvaluatedConfig(values, {name: values[name] for name in task.protocol})


def _read_config(task: Task[Config], version: Version) -> EvaluatedConfig | None:
    """Return None where the version has no config, or one that this release does not know."""
    try:
        values = json.loads(version.tags["config"])
        config = build(values, task.config, where="the version's tags")
        return _describe_config(task, config)
    except (KeyError, ValueError, BadInput):
        return None
