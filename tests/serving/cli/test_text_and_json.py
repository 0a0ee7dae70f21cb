"""The text of a verb says everything that its --json document says."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from features.online.materialize import MaterializeReport
from features.sources.report import ImportReport
from models.ranking.lambdarank import RankerConfig
from models.registry import Version
from serving.cli import demo, train
from serving.cli.main import app
from tests.shops.folders import EVENT, write_csv
from tests.shops.served_shop import NOW, copy_shop
from tests.shops.unsaid import list_unsaid
from training.gate import MetricTest, Verdict, describe_test
from training.non_inferiority import PairedLoss
from training.recommendations import tuning
from training.recommendations.tuning import TuningResult
from training.results import Cell, Comparison, Evaluation, MetricTable
from training.run import TrainingReport

RUN = CliRunner()


def run(*arguments: str) -> str:
    """Return what a verb prints for people."""
    result = RUN.invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def run_json(*arguments: str) -> dict:
    result = RUN.invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_report_of_an_import_names_what_looks_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tables"
    (folder / "stocks").mkdir(parents=True)
    (folder / "readme.txt").touch()
    write_csv(
        folder / "items.csv",
        [{"item_id": "a", "category": "Tops", "listprice": "25.95", "unit cost": "11", "till": "7"}]
        * 2,
    )
    write_csv(folder / "price-history.csv", [{"item_id": "a", "zone": "default"}])
    purchase = {**EVENT, "userid": "u1", "price": "25.95"}
    del purchase["user_id"]
    write_csv(
        folder / "events.csv",
        [
            purchase,
            purchase | {"item_id": "c"},
            purchase | {"quantity": "two"},
            purchase | {"event_type": "bought", "quantity": "-1"},
        ],
    )
    arguments = ("import", str(folder), "--max-bad-share", "0.9")
    monkeypatch.setenv("SHOPWRIGHT_HOME", str(tmp_path / "json"))
    document = run_json(*arguments)
    monkeypatch.setenv("SHOPWRIGHT_HOME", str(tmp_path / "text"))
    text = run(*arguments).replace(str(tmp_path / "text"), str(tmp_path / "json"))
    assert list_unsaid(document, text) == []
    extra = "extra columns, kept as attributes"
    for line in (
        "price-history.csv is no table and was ignored; is it meant to be price_history?",
        "stocks/ is no table and was ignored; is it meant to be stock?",
        "readme.txt is no table and was ignored",
        f"items: {extra}: listprice (is it list_price?), unit cost (is it unit_cost?), till",
        f"events: {extra}: userid (is it user_id?), price (is it list_price or unit_price?)",
        "events: item_id is not among the imported items in 1 rows, which are kept",
    ):
        assert line in text.splitlines()
    assert any(
        line.startswith("events: 1 quarantined, quantity is no number")
        for line in text.splitlines()
    )


# Verbs that a shop without a price model has, and what of their JSON is for programs alone: the
# settings and figures of a model version, and columns of the list that stand in its CSV file.
VERBS = {
    ("doctor",): (),
    ("experiments", "list"): (),
    ("experiments", "report", "home_ranker"): (),
    ("features", "build"): (),
    ("inventory",): (
        "title",
        "category",
        "weekly_units",
        "order_up_to",
        "abc",
        "xyz",
        "service_level",
        "lead_time_days",
    ),
    ("keys", "list"): ("prefix",),
    ("models", "list"): ("tags", "metrics", "run_id", "created_at_seconds"),
    ("forecasts", "export", "--out", "OUT"): (),
}


@pytest.fixture(scope="module")
def shop(tiny_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("verbs") / "home"
    copy_shop(tiny_home, home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOPWRIGHT_HOME", str(home))
        patch.setenv("SHOPWRIGHT_CURRENCY", "EUR")
        patch.setenv("SHOPWRIGHT_CLOCK_START", NOW.isoformat())
        yield home


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_the_text_of_a_verb_says_what_its_json_says(shop: Path, verb: tuple[str, ...]) -> None:
    arguments = [str(shop / "forecasts.parquet") if word == "OUT" else word for word in verb]
    text = RUN.invoke(app, arguments).output
    document = drop_fields(json.loads(RUN.invoke(app, [*arguments, "--json"]).stdout), VERBS[verb])
    assert list_unsaid(document, text) == []


def drop_fields(value: Any, names: tuple[str, ...]) -> Any:
    """Return the document without the fields of these names, at any depth."""
    if isinstance(value, dict):
        return {key: drop_fields(v, names) for key, v in value.items() if key not in names}
    return [drop_fields(each, names) for each in value] if isinstance(value, list) else value


def test_a_new_key_is_alone_on_standard_output(shop: Path) -> None:
    result = RUN.invoke(app, ["keys", "create", "--scope", "events,storefront", "--name", "till"])
    assert result.stdout.startswith("sw_")
    assert len(result.stdout.split()) == 1
    assert "of till has the scopes storefront, events" in result.stderr


def compare(value: float, allowed: float) -> MetricTest:
    """Return the test of a metric against version 2, whose value is .4."""
    loss = (0.4 - value) / 0.4
    paired = PairedLoss(
        metric=f"NDCG at {allowed}",
        unit="users",
        candidate=value,
        reference=0.4,
        loss=loss,
        error=0.001,
        equal_error=0.001,
        n_units=1_250,
    )
    return MetricTest("2", paired, allowed, 0.05)


def make_training() -> TrainingReport:
    """Return a training that the gate refused for one of two metrics."""
    table = MetricTable(
        title="By segment",
        columns=("loyal", "new"),
        rows={
            "Shopwright": (Cell(0.51, 0.47, 0.55), Cell(0.21, p_value=0.03)),
            "popular": (Cell(0.44), Cell(math.nan)),
        },
        n_users=(812, 438),
        note="Loyal users bought in three weeks",
        counted="shoppers",
    )
    comparison = Comparison("NDCG@10", 0.38, {"popular": 0.31}, "higher", "popular", p_value=0.002)
    evaluation = Evaluation(
        task="recommendations",
        cut=NOW,
        primary="NDCG@10",
        comparisons=(comparison,),
        failed_bars=(),
        metrics={"coverage": 0.27},
        notes=("one week is missing",),
        tables=(table,),
        data={"users": 1_250},
        choices={"targets": "purchase", "targets_why": "auto: 40 purchases"},
    )
    tests = (compare(0.36, 0.02), compare(0.396, 0.1))
    reason = f"not shown to be as good as before: {describe_test(tests[0])}"
    version = Version("recommendations", "3", "run", (), 0.0)
    return TrainingReport(evaluation, version, Verdict(False, reason, tests), 41.0)


def test_the_text_of_a_training_says_what_its_json_says(capsys: pytest.CaptureFixture[str]) -> None:
    trainings = train._Trainings(
        [make_training()], {"pricing": "no price changed", "demand": "no whole week of sales"}
    )
    train._print_trainings(trainings, in_full=True, json=True)
    document = json.loads(capsys.readouterr().out)
    train._print_trainings(trainings, in_full=True, json=False)
    # The level of a test is the interval that is printed.
    assert list_unsaid(drop_fields(document, ("level",)), capsys.readouterr().out) == []
    train._print_trainings(trainings, in_full=False, json=False)
    brief = capsys.readouterr().out
    assert "1 more tables: shopwright evaluate recommendations" in brief
    assert list_unsaid(drop_fields(document, ("level", "tables")), brief) == []


def test_the_text_of_the_demo_says_what_its_json_says(capsys: pytest.CaptureFixture[str]) -> None:
    features = MaterializeReport(
        version="20180101T05",
        as_of=NOW,
        n_users=2_469,
        n_pairs=655_000,
        n_items=91_698,
        zones=("default", "north"),
        n_sealed=0,
        seconds=12.0,
    )
    build = demo._Build(ImportReport("the demo data"), features, [make_training()], [])
    demo._print_summary(build, verbose=True)
    text = capsys.readouterr().out
    assert "1 more tables: shopwright evaluate recommendations" in text
    document = json.loads(json.dumps(demo._build_document(build), default=str))
    assert list_unsaid(drop_fields(document, ("tables",)), text) == []


def test_the_text_of_tuning_says_what_its_json_says(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = [TuningResult("all", RankerConfig(n_trees=77, n_leaves=9), 0.41, 0.43, 12)]
    monkeypatch.setattr(tuning, "tune_rankers", lambda *_, **__: results)
    arguments = ("tune", "recommendations", "--out", str(tmp_path / "ranker.yaml"))
    document, text = run_json(*arguments), run(*arguments)
    assert list_unsaid(document, text) == []
    assert "n_trees 77" in text
