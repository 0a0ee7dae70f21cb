"""Tuning looks at nothing from `until` on, its first trial is the present config, and every trial
is an MLflow run."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from features.contracts.errors import BadInput
from models.registry import Registry
from serving.cli.main import app
from tests.shops.environment import make_database
from tests.shops.forty_shoppers import CONFIG, END, make_purchase, make_purchases, write_shop
from training.recommendations.metrics import ndcg
from training.recommendations.ranking_rows import Rows
from training.recommendations.tuning import TuningResult, tune_rankers
from training.run import TrainingRun

UNTIL = END - timedelta(weeks=2)
N_TRIALS = 3


def run_tuning(home: Path, rows: list[dict[str, Any]]) -> tuple[list[TuningResult], Registry]:
    facts, settings = write_shop(home, rows)
    registry = Registry(settings.mlflow_url, settings.home)
    run = TrainingRun(facts, settings, registry, UNTIL, lambda _: None)
    return tune_rankers(run, CONFIG, n_trials=N_TRIALS), registry


@pytest.mark.slow
def test_what_occurs_from_until_on_changes_nothing_and_the_best_is_at_least_what_was_given(
    tmp_path: Path,
) -> None:
    first, registry = run_tuning(tmp_path / "a", make_purchases())
    later = [make_purchase(f"u{n:02}", "i29", END - timedelta(days=n % 12)) for n in range(40)]
    second, _ = run_tuning(tmp_path / "b", [*make_purchases(), *later])
    assert first == second
    assert [result.task for result in first] == ["all", "new", "cart"]
    assert all(result.best >= result.before > 0 for result in first)
    # What is searched changed, what is not stayed.
    with_given = [
        replace(
            result.ranker,
            **{
                name: getattr(CONFIG.ranker(result.task), name)
                for name in ("n_bins", "share_negatives")
            },
        )
        for result in first
    ]
    assert with_given == [result.ranker for result in first]
    runs = list_runs(registry)
    trials = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    assert len(trials) == 3 * N_TRIALS
    assert {run.info.status for run in runs} == {"FINISHED"}
    for parent in (run for run in runs if "mlflow.parentRunId" not in run.data.tags):
        below = [run for run in trials if run.data.tags["mlflow.parentRunId"] == parent.info.run_id]
        assert max(run.data.metrics["NDCG_10"] for run in below) == parent.data.metrics["NDCG_10"]
        given = next(run for run in below if run.data.tags["trial"] == "0")
        assert given.data.params["learning_rate"] == str(
            CONFIG.ranker(parent.data.tags["ranker"]).learning_rate
        )
        assert given.data.metrics["NDCG_10"] == parent.data.metrics["NDCG_10.given"]


@pytest.mark.slow
def test_a_shop_without_orders_of_several_items_has_no_ranker_of_carts_to_tune(
    tmp_path: Path,
) -> None:
    single_items = [{**row, "order_id": f"{n}"} for n, row in enumerate(make_purchases())]
    results, _ = run_tuning(tmp_path, single_items)
    assert [result.task for result in results] == ["all", "new"]


def test_nothing_to_learn_from_is_an_error_and_no_empty_file(tmp_path: Path) -> None:
    old = [
        make_purchase(f"u{n}", f"i{m:02}", UNTIL - timedelta(weeks=40))
        for n in range(9)
        for m in range(n, 12)
    ]
    with pytest.raises(BadInput, match="learn from"):
        run_tuning(
            tmp_path, [*old, make_purchase("somebody new", "i29", UNTIL - timedelta(hours=1))]
        )


def list_runs(registry: Registry) -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=registry.url)
    experiment = client.get_experiment_by_name("recommendations")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def test_the_rows_ndcg_counts_what_is_no_candidate_as_missed() -> None:
    rows = Rows(
        np.zeros((5, 1), np.float32),
        np.array([1, 0, 0, 1, 0], bool),
        np.array([3, 2]),
        np.array([1, 4]),
    )
    scores = np.array([2.0, 3.0, 1.0, 1.0, 0.0])
    expected = [ndcg(["b", "a", "c"], {"a"}, 10), ndcg(["d", "e"], {"d", "x", "y", "z"}, 10)]
    assert rows.ndcg(scores, 10).tolist() == pytest.approx(expected)


def test_rows_of_some_users_are_theirs() -> None:
    gains = np.array([1, 0, 0, 0.3, 0], np.float32)
    rows = Rows(np.arange(5, dtype=np.float32)[:, None], gains, np.array([3, 2]), np.array([1, 4]))
    (second, first) = (rows.select(np.array([n])) for n in (1, 0))
    assert second.matrix.ravel().tolist() == [3, 4]
    assert (second.relevant.tolist(), second.n_relevant.tolist()) == ([True, False], [4])
    both = rows.select(np.array([1, 0]))
    assert both.matrix.ravel().tolist() == [3, 4, 0, 1, 2]
    assert both.sizes.tolist() == [len(second.gains), len(first.gains)]


def test_the_command_writes_a_config_that_a_training_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_database(tmp_path / "home")
    write_shop(tmp_path / "home", make_purchases())
    monkeypatch.setenv("SHOPWRIGHT_HOME", str(tmp_path / "home"))
    out = tmp_path / "tuned.yaml"
    light = tmp_path / "light.yaml"
    light.write_text("ease: {l2: 5}\nals: {n_factors: 4, n_iterations: 3}\n")
    arguments = [
        "tune",
        "recommendations",
        "--trials",
        "1",
        "--out",
        str(out),
        "--config",
        str(light),
    ]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert f"shopwright train recommendations --config {out}" in result.output
    written = yaml.safe_load(out.read_text())
    assert set(written) == {"ranker_all", "ranker_new", "ranker_cart"}
    assert set(written["ranker_all"]) == set(asdict(CONFIG.ranker_all))
    out.write_text(out.read_text() + light.read_text())
    result = CliRunner().invoke(
        app, ["evaluate", "recommendations", "--config", str(out), "--json"]
    )
    assert result.exit_code == 0, result.output
