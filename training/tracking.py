"""MLflow tracking runs: every training writes its parameters, metrics beside baselines, plots and
artifact here."""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from configs.settings import Settings
from models.registry import Registry, Version
from training.report import as_html
from training.results import OURS, Comparison, Evaluation, MetricTable

_METRICS_A_CALL = 500  # the tracking server's limit is 1,000


@dataclass(frozen=True)
class TrackingRun:
    """One open MLflow run."""

    client: Any
    run_id: str
    registry: Registry

    def log_evaluation(self, evaluation: Evaluation, *, prefix: str = "") -> None:
        """Metrics as `<metric>` and `<metric>.<baseline>`, all tables as JSON, every figure as PNG,
        the report as HTML.

        Of the tables ours only become metrics; every method's figures stand in `evaluation.json`.
        """
        found: dict[str, float] = {}
        for comparison in evaluation.comparisons:
            found |= _metrics_of(comparison)
        for table in evaluation.tables:
            found |= _metrics_of_table(table)
        found |= {_metric_name(name): value for name, value in evaluation.metrics.items()}
        self.log_metrics({prefix + name: value for name, value in found.items()})
        self.client.set_tag(self.run_id, "evaluated_at_cut", evaluation.cut.isoformat())
        document = {
            "comparisons": [asdict(comparison) for comparison in evaluation.comparisons],
            "tables": [asdict(table) for table in evaluation.tables],
            "data": dict(evaluation.data),
            "notes": list(evaluation.notes),
        }
        self.client.log_dict(self.run_id, document, "evaluation.json")
        self.client.log_text(self.run_id, as_html(evaluation), "report.html")
        for name, figure in evaluation.figures.items():
            self.client.log_figure(self.run_id, figure, f"plots/{name}.png")

    def log_metrics(self, values: Mapping[str, float]) -> None:
        """In as few calls as the server takes: one call a metric would cost seconds."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [
            Metric(name, value, now, 0) for name, value in values.items() if not math.isnan(value)
        ]
        for start in range(0, len(metrics), _METRICS_A_CALL):
            self.client.log_batch(self.run_id, metrics=metrics[start : start + _METRICS_A_CALL])

    @contextmanager
    def trial(
        self, parameters: Mapping[str, Any], *, tags: Mapping[str, str]
    ) -> Iterator[TrackingRun]:
        """A run below this one: one try of a search."""
        experiment_id = self.client.get_run(self.run_id).info.experiment_id
        below = {**tags, "mlflow.parentRunId": self.run_id}
        run_id = self.client.create_run(experiment_id, run_name="trial", tags=below).info.run_id
        with _open(TrackingRun(self.client, run_id, self.registry), parameters) as run:
            yield run

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
    settings: Settings,
    registry: Registry,
    *,
    name: str,
    parameters: Mapping[str, Any],
    tags: Mapping[str, str],
) -> Iterator[TrackingRun]:
    """An MLflow run under the experiment `name`; it ends as FAILED when the body raises."""
    os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    settings.home.mkdir(parents=True, exist_ok=True)
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=registry.url, registry_uri=registry.url)
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        # A tracking server decides itself where artifacts go; beside a bare database they lie in
        # the state folder.
        remote = registry.url.startswith(("http://", "https://"))
        location = None if remote else (settings.home.absolute() / "mlartifacts" / name).as_uri()
        experiment_id = client.create_experiment(name, artifact_location=location)
    else:
        experiment_id = experiment.experiment_id
    run = client.create_run(experiment_id, run_name=name, tags=dict(tags))
    with _open(TrackingRun(client, run.info.run_id, registry), parameters) as opened:
        yield opened


@contextmanager
def _open(run: TrackingRun, parameters: Mapping[str, Any]) -> Iterator[TrackingRun]:
    try:
        for key, value in _flat(parameters).items():
            run.client.log_param(run.run_id, key, value)
        yield run
    except BaseException:
        run.client.set_terminated(run.run_id, "FAILED")
        raise
    run.client.set_terminated(run.run_id, "FINISHED")


def _metrics_of(comparison: Comparison) -> dict[str, float]:
    metric = _metric_name(comparison.metric)
    values = {metric: comparison.ours}
    values |= {
        f"{metric}.{_metric_name(name)}": value for name, value in comparison.baselines.items()
    }
    if comparison.p_value is not None:
        values[f"{metric}.p_value"] = comparison.p_value
    values |= {
        f"{metric}.{_metric_name(name)}.p_value": value
        for name, value in comparison.p_values.items()
    }
    for name, (low, high) in comparison.intervals.items():
        stem = metric if name == OURS else f"{metric}.{_metric_name(name)}"
        values |= {f"{stem}.low": low, f"{stem}.high": high}
    return values


def _metrics_of_table(table: MetricTable) -> dict[str, float]:
    """Ours; in a table without other methods every row is a figure of ours."""
    stem = _metric_name(table.title)
    rows = (
        {stem: table.rows[OURS]}
        if OURS in table.rows
        else {f"{stem}/{_metric_name(n)}": r for n, r in table.rows.items()}
    )
    return {
        f"{name}/{_metric_name(column)}": cell.value
        for name, cells in rows.items()
        for column, cell in zip(table.columns, cells, strict=True)
    }


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
