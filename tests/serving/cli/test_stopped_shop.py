"""A shop that stopped selling, through the command line: its forecasts, order list and closures."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from serving.cli.main import app
from tests.shops.folders import write_csv
from tests.shops.steady_sales import sell, week

NOW = week(18)  # the last sale lies six weeks back


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stopped")


@pytest.fixture(scope="module", autouse=True)
def environment(home: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOPWRIGHT_HOME", str(home / "home"))
        patch.setenv("SHOPWRIGHT_CLOCK_START", NOW.isoformat())
        yield


def run(*arguments: str) -> Any:
    """Return the JSON document of a verb."""
    result = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def import_rows(folder: Path, **tables: list[dict[str, object]]) -> None:
    folder.mkdir(exist_ok=True)
    for name, rows in tables.items():
        write_csv(folder / f"{name}.csv", rows)
    run("import", str(folder))


@pytest.fixture(scope="module")
def trained(home: Path) -> dict[str, Any]:
    """The training of all models of the shop, which has no price changes and too few users."""
    events = [
        {
            "event_type": "purchase",
            "occurred_at": f"{event['occurred_at']:%Y-%m-%dT%H:%M:%SZ}",
            "item_id": event["item_id"],
            "user_id": event["user_id"],
            "quantity": "2",
            "unit_price": "5",
            "order_id": event["order_id"],
        }
        for event in sell(range(12))
    ]
    items = [
        {
            "item_id": item,
            "category": "Food",
            "list_price": price,
            "unit_cost": "3",
            "stock_on_hand": "9",
        }
        for item, price in zip("abc", ("5.00", "5.25", "5.49"), strict=True)
    ]
    import_rows(home / "tables", events=events, items=items)
    options = {"demand": "fit.trees.n_trees=5", "pricing": "min_selling_share=0.9"}
    return {
        name: run("train", name, "--set", option)["items"][0] for name, option in options.items()
    }


def export(home: Path) -> list[dict[str, Any]]:
    out = home / "forecasts.parquet"
    run("forecasts", "export", "--out", str(out), "--horizon", "8")
    rows: list[dict[str, Any]] = pq.read_table(out).to_pylist()
    return rows


def test_forecasts_begin_now_and_the_report_names_the_gap(
    trained: dict[str, Any], home: Path
) -> None:
    assert trained["demand"]["promoted"]
    notes = trained["demand"]["evaluation"]["notes"]
    assert any(
        note.startswith("data end 2024-03-24, 6 weeks before now (2024-05-06)") for note in notes
    )
    assert any("zone default sold nothing on 42 days" in note for note in notes)
    rows = export(home)
    assert min(row["ds"] for row in rows) == NOW
    assert max(row["mean"] for row in rows) < 3  # it sold 14 a week, and nothing for six weeks


def test_a_confirmed_closure_brings_the_usual_demand_back(
    trained: dict[str, Any], home: Path
) -> None:
    folder = home / "closures"
    folder.mkdir()
    proposed = run("closures", "--out", str(folder / "closures.csv"))["proposed"]
    assert [row["starts_at"] for row in proposed] == ["2024-03-25T00:00:00Z"]
    with (folder / "closures.csv").open(encoding="utf-8", newline="") as file:
        rows = [*csv.DictReader(file)]
    planned = {"starts_at": NOW + timedelta(weeks=1), "ends_at": NOW + timedelta(weeks=2)}
    rows.append({"zone": "default"} | {name: at.isoformat() for name, at in planned.items()})
    import_rows(folder, closures=rows)
    version = run("train", "demand", "--set", "fit.trees.n_trees=5")["items"][0]["version"]
    CliRunner().invoke(app, ["models", "promote", "demand", version], catch_exceptions=False)
    assert run("closures")["proposed"] == []
    weekly = {row["ds"]: row["mean"] for row in export(home) if row["unique_id"] == "a"}
    assert weekly[NOW] == pytest.approx(14, abs=2)
    assert weekly[NOW + timedelta(weeks=1)] == 0
    listed = {row["item_id"]: row for row in run("inventory")["items"]}
    assert listed["a"]["order"] > 0
    # No price ever moved, so no response is known, and a plain strategy suggests all the same.
    assert trained["pricing"]["promoted"]
    assert "none changed its price" in trained["pricing"]["evaluation"]["notes"][0]
    (zone,) = run("prices", "suggest", "--strategy", "cost_plus")["items"]
    assert zone["n_suggested"] == 3  # 3.00 and 40 %: 4.20 beside 5.00, 5.25 and 5.49
