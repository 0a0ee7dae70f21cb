"""`shopwright experiments` from a file to a decision, as an analyst would type it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from serving.cli.main import app
from tests.shops.served_shop import NOW

RUN = CliRunner()
DEFINITION = """
key: rising
hypothesis: What rises now sells more in the cart.
placements: [cart]
variants:
  - {name: usual, weight: 0.5}
  - {name: rising, weight: 0.5, placement: {scorer: trending}}
control: usual
primary_metric: revenue_per_unit
minimum_effect: 0.1
"""


@pytest.fixture
def file(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SHOPWRIGHT_HOME", str(tiny.home))
    monkeypatch.setenv("SHOPWRIGHT_CURRENCY", tiny.currency)
    monkeypatch.setenv("SHOPWRIGHT_CLOCK_START", NOW.isoformat())
    path = tmp_path / "rising.yaml"
    path.write_text(DEFINITION)
    return path


def run(*arguments: str, expect: int = 0) -> str:
    result = RUN.invoke(app, ["experiments", *arguments])
    assert result.exit_code == expect, (result.output, result.exception)
    return result.output


def test_an_experiment_goes_from_a_file_to_a_shipped_placement(file: Path) -> None:
    assert "rising is draft, version 1" in run("create", str(file))
    assert "takes" in run("power", "rising")
    assert "rising is running" in run("start", "rising")
    file.write_text(
        DEFINITION + "coverage: 1.0\nguardrails: [{metric: refunds_per_unit, margin: 0.1}]\n"
    )
    assert "rising is running, version 2" in run("create", str(file), "--comment", "A guardrail")
    assert run("override", "rising", "rising").startswith("rising:rising:")
    assert "rising is stopped" in run("stop", "rising")
    report = json.loads(run("report", "rising", "--json"))
    assert [variant["name"] for variant in report["variants"]] == ["usual", "rising"]
    assert "Verdict: no decision" in run("report", "rising")
    decided = run("decide", "rising", "rising", "--ship", "--comment", "Fresher")
    assert "rising is decided: rising" in decided
    assert "Serving from now on: placement cart" in decided
    listed = json.loads(run("list", "--json"))["items"]
    assert {row["key"]: row["status"] for row in listed}["rising"] == "decided"
