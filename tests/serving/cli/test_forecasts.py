"""`shopwright forecasts export`."""

import json
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from scipy import stats
from typer.testing import CliRunner

from features.contracts.errors import BadInput
from serving.cli.main import app
from tests.shops.served_shop import ITEMS, NOW

RUN = CliRunner()


@pytest.fixture(autouse=True)
def home(tiny_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOPWRIGHT_HOME", str(tiny_home))
    monkeypatch.setenv("SHOPWRIGHT_CLOCK_START", NOW.isoformat())
    monkeypatch.setenv("SHOPWRIGHT_CURRENCY", "EUR")


def export(out: Path, *arguments: str) -> dict:
    result = RUN.invoke(app, ["forecasts", "export", "--out", str(out), "--json", *arguments])
    if result.exception is not None:
        raise result.exception
    return json.loads(result.stdout)


def test_weeks_and_days_are_written(tmp_path: Path) -> None:
    out = tmp_path / "f.parquet"
    assert export(out)["weeks"] == 4
    assert pq.read_table(out).num_rows == 6 * 4
    assert set(pq.read_table(out)["ds"].to_pylist()) == {
        NOW + timedelta(weeks=n)
        for n in range(4)  # the week before NOW is over
    }
    assert export(out, "--horizon", "13")["weeks"] == 13
    assert export(out, "--freq", "D", "--horizon", "8")["days"] == 8
    rows = pq.read_table(out)
    assert rows.column_names == [
        "unique_id",
        "zone",
        "ds",
        "mean",
        "p10",
        "p50",
        "p90",
        "model_version",
    ]
    assert set(rows["unique_id"].to_pylist()) == {"milk"}
    assert rows["ds"].to_pylist() == [NOW + timedelta(days=n) for n in range(8)]


def test_an_old_model_has_no_forecasts_from_now_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOPWRIGHT_CLOCK_START", (NOW + timedelta(weeks=20)).isoformat())
    with pytest.raises(BadInput, match=r"reach 0 weeks ahead, 4 were asked for .* train demand"):
        export(tmp_path / "f.parquet")


def test_sums_come_with_quantiles_of_their_own(tmp_path: Path) -> None:
    out = tmp_path / "f.parquet"
    export(out)
    items = pq.read_table(out)
    assert export(out, "--total")["rows"] == 6
    whole = pq.read_table(out)
    assert whole.column_names == items.column_names
    assert set(whole["ds"].to_pylist()) == {min(items["ds"].to_pylist())}
    assert whole["mean"].to_pylist() == [11.0 + 12 + 13 + 14] * 6
    assert whole["p90"].to_pylist() == [stats.nbinom.ppf(0.9, 1 / 0.1, 1 / (1 + 0.1 * 50))] * 6
    export(out, "--level", "total", "--total")
    (row,) = pq.read_table(out).to_pylist()
    assert (row["unique_id"], row["mean"]) == ("total", 6 * 50)
    assert row["p90"] == stats.nbinom.ppf(0.9, 1 / 0.1, 1 / (1 + 0.1 * 6 * 50))
    assert export(out, "--level", "department")["rows"] == 4 * len(
        {c.split(" > ")[0] for c, *_ in ITEMS.values()}
    )
    assert all(row["p10"] < row["mean"] < row["p90"] for row in pq.read_table(out).to_pylist())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("--horizon", "99"),
            "reach 13 weeks ahead, 99 were asked for (in --horizon). Ask for 13 or fewer",
        ),
        (("--freq", "D", "--horizon", "99"), "reach 91 days ahead, 99 were asked for"),
        (("--freq", "H"), "unknown frequency 'H'"),
        (("--freq", "D", "--level", "total"), "sums are by week"),
        (("--freq", "D", "--total"), "sums are by week"),
    ],
)
def test_what_cannot_be_written_is_said(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    out = tmp_path / "f.parquet"
    with pytest.raises(BadInput) as refused:
        export(out, *arguments)
    assert said in str(refused.value)
    assert not out.exists()
