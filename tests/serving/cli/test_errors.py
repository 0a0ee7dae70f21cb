"""What the command line says when it cannot: what, where, and what to try, and exit code 2."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from features.contracts.errors import BadInput
from serving.cli.main import app

RUN = CliRunner()


def refused(*arguments: str) -> BadInput:
    result = RUN.invoke(app, list(arguments))
    assert isinstance(result.exception, BadInput), result.output
    return result.exception


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SHOPWRIGHT_HOME", str(tmp_path / "home"))
    return tmp_path


def test_a_port_that_is_taken_is_refused_before_anything_is_loaded() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        error = refused("serve", "--port", str(taken.getsockname()[1]))
    assert "cannot listen" in str(error)
    assert "--port" in str(error)


def test_a_file_in_a_folder_that_is_not_there_is_refused(home: Path) -> None:
    error = refused("prices", "export", "--out", str(home / "nowhere" / "prices.csv"))
    assert str(home / "nowhere") in str(error)


def test_a_setting_that_is_no_json_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOPWRIGHT_ZONES", "eu=EUR")
    assert "zones" in str(refused("doctor"))


def test_the_doctor_says_which_price_law_holds_in_each_zone(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = '"new_arrival_days": 10, "perishable_days": 0, "progressive_reductions": true'
    monkeypatch.setenv("SHOPWRIGHT_ZONES", f'{{"de": {{{options}}}, "cn": {{"price_law": "CN7"}}}}')
    result = RUN.invoke(app, ["doctor", "--json"])
    checks = {check["check"]: check for check in json.loads(result.stdout)["checks"]}
    assert checks["price law"]["ok"]
    assert checks["price law"]["says"] == (
        "default: EU30 (30 days); "
        "de: EU30 (30 days), perishables count from the price right before, new arrivals 10 days, "
        "progressive reductions count from their first step; cn: CN7 (7 days)"
    )
    monkeypatch.setenv("SHOPWRIGHT_ZONES", '{"de": {"progressive": true}}')
    assert "ZONES_DE_PROGRESSIVE" in str(refused("doctor"))


def test_where_no_model_is_live_the_way_out_is_told(home: Path) -> None:
    result = RUN.invoke(app, ["forecasts", "export", "--out", str(home / "f.parquet")])
    assert "shopwright models promote demand" in str(result.exception)
