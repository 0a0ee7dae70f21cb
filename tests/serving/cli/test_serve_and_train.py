"""The commands that serve, count together and retrain."""

from datetime import timedelta
from types import SimpleNamespace

import uvicorn

from serving.cli import train
from serving.cli.serve import run_server
from tests.shops.served_shop import (
    NOW,
    make_settings,
)


def test_the_demo_says_nothing_on_stdout_beside_its_document(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(uvicorn, "run", lambda *_arguments, **_named: None)
    shop = SimpleNamespace(settings=make_settings(tmp_path))
    run_server(shop, host="127.0.0.1", port=1, workers=1, announce=False)
    assert capsys.readouterr().out == ""
    run_server(shop, host="127.0.0.1", port=1, workers=1)
    assert "listens on http://127.0.0.1:1" in capsys.readouterr().out


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
