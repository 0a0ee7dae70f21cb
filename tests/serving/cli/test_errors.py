"""What the command line says when it cannot: what, where, and what to try, and exit code 2."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from configs.settings import Settings
from features.contracts.errors import BadInput
from models.registry import Version
from serving.cli.main import app
from serving.models.served_versions import ServedVersion, ServedVersions

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
    refusal = str(refused("doctor"))
    assert "unknown name 'progressive'" in refusal
    assert "(in SHOPWRIGHT_ZONES: de)" in refusal


def test_the_doctor_names_a_damaged_clock(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOPWRIGHT_CLOCK_START", "2024-06-03T00:00:00Z")
    (home / "home").mkdir(mode=0o700)
    Settings().business_clock()
    clock = home / "home" / "clock.json"
    clock.write_text("{")
    result = RUN.invoke(app, ["doctor", "--json"])
    checks = {check["check"]: check for check in json.loads(result.stdout)["checks"]}
    assert result.exit_code == 1
    assert not checks["state folder"]["ok"]
    assert str(clock) in checks["state folder"]["says"]


def test_the_doctor_says_which_version_served_before_the_registry_was_lost(home: Path) -> None:
    version = Version("demand", "3", "run", (), 1.0)
    ServedVersions(home / "home").add(ServedVersion.of(version, home / "demand", "digest"))
    result = RUN.invoke(app, ["doctor", "--json"])
    checks = {check["check"]: check for check in json.loads(result.stdout)["checks"]}
    assert "none, although version 3 has served here" in checks["champion of demand"]["says"]
    assert "none yet" in checks["champion of pricing"]["says"]


def test_where_no_model_is_live_the_way_out_is_told(home: Path) -> None:
    result = RUN.invoke(app, ["forecasts", "export", "--out", str(home / "f.parquet")])
    assert "shopwright models promote demand" in str(result.exception)
