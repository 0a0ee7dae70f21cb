import json

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


def test_a_folder_with_something_in_it_and_an_unknown_form_are_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    assert isinstance(run("--out", tmp_path).exception, BadInput)
    assert isinstance(run("--out", tmp_path / "new", "--form", "magic").exception, BadInput)
