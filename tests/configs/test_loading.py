"""A config file is checked key by key, and an overlay holds only differences."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from configs import loading
from configs.settings import Settings
from features.contracts.errors import BadInput, UnknownName
from serving.cli.shop import Shop


@dataclass(frozen=True)
class Trees:
    n_trees: int = 10
    learning_rate: float = 0.1


@dataclass(frozen=True)
class Config:
    name: str
    trees: Trees = field(default_factory=Trees)


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "shipped"
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "a.yaml").write_text("name: plain\ntrees: {n_trees: 20}\n")
    monkeypatch.setattr(loading, "SHIPPED", folder)
    return folder


def test_values_come_from_the_file_then_the_overlay_then_overrides(
    shipped: Path, tmp_path: Path
) -> None:
    overlay = tmp_path / "overlay"
    (overlay / "models").mkdir(parents=True)
    (overlay / "models" / "a.yaml").write_text("trees: {learning_rate: 0.3}\n")
    assert loading.load("models/a", Config) == Config("plain", Trees(20, 0.1))
    assert loading.load("models/a", Config, overlay=overlay) == Config("plain", Trees(20, 0.3))
    overridden = loading.load("models/a", Config, overlay=overlay, overrides={"trees.n_trees": 30})
    assert overridden == Config("plain", Trees(30, 0.3))


def test_an_unknown_key_names_the_nearest_valid_one(shipped: Path) -> None:
    with pytest.raises(UnknownName, match="n_trees") as caught:
        loading.load("models/a", Config, overrides={"trees.n_tree": 3})
    assert "trees" in str(caught.value)


def test_a_wrong_type_names_the_key(shipped: Path) -> None:
    with pytest.raises(BadInput, match=r"trees\.n_trees"):
        loading.load("models/a", Config, overrides={"trees.n_trees": "many"})


def test_a_missing_file_and_broken_yaml_are_bad_input(shipped: Path) -> None:
    with pytest.raises(BadInput, match="models/b"):
        loading.load("models/b", Config)
    (shipped / "models" / "a.yaml").write_text("name: [")
    with pytest.raises(BadInput, match="YAML"):
        loading.load("models/a", Config)


def test_set_options_are_read_as_yaml() -> None:
    assert loading.parse_override("a.b=1") == ("a.b", 1)
    assert loading.parse_override("a=[1, 2]") == ("a", [1, 2])
    with pytest.raises(BadInput):
        loading.parse_override("a")


def test_a_state_folder_remembers_its_shop_and_the_environment_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOPWRIGHT_HOME", str(tmp_path))
    assert Settings().timezone == "UTC"
    Settings().remember(timezone="Europe/Berlin", currency="EUR")
    assert (Settings().timezone, Settings().currency) == ("Europe/Berlin", "EUR")
    monkeypatch.setenv("SHOPWRIGHT_TIMEZONE", "Asia/Tokyo")
    assert Settings().timezone == "Asia/Tokyo"


def test_every_process_on_a_state_folder_reads_the_same_business_time(tmp_path: Path) -> None:
    settings = Settings.model_validate({"home": tmp_path, "clock_start": "2018-01-01T05:00:00Z"})
    first, restarted = settings.business_clock(), settings.business_clock()
    earlier = first.now()
    later = restarted.now()
    assert 0 <= (later - earlier).total_seconds() < 60
    assert earlier.isoformat().startswith("2018-01-01T05:0")


@pytest.mark.parametrize("engine", ["spark", "", "DuckDB"])
def test_an_engine_that_is_not_there_is_refused(
    monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    monkeypatch.setenv("SHOPWRIGHT_ENGINE", engine)
    with pytest.raises(
        BadInput, match=f"no engine '{engine}' yet.*to duckdb .in SHOPWRIGHT_ENGINE"
    ):
        Shop()
    monkeypatch.setenv("SHOPWRIGHT_ENGINE", "duckdb")
    assert Shop().settings.engine == "duckdb"


@pytest.mark.parametrize("text", ["12_0", "1:30", "0x1F", ".inf", "9.0E+999990", "1_0.5"])
def test_a_number_that_files_and_http_refuse_is_none_in_yaml(
    shipped: Path, tmp_path: Path, text: str
) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(f"trees: {{n_trees: {text}}}\n")
    with pytest.raises(BadInput, match="is no number") as caught:
        loading.load("models/a", Config, file=file)
    assert str(file) in str(caught.value)
    with pytest.raises(BadInput, match="is no number"):
        loading.parse_override(f"trees.n_trees={text}")
