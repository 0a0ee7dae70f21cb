"""`shopwright forecasts export`."""

import json
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from features.contracts.errors import BadInput
from serving.cli.main import app
from tests.serving.tiny_shop import NOW

RUN = CliRunner()


@pytest.fixture(autouse=True)
def home(tiny_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOPWRIGHT_HOME", str(tiny_home))


def export(out: Path, *arguments: str) -> dict:
    result = RUN.invoke(app, ["forecasts", "export", "--out", str(out), "--json", *arguments])
    if result.exception is not None:
        raise result.exception
    return json.loads(result.stdout)


def test_weeks_and_days_are_written(tmp_path: Path) -> None:
    out = tmp_path / "f.parquet"
    assert export(out)["weeks"] == 4
    assert pq.read_table(out).num_rows == 6 * 4
    assert export(out, "--horizon", "14")["weeks"] == 14
    assert export(out, "--freq", "D", "--horizon", "8")["days"] == 8
    rows = pq.read_table(out)
    assert rows.column_names == ["unique_id", "zone", "ds", "mean", "p10", "p50", "p90", "model_version"]
    assert set(rows["unique_id"].to_pylist()) == {"milk"}
    assert rows["ds"].to_pylist() == [NOW + timedelta(days=n - 7) for n in range(8)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--horizon", "99"), "reach 14 weeks ahead, 99 were asked for (in --horizon). Ask for 14 or fewer"),
        (("--freq", "D", "--horizon", "99"), "reach 98 days ahead, 99 were asked for"),
        (("--freq", "H"), "unknown frequency 'H'"),
        (("--freq", "D", "--level", "total"), "sums are by week"),
    ],
)
def test_what_cannot_be_written_is_said(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    out = tmp_path / "f.parquet"
    with pytest.raises(BadInput) as refused:
        export(out, *arguments)
    assert said in str(refused.value)
    assert not out.exists()
