"""MLflow tracking runs: parameters, metrics beside baselines, plots and artifact of a training."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from configs.settings import Settings
from models.digests import write_digests
from models.registry import DIGESTS, EVALUATED, SERVED, Registry, Version, find_artifacts
from training.report import render_html
from training.results import OURS, Comparison, Evaluation, MetricTable, SavedModel

if TYPE_CHECKING:
    from mlflow import MlflowClient

_TAG_LENGTH = 4000  # tags take 5,000 characters
_METRICS_PER_CALL = 500  # the tracking server accepts at most 1,000


@dataclass(frozen=True)
class TrackingRun:
    """One open MLflow run."""

    client: MlflowClient
    run_id: str
    registry: Registry

    def log_evaluation(self, evaluation: Evaluation, *, prefix: str = "") -> None:
        """Log metrics, tables, plots and the HTML report.

        Comparisons become metrics `<metric>` and `<metric>.<baseline>`. Of the tables only our row
        becomes metrics; `evaluation.json` has every method.
        """
        metrics: dict[str, float] = {}
        for comparison in evaluation.comparisons:
            metrics |= _comparison_metrics(comparison)
        for table in evaluation.tables:
            metrics |= _table_metrics(table)
        metrics |= {_metric_name(name): value for name, value in evaluation.metrics.items()}
        self.log_metrics({prefix + name: value for name, value in metrics.items()})
        self.client.set_tag(self.run_id, "evaluated_at_cut", evaluation.cut.isoformat())
        for name, choice in evaluation.choices.items():
            self.client.set_tag(self.run_id, name, choice[:_TAG_LENGTH])
        document = {
            "comparisons": [asdict(comparison) for comparison in evaluation.comparisons],
            "tables": [asdict(table) for table in evaluation.tables],
            "data": dict(evaluation.data),
            "choices": dict(evaluation.choices),
            "notes": list(evaluation.notes),
        }
        self.client.log_dict(self.run_id, document, "evaluation.json")
        self.client.log_text(self.run_id, render_html(evaluation), "report.html")
        for name, figure in evaluation.figures.items():
            self.client.log_figure(self.run_id, figure, f"plots/{name}.png")

    def log_metrics(self, values: Mapping[str, float]) -> None:
        """Log metrics in as few calls as the server accepts: one call per metric takes seconds."""
        from mlflow.entities import Metric

        now_milliseconds = int(time.time() * 1000)
        metrics = [
            Metric(name, value, now_milliseconds, 0)
            for name, value in values.items()
            if not math.isnan(value)
        ]
        for start in range(0, len(metrics), _METRICS_PER_CALL):
            batch = metrics[start : start + _METRICS_PER_CALL]
            self.client.log_batch(self.run_id, metrics=batch)

    @contextmanager
    def trial(
        self, parameters: Mapping[str, object], *, tags: Mapping[str, str]
    ) -> Iterator[TrackingRun]:
        """Open a child run: one trial of a search."""
        experiment_id = self.client.get_run(self.run_id).info.experiment_id
        child_tags = {**tags, "mlflow.parentRunId": self.run_id}
        run = self.client.create_run(experiment_id, run_name="trial", tags=child_tags)
        child = TrackingRun(self.client, run.info.run_id, self.registry)
        with _open_run(child, parameters) as opened:
            yield opened

    def register(
        self,
        name: str,
        model: SavedModel,
        *,
        evaluated: SavedModel | None = None,
        tags: Mapping[str, str],
    ) -> Version:
        """Save `model` as the run's artifact and register it as a new version of `name`.

        `evaluated`, the model at the cut where that is another one, is saved beside it.
        """
        parts = {SERVED: model} if evaluated is None else {SERVED: model, EVALUATED: evaluated}
        digests: dict[str, str] = {}
        with tempfile.TemporaryDirectory() as temporary:
            for part, saved in parts.items():
                folder = Path(temporary) / part
                folder.mkdir()
                saved.save(folder)
                digests[part] = write_digests(folder)
                self.client.log_artifacts(self.run_id, str(folder), part)
        source = f"{self.client.get_run(self.run_id).info.artifact_uri}/{SERVED}"
        tags = {**tags, DIGESTS: digests[SERVED]}
        return self.registry.register(name, run_id=self.run_id, source=source, tags=tags)


@contextmanager
def tracking_run(
    settings: Settings,
    registry: Registry,
    *,
    name: str,
    parameters: Mapping[str, object],
    tags: Mapping[str, str],
) -> Iterator[TrackingRun]:
    """Open an MLflow run under the experiment `name`; it ends as FAILED when the body raises."""
    client = registry.open_client()
    # A tracking server chooses where artifacts are kept; with a bare database they are kept in the
    # state folder.
    is_server = registry.url.startswith(("http://", "https://"))
    location = None if is_server else find_artifacts(settings.home, name).as_uri()
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        experiment_id = client.create_experiment(name, artifact_location=location)
    else:
        experiment_id = experiment.experiment_id
        if location is not None and experiment.artifact_location != location:
            _move_experiment(registry.url, experiment_id, experiment.artifact_location, location)
    run = client.create_run(experiment_id, run_name=name, tags=dict(tags))
    with _open_run(TrackingRun(client, run.info.run_id, registry), parameters) as opened:
        yield opened


def _move_experiment(url: str, experiment_id: str, before: str, location: str) -> None:
    """Make the runs of an experiment keep their artifacts at `location`, old ones too.

    The state folder was moved or copied, and the place before may be another shop's by now. MLflow
    stores absolute paths, and has no call that changes them.
    """
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            rows = sa.table(table, sa.column("experiment_id"), sa.column(column))
            path = rows.c[column]
            connection.execute(
                sa.update(rows)
                .where(
                    rows.c.experiment_id == int(experiment_id),
                    sa.func.substr(path, 1, len(before)) == before,
                )
                .values({path: sa.literal(location) + sa.func.substr(path, len(before) + 1)})
            )
    engine.dispose()


@contextmanager
def _open_run(run: TrackingRun, parameters: Mapping[str, object]) -> Iterator[TrackingRun]:
    try:
        for key, value in _flatten(parameters).items():
            run.client.log_param(run.run_id, key, value)
        yield run
    except BaseException:
        run.client.set_terminated(run.run_id, "FAILED")
        raise
    run.client.set_terminated(run.run_id, "FINISHED")


def _comparison_metrics(comparison: Comparison) -> dict[str, float]:
    metric = _metric_name(comparison.metric)
    metrics = {metric: comparison.ours}
    for name, value in comparison.baselines.items():
        metrics[f"{metric}.{_metric_name(name)}"] = value
    if comparison.p_value is not None:
        metrics[f"{metric}.p_value"] = comparison.p_value
    for name, value in comparison.p_values.items():
        metrics[f"{metric}.{_metric_name(name)}.p_value"] = value
    for name, (low, high) in comparison.intervals.items():
        method = metric if name == OURS else f"{metric}.{_metric_name(name)}"
        metrics |= {f"{method}.low": low, f"{method}.high": high}
    return metrics


def _table_metrics(table: MetricTable) -> dict[str, float]:
    """Return our row of a table; in a table without other methods every row is ours."""
    title = _metric_name(table.title)
    rows = (
        {title: table.rows[OURS]}
        if OURS in table.rows
        else {f"{title}/{_metric_name(name)}": cells for name, cells in table.rows.items()}
    )
    return {
        f"{name}/{_metric_name(column)}": cell.value
        for name, cells in rows.items()
        for column, cell in zip(table.columns, cells, strict=True)
    }


def _metric_name(text: str) -> str:
    """Return `text` with the letters, digits and ``_-. /`` that MLflow allows in a metric's name.

    >>> _metric_name("NDCG@10 (new)")
    'NDCG_10_new'
    """
    name = "".join(letter if letter.isalnum() or letter in "_-./" else "_" for letter in text)
    while "__" in name:
        name = name.replace("__", "_")
    return name.strip("_")


def _flatten(values: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Return nested mappings as one, with dotted keys."""
    flat: dict[str, object] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
