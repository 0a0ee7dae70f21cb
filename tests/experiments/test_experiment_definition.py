"""An experiment that does not fit together is refused with a message that says what and where."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from configs.settings import Settings
from experiments.definition import Experiment, NonInferiority, Variant
from experiments.experiment_files import load_experiments
from features.contracts.errors import BadInput, UnknownName

HALVES = (Variant("champion", 0.5), Variant("buy_again", 0.5, "buy_again"))
TRIAL = Experiment("trial", ("home",), HALVES, "champion", "trial", "they sell alike")

YAML = """
key: {key}
placements: [{placement}]
variants: [{{name: a, weight: 0.5}}, {{name: b, weight: 0.5}}]
control: a
salt: {salt}
hypothesis: they sell alike
"""


def overlay(tmp_path: Path, **files: str) -> Settings:
    folder = tmp_path / "configs" / "experiments"
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return Settings(home=tmp_path / "home", config_dir=tmp_path / "configs")


def test_the_shipped_experiment_compares_the_champion_with_buying_again(tmp_path: Path) -> None:
    experiment = load_experiments(Settings(home=tmp_path))["home_ranker"]
    assert not experiment.running  # until a shop starts it
    assert experiment.placements == ("home",)
    assert experiment.variants == HALVES
    assert experiment.control == "champion"
    assert experiment.variant("buy_again").policy == "buy_again"


def test_no_shipped_experiment_runs_and_an_overlay_starts_one(tmp_path: Path) -> None:
    shipped = load_experiments(Settings(home=tmp_path))
    assert [key for key, experiment in shipped.items() if experiment.running] == []
    settings = overlay(tmp_path, home_ranker="status: running\n")
    assert load_experiments(settings)["home_ranker"].running


def test_the_shipped_experiment_states_that_buying_again_is_not_worse(tmp_path: Path) -> None:
    experiment = load_experiments(Settings(home=tmp_path))["home_ranker"]
    assert experiment.non_inferiority == NonInferiority(0.02, "purchase_conversion")


def test_a_file_tells_when_an_experiment_stopped(tmp_path: Path) -> None:
    settings = overlay(tmp_path, home_ranker="status: stopped\nstopped_at: 2024-05-06T00:00:00Z\n")
    stopped_at = load_experiments(settings)["home_ranker"].stopped_at
    assert stopped_at == datetime(2024, 5, 6, tzinfo=UTC)


def test_stops_windows_and_margins_that_make_no_sense_are_refused() -> None:
    with pytest.raises(BadInput, match="share between 0 and 1"):
        NonInferiority(0.0)
    with pytest.raises(BadInput, match="attribution_days"):
        replace(TRIAL, attribution_days=-1)
    with pytest.raises(BadInput, match="running"):
        replace(TRIAL, stopped_at=datetime(2024, 5, 6, tzinfo=UTC))
    with pytest.raises(BadInput, match="time zone"):
        replace(TRIAL, status="stopped", stopped_at=datetime(2024, 5, 6))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variants": (Variant("champion", 0.5), Variant("b", 0.4))}, "weights sum to 0.9, not 1"),
        (
            {"variants": (Variant("champion", 0.5), Variant("champion", 0.5))},
            "two variants are named 'champion'",
        ),
        (
            {"variants": (Variant("champion", 1.5), Variant("b", -0.5))},
            "variant 'champion' has weight 1.5",
        ),
        ({"variants": HALVES[:1]}, "two variants or more"),
        ({"variants": (Variant("champion", 0.5), Variant("", 0.5))}, "a variant has no name"),
        ({"control": "champio"}, "unknown control variant 'champio'.*Did you mean 'champion'"),
        ({"coverage": 1.01}, "coverage is 1.01"),
        ({"placements": ()}, "needs a placement"),
        ({"salt": ""}, "needs a key and a salt"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change: dict, message: str) -> None:
    with pytest.raises(BadInput, match=message) as refused:
        replace(TRIAL, **change)
    assert "experiment 'trial'" in str(refused.value)


def test_thirds_sum_to_one() -> None:
    thirds = tuple(Variant(name, 1 / 3) for name in "abc")
    assert len(replace(TRIAL, variants=thirds, control="a").variants) == 3


def test_a_variant_that_is_not_there_is_named() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'buy_again'"):
        TRIAL.variant("buyagain")


def test_files_are_checked_one_by_one_and_together(tmp_path: Path) -> None:
    good = YAML.format(key="one", placement="cart", salt="one")

    def refusal(name: str, **files: str) -> str:
        with pytest.raises(BadInput) as refused:
            load_experiments(overlay(tmp_path / name, **files))
        return str(refused.value)

    assert "key 'one' is not the file's name (in experiments/other.yaml)" in refusal(
        "key", other=good
    )
    assert "Did you mean 'coverage'" in refusal("setting", one=good + "covrage: 0.1\n")
    assert "unknown setting 'wieght'" in refusal(
        "variant", one=good.replace("weight: 0.5}]", "wieght: 0.5}]")
    )
    assert "unknown metric 'clicks'" in refusal("metric", one=good + "primary_metric: clicks\n")
    assert "policy" in refusal("policy", one=good.replace("name: a,", "name: a, policy: best,"))
    home = YAML.format(key="two", placement="home", salt="two")
    assert "running experiments home_ranker, two share a placement" in refusal(
        "placement", two=home, home_ranker="status: running\n"
    )
    assert len(load_experiments(overlay(tmp_path / "stopped", two=home + "status: stopped\n"))) == 2
    twin = YAML.format(key="two", placement="cart", salt="home_ranker")
    assert "experiments home_ranker, two share the salt 'home_ranker'" in refusal("salt", two=twin)
