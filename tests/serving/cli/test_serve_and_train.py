"""The commands that serve, count together and retrain."""

import json
import math
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
import uvicorn
from typer.testing import CliRunner

from features.contracts.clock import feature_time
from features.facts.facts import Facts
from features.online.snapshots import current_version
from serving.cli import train
from serving.cli.main import app
from serving.cli.serve import make_features, run_server
from serving.cli.shop import Shop
from tests.shops.folders import EVENT, ITEMS, write_csv
from tests.shops.served_shop import NOW, make_settings
from training.gate import MetricTest
from training.non_inferiority import PairedLoss


def test_the_server_says_where_it_listens(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(uvicorn, "run", lambda *_arguments, **_named: None)
    settings = make_settings(tmp_path)
    shop = SimpleNamespace(settings=settings, facts=Facts(settings), check_currencies=lambda: None)
    run_server(shop, host="127.0.0.1", port=1, workers=1)
    assert "listens on http://127.0.0.1:1" in capsys.readouterr().out


def test_serving_makes_the_features_of_a_new_shop_once(monkeypatch, tmp_path):
    settings = make_settings(tmp_path / "home")
    monkeypatch.setenv("SHOPWRIGHT_HOME", str(settings.home))
    monkeypatch.setenv("SHOPWRIGHT_CURRENCY", settings.currency)
    now = datetime(2024, 6, 3, tzinfo=UTC)
    monkeypatch.setenv("SHOPWRIGHT_CLOCK_START", now.isoformat())

    def check_features():
        checks = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)["checks"]
        return next(check for check in checks if check["check"] == "features")

    make_features(Shop())
    assert current_version(settings) is None  # there is nothing to make them of
    assert not check_features()["ok"]
    write_csv(tmp_path / "items.csv", ITEMS)
    write_csv(tmp_path / "events.csv", [EVENT])
    CliRunner().invoke(app, ["import", str(tmp_path)], catch_exceptions=False)
    assert check_features()["ok"]
    assert "serve" in check_features()["says"]
    make_features(Shop())
    version = current_version(settings)
    assert version.as_of == feature_time(now)
    assert "items as of" in check_features()["says"]
    make_features(Shop())
    assert current_version(settings) == version


def test_a_comparison_is_printed_as_numbers_and_an_unknown_bound_as_null():
    paired = PairedLoss(
        metric="WMAPE",
        unit="series",
        candidate=0.44,
        reference=0.4,
        loss=0.1,
        error=math.inf,
        equal_error=math.inf,
        n_units=1,
    )
    document = train._comparison_document(MetricTest("3", paired, 0.02, 0.05))
    assert json.loads(json.dumps(document, allow_nan=False)) == {
        "metric": "WMAPE",
        "version": "3",
        "candidate": 0.44,
        "reference": 0.4,
        "loss": 0.1,
        "low": None,
        "high": None,
        "level": 0.05,
        "allowed": 0.02,
        "passed": False,
        "series": 1,
    }


@pytest.mark.parametrize("promoted", [True, False])
def test_retraining_ends_with_code_3_where_a_model_was_refused(monkeypatch, promoted):
    shop = SimpleNamespace(facts=None, settings=None, now=lambda: NOW)
    report = SimpleNamespace(verdict=SimpleNamespace(promote=promoted))
    monkeypatch.setattr(train, "Shop", lambda: shop)
    monkeypatch.setattr("features.online.materialize.materialize", lambda *_, **__: None)
    monkeypatch.setattr(train, "train_one", lambda *_, **__: report)
    monkeypatch.setattr(train, "print_training", lambda *_, **__: None)
    assert CliRunner().invoke(app, ["retrain"]).exit_code == (0 if promoted else 3)


def test_a_training_that_breaks_does_not_stop_the_others(monkeypatch):
    shown = []

    def train_one(_shop, name, *_, **__):
        if name == "recommendations":
            raise KeyError("sequence")
        return SimpleNamespace(name=name, verdict=SimpleNamespace(promote=True))

    monkeypatch.setattr(train, "Shop", lambda: SimpleNamespace(now=lambda: NOW))
    monkeypatch.setattr(train, "train_one", train_one)
    monkeypatch.setattr(train, "print_training", lambda report, **_: shown.append(report.name))
    broken = CliRunner().invoke(app, ["train", "all"])
    assert shown == ["demand", "pricing"]
    assert broken.exit_code == 1
    assert isinstance(broken.exception, KeyError)
    assert "training of recommendations" in broken.exception.__notes__[0]


def test_retraining_starts_with_features_as_of_the_whole_hour(monkeypatch):
    instants = []
    shop = SimpleNamespace(facts=None, settings=None, now=lambda: NOW + timedelta(minutes=50))
    monkeypatch.setattr(train, "Shop", lambda: shop)
    monkeypatch.setattr(train, "NAMES", ())
    monkeypatch.setattr(
        "features.online.materialize.materialize", lambda _f, _s, as_of, **_: instants.append(as_of)
    )
    train.retrain()
    assert instants == [NOW]
