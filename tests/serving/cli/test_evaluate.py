"""`shopwright evaluate`: on any folder of tables, by either protocol, without a trace in the state
folder."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest
from typer.testing import CliRunner

from serving.cli import evaluation_data
from serving.cli.main import app
from tests.shops.forty_shoppers import END, make_purchases

LIGHT = [
    "ease.l2=5",
    "als.n_factors=4",
    "als.n_iterations=3",
    "ranker_all.n_trees=15",
    "ranker_new.n_trees=15",
]
SETTINGS = [word for each in LIGHT for word in ("--set", each)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("tables")
    names = ("event_id", "event_type", "occurred_at", "user_id", "item_id", "order_id")
    rows = [{name: row[name] for name in names} for row in make_purchases()]
    pa_csv.write_csv(pa.Table.from_pylist(rows), found / "events.csv")
    items = [{"item_id": f"i{n:02}", "category": f"<b>Food</b> > {n % 3}"} for n in range(30)]
    pa_csv.write_csv(pa.Table.from_pylist(items), found / "items.csv")
    return found


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith(("SHOPWRIGHT_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SHOPWRIGHT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def evaluated(*arguments: str) -> Any:
    result = CliRunner().invoke(
        app, ["evaluate", "recommendations", *arguments], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize("protocol", ["time", "leave-one-out"])
def test_any_folder_of_tables_is_evaluated_and_the_state_folder_stays_untouched(
    folder: Path, home: Path, tmp_path: Path, protocol: str
) -> None:
    report = tmp_path / "report.html"
    arguments = [
        "--data",
        str(folder),
        "--protocol",
        protocol,
        "--report",
        str(report),
        *SETTINGS,
        "--json",
    ]
    document = evaluated(*arguments)
    assert not home.exists()
    assert document["data"]["users known"] == 40
    assert document["data"]["protocol"].startswith(protocol.split("-")[0])
    assert document["cut"] == (
        END.isoformat() if protocol == "leave-one-out" else "2024-04-08T00:00:00+00:00"
    )
    assert set(document["comparisons"][0]["p_values"]) == {
        "ALS",
        "BPR",
        "EASE",
        "ItemKNN",
        "TIFU-kNN",
        "buy again",
        "buy again, as served",
        "recent popularity",
    }
    assert len(document["tables"]) in (5, 10)  # no last purchase may be new to its user
    assert_self_contained(report.read_text(encoding="utf-8"))


def assert_self_contained(html: str) -> None:
    assert "width=device-width" in html
    assert html.count("data:image/png;base64,") == 5
    addresses = re.findall(r"""(?:src|href)\s*=\s*["']([^"']*)""", html)
    assert all(each.startswith("data:") for each in addresses)
    assert "http://" not in html
    assert "https://" not in html
    assert "<script" not in html


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "canonical"], "needs a folder"),
        (["--format", "parquet"], "no format 'parquet'"),
        (["--data", "x", "--format", "complete-journey"], "comes with its package"),
        (["--data", "/nowhere"], "no such folder"),
        (["--report", "/nowhere/report.html"], "no such folder"),
        (["--protocol", "random", "--data", "FOLDER"], "no protocol 'random'"),
    ],
)
def test_what_cannot_be_evaluated_is_said_before_any_work(
    folder: Path, home: Path, arguments: list[str], message: str
) -> None:
    given = [str(folder) if word == "FOLDER" else word for word in arguments]
    result = CliRunner().invoke(app, ["evaluate", "recommendations", *given])
    assert message in str(result.exception)


def test_only_recommendations_have_another_protocol(folder: Path, home: Path) -> None:
    result = CliRunner().invoke(
        app, ["evaluate", "demand", "--data", str(folder), "--protocol", "leave-one-out"]
    )
    assert "demand has no protocol" in str(result.exception)


def test_the_complete_journey_is_read_by_its_format_into_a_state_folder_of_its_own(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from features.sources import complete_journey
    from features.sources.report import ImportReport

    read = []

    def imported(facts: Any, settings: Any, *, progress: Any) -> ImportReport:
        read.append(settings)
        return ImportReport("complete_journey")

    monkeypatch.setattr(complete_journey, "import_complete_journey", imported)
    with evaluation_data.open_data(None, "complete-journey", lambda _: None) as data:
        assert data.settings.home.exists()
        assert data.settings.home != home
    assert not data.settings.home.exists()
    assert read[0].timezone == "America/New_York"
    assert data.registry is None
