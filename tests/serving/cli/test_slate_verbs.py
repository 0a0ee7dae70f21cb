"""`shopwright slates`: merchandising rules and placements as versions, as a manager types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from serving.cli.main import app
from tests.shops.served_shop import NOW

RUN = CliRunner()


@pytest.fixture(autouse=True)
def environment(tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOPWRIGHT_HOME", str(tiny.home))
    monkeypatch.setenv("SHOPWRIGHT_CURRENCY", tiny.currency)
    monkeypatch.setenv("SHOPWRIGHT_CLOCK_START", NOW.isoformat())


def run(*arguments: str, expect: int = 0) -> str:
    result = RUN.invoke(app, ["slates", *arguments])
    assert result.exit_code == expect, (result.output, result.exception)
    return result.output


def test_a_placement_is_saved_shown_restored_and_exported(tmp_path: Path) -> None:
    saved = run(
        "placements", "save", "home", "--set", "diversity=0.3", "--comment", "More categories"
    )
    assert "home is at version 1" in saved
    shown = json.loads(run("placements", "show", "home", "--json"))
    assert (shown["number"], shown["values"]["diversity"]) == (1, 0.3)
    assert "diversity: None -> 0.3" in run("placements", "versions", "home")
    run("placements", "restore", "home", "--version", "0", "--comment", "Back")
    listed = json.loads(run("placements", "list", "--json"))["items"]
    assert {row["name"]: row["number"] for row in listed}["home"] == 2
    out = tmp_path / "home.yaml"
    run("placements", "export", "home", "--out", str(out))
    assert "scorer: all" in out.read_text()


def test_a_set_of_rules_needs_no_file_and_one_that_cannot_be_used_is_refused(
    tmp_path: Path,
) -> None:
    file = tmp_path / "spring.yaml"
    file.write_text("placements: [home]\nrules: {tea: {action: pin, item_ids: [tea], place: 1}}\n")
    saved = run("rules", "save", "spring", "--file", str(file), "--comment", "Spring")
    assert "spring is at version 1" in saved
    assert "spring" in run("rules", "list")
    file.write_text("placements: [hom]\nrules: {}\n")
    refused = RUN.invoke(
        app, ["slates", "rules", "save", "spring", "--file", str(file), "--comment", "Typo"]
    )
    assert refused.exit_code != 0
    assert "hom" in str(refused.exception)
