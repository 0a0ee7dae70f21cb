"""The registry holds versions, their files and tags, and which one is live."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from configs.settings import Settings
from features.contracts.errors import BadInput, Conflict, Damaged, NotFound
from models.registry import Registry
from training.results import Cell, Comparison, Evaluation, MetricTable
from training.tracking import tracking_run

CUT = datetime(2024, 5, 6, tzinfo=UTC)


def an_evaluation(
    ours: float, *, passed: bool = True, better: str = "higher", cut: datetime = CUT
) -> Evaluation:
    comparison = Comparison(
        "NDCG@10", ours, {"buy again": 0.39}, better, "buy again", p_value=0.001
    )  # type: ignore[arg-type]
    bars = () if passed else (f"does not beat its baseline: {comparison.describe()}",)
    return Evaluation(
        "recommendations", cut, "NDCG@10", (comparison,), bars, metrics={"coverage@20": 0.2}
    )


class AModel:
    def __init__(self, value: int) -> None:
        self.value = value

    def save(self, folder: Path) -> None:
        (folder / "model.json").write_text(json.dumps({"value": self.value}))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home with a space"))


@pytest.fixture(scope="module")
def registry(settings: Settings) -> Registry:
    return Registry(settings.mlflow_url, settings.home)


def test_versions_runs_and_aliases(settings: Settings, registry: Registry) -> None:
    assert registry.find_champion("recommendations") is None
    with pytest.raises(Conflict):
        registry.rollback("recommendations")
    versions = []
    for value in (1, 2):
        with tracking_run(
            settings,
            registry,
            name="recommendations",
            parameters={"ranker": {"trees": value}},
            tags={},
        ) as run:
            run.log_evaluation(an_evaluation(0.40 + value / 100))
            versions.append(
                run.register("recommendations", AModel(value), tags={"cut": CUT.isoformat()})
            )
    first, second = versions
    assert registry.promote("recommendations", first.version).aliases == ("champion",)
    registry.promote("recommendations", second.version)
    champion = registry.find_champion("recommendations")
    assert champion is not None
    assert champion.version == second.version
    assert champion.metrics["NDCG_10"] == pytest.approx(0.42)
    assert champion.metrics["NDCG_10.buy_again"] == pytest.approx(0.39)
    assert json.loads((registry.fetch_files(champion) / "model.json").read_text()) == {"value": 2}
    assert registry.rollback("recommendations").version == first.version
    assert [version.version for version in registry.list_versions("recommendations")] == [
        second.version,
        first.version,
    ]


def test_a_run_holds_the_p_value_of_every_baseline_the_tables_and_the_report(
    settings: Settings, registry: Registry
) -> None:
    plain = an_evaluation(0.42)
    comparison = replace(
        plain.comparisons[0], p_values={"buy again": 0.001}, intervals={"Shopwright": (0.41, 0.43)}
    )
    rows = {"Shopwright": (Cell(0.5), Cell(float("nan"))), "buy again": (Cell(0.25), Cell(1.0))}
    table = MetricTable("all items", ("recall@20", "novelty@20"), rows, (7, 0))
    with tracking_run(settings, registry, name="recommendations", parameters={}, tags={}) as run:
        run.log_evaluation(
            replace(plain, comparisons=(comparison,), tables=(table,), data={"users known": 7})
        )
    metrics = run.client.get_run(run.run_id).data.metrics
    assert metrics["NDCG_10.buy_again.p_value"] == 0.001
    assert (metrics["NDCG_10.low"], metrics["NDCG_10.high"]) == (0.41, 0.43)
    assert metrics["all_items/recall_20"] == 0.5
    assert "all_items/novelty_20" not in metrics  # there is no such figure
    artifacts = {each.path for each in run.client.list_artifacts(run.run_id)}
    assert {"evaluation.json", "report.html"} <= artifacts


def test_a_failed_training_leaves_a_failed_run_and_no_version(
    settings: Settings, registry: Registry
) -> None:
    with (
        pytest.raises(RuntimeError),
        tracking_run(settings, registry, name="demand", parameters={}, tags={}) as run,
    ):
        raise RuntimeError("out of memory")
    assert run.client.get_run(run.run_id).info.status == "FAILED"
    assert registry.find_champion("demand") is None


def test_unknown_names_and_versions_are_refused(registry: Registry) -> None:
    with pytest.raises(BadInput, match="recommendations"):
        registry.find_champion("recomendations")
    with pytest.raises(NotFound):
        registry.find_version("pricing", "7")


def test_a_copied_state_folder_reads_and_writes_its_own_files(tmp_path: Path) -> None:
    home = tmp_path / "one"
    source = Settings(home=home)
    with tracking_run(
        source, Registry(source.mlflow_url, home), name="pricing", parameters={}, tags={}
    ) as run:
        run.register("pricing", AModel(1), tags={})
    shutil.copytree(home, tmp_path / "two")
    copy = Settings(home=tmp_path / "two")
    registry = Registry(copy.mlflow_url, copy.home)
    with tracking_run(copy, registry, name="pricing", parameters={}, tags={}) as run:
        run.register("pricing", AModel(2), tags={})
    versions = registry.list_versions("pricing")
    folders = [registry.fetch_files(version) for version in versions]
    assert all(folder.is_relative_to(copy.home) for folder in folders)
    assert [json.loads((folder / "model.json").read_text()) for folder in folders] == [
        {"value": 2},
        {"value": 1},
    ]
    assert len(list((home / "mlartifacts" / "pricing").glob("*/artifacts/model"))) == 1

    (folders[0] / "model.json").write_text("{}")
    with pytest.raises(Damaged, match=r"model\.json is not what was written"):
        registry.promote("pricing", versions[0].version)
    (folders[1] / "digests.json").unlink()
    with pytest.raises(Damaged, match=r"digests\.json is missing"):
        registry.fetch_files(versions[1])
