"""MLflow tracking runs: every training writes its parameters, metrics beside baselines, plots and artifact here."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from configs.settings import Settings
from models.registry import Registry, Version
from training.results import Comparison, Evaluation


@dataclass(frozen=True)
class TrackingRun:
    """One open MLflow run."""

    client: Any
    run_id: str
    registry: Registry

    def log_evaluation(self, evaluation: Evaluation, *, prefix: str = "") -> None:
        """Metrics as `<metric>` and `<metric>.<baseline>`, the comparison table as JSON, every figure as PNG."""
        for comparison in evaluation.comparisons:
            for name, value in _metrics_of(comparison).items():
                self.client.log_metric(self.run_id, prefix + name, value)
        for name, value in evaluation.metrics.items():
            self.client.log_metric(self.run_id, prefix + _metric_name(name), value)
        self.client.set_tag(self.run_id, "evaluated_at_cut", evaluation.cut.isoformat())
        table = [asdict(comparison) for comparison in evaluation.comparisons]
        self.client.log_dict(self.run_id, {"comparisons": table, "notes": list(evaluation.notes)}, "evaluation.json")
        for name, figure in evaluation.figures.items():
            self.client.log_figure(self.run_id, figure, f"plots/{name}.png")

    def register(self, name: str, model: Any, *, tags: Mapping[str, str]) -> Version:
        """Saves `model` as the run's artifact and registers it as a new version of `name`."""
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "model"
            folder.mkdir()
            model.save(folder)
            self.client.log_artifacts(self.run_id, str(folder), "model")
        source = f"{self.client.get_run(self.run_id).info.artifact_uri}/model"
        return self.registry.register(name, run_id=self.run_id, source=source, tags=tags)


@contextmanager
def tracking_run(
    settings: Settings, registry: Registry, *, name: str, parameters: Mapping[str, Any], tags: Mapping[str, str]
) -> Iterator[TrackingRun]:
    """An MLflow run under the experiment `name`; it ends as FAILED when the body raises."""
    os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    settings.home.mkdir(parents=True, exist_ok=True)
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=registry.url, registry_uri=registry.url)
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        # A tracking server decides itself where artifacts go; beside a bare database they lie in the state folder.
        remote = registry.url.startswith(("http://", "https://"))
        location = None if remote else (settings.home.absolute() / "mlartifacts" / name).as_uri()
        experiment_id = client.create_experiment(name, artifact_location=location)
    else:
        experiment_id = experiment.experiment_id
    run = client.create_run(experiment_id, run_name=name, tags=dict(tags))
    try:
        for key, value in _flat(parameters).items():
            client.log_param(run.info.run_id, key, value)
        yield TrackingRun(client, run.info.run_id, registry)
    except BaseException:
        client.set_terminated(run.info.run_id, "FAILED")
        raise
    client.set_terminated(run.info.run_id, "FINISHED")


def _metrics_of(comparison: Comparison) -> dict[str, float]:
    metric = _metric_name(comparison.metric)
    values = {metric: comparison.ours}
    values |= {f"{metric}.{_metric_name(name)}": value for name, value in comparison.baselines.items()}
    if comparison.p_value is not None:
        values[f"{metric}.p_value"] = comparison.p_value
    return values


def _metric_name(text: str) -> str:
    """MLflow allows letters, digits and ``_-. /`` in a metric's name.

    >>> _metric_name("NDCG@10 (new)")
    'NDCG_10_new'
    """
    kept = "".join(letter if letter.isalnum() or letter in "_-./" else "_" for letter in text)
    while "__" in kept:
        kept = kept.replace("__", "_")
    return kept.strip("_")


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
