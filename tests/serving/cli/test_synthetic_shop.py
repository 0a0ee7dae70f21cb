import json

import pyarrow.parquet as pq
from typer.testing import CliRunner

from features.contracts.errors import BadInput
from serving.cli.main import app

SMALL = ("--weeks", "8", "--families", "1", "--shoppers", "20")


def run(*arguments):
    return CliRunner().invoke(app, ["simulate", *map(str, arguments)])


def test_it_writes_the_tables_and_says_what_to_try(tmp_path):
    out = tmp_path / "shop"
    result = run("--out", out, *SMALL, "--form", "choice", "--no-confounded", "--seed", 3)
    assert result.exit_code == 0, result.output
    assert f"SHOPWRIGHT_CLOCK_START=2022-02-28T00:00Z shopwright import {out}" in result.output
    truth = json.loads((out / "truth.json").read_text())
    assert (truth["parameters"]["form"], truth["parameters"]["confounded"]) == ("choice", False)
    assert len(truth["items"]) == 24  # six categories of one family of four


def test_two_runs_of_one_seed_write_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        assert run("--out", tmp_path / name, *SMALL, "--json").exit_code == 0
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name


def test_a_real_world_without_costs_writes_none(tmp_path):
    out = tmp_path / "shop"
    result = run("--out", out, *SMALL, "--world", "real", "--no-costs", "--seed", 3)
    assert result.exit_code == 0, result.output
    assert not (out / "costs.parquet").exists()
    assert "unit_cost" not in pq.read_schema(out / "items.parquet").names
    assert (out / "competitor_prices.parquet").exists()
    assert json.loads((out / "truth.json").read_text())["parameters"]["regular_share"] == 0.7


def test_a_folder_with_something_in_it_an_unknown_form_and_an_unknown_world_are_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    assert isinstance(run("--out", tmp_path).exception, BadInput)
    assert isinstance(run("--out", tmp_path / "new", "--form", "magic").exception, BadInput)
    assert isinstance(run("--out", tmp_path / "new", "--world", "flat").exception, BadInput)
