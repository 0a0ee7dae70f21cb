"""The commands that serve, count together and retrain."""

import json
import math
from datetime import timedelta
from types import SimpleNamespace

import uvicorn

from serving.cli import train
from serving.cli.serve import run_server
from tests.shops.served_shop import (
    NOW,
    make_settings,
)
from training.gate import MetricTest
from training.non_inferiority import PairedLoss


def test_the_demo_says_nothing_on_stdout_beside_its_document(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(uvicorn, "run", lambda *_arguments, **_named: None)
    shop = SimpleNamespace(settings=make_settings(tmp_path))
    run_server(shop, host="127.0.0.1", port=1, workers=1, announce=False)
    assert capsys.readouterr().out == ""
    run_server(shop, host="127.0.0.1", port=1, workers=1)
    assert "listens on http://127.0.0.1:1" in capsys.readouterr().out


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
