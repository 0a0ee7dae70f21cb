"""A fault is in the log once when it begins and once when it ends, and in a metric meanwhile."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from fastapi.testclient import TestClient

from features.facts.facts import Facts
from features.online.materialize import materialize
from features.online.snapshots import load_items
from serving.conditions import Conditions
from serving.models import served_models
from tests.shops.event_tables import make_table
from tests.shops.served_shop import NOW, make_purchase, make_settings, run_shop


def read_fault(shop: SimpleNamespace, part: str) -> str:
    """Return the value of the metric."""
    metrics = TestClient(shop.app, client=("127.0.0.1", 1)).get("/metrics").text
    (line,) = [row for row in metrics.splitlines() if f'shopwright_fault{{part="{part}"}}' in row]
    return line.rpartition(" ")[2]


def test_features_that_are_missing_are_one_line_until_they_come(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, logger="serving")
    settings = make_settings(tmp_path / "home")
    for shop in run_shop(settings):
        for _ in range(3):
            shop.server.refresh()
            assert shop.client.post("/v1/recommendations", json={"placement": "home"}).status_code
        assert read_fault(shop, "features") == "1.0"
        facts = Facts(settings)
        items = make_table("items", [{"item_id": "beer"}])
        facts.write({"events": make_table("events", [make_purchase(0, 1, "beer")]), "items": items})
        materialize(facts, settings, NOW)
        load = Mock(side_effect=load_items)
        monkeypatch.setattr(served_models, "load_items", load)
        for _ in range(3):
            shop.server.refresh()
        assert load.call_count == 1  # also without a champion that needs them
        assert read_fault(shop, "features") == "0.0"
    about = [line for line in caplog.messages if line.startswith("features: ")]
    assert len(about) == 2
    assert about[1] == "features: works again"
    assert len(caplog.messages) == len(set(caplog.messages))


def test_another_reason_is_another_line_and_the_values_of_a_statement_are_none(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="serving")
    conditions = Conditions()
    for reason in ("locked\n[(1,)]", "locked\n[(2,)]", "full"):
        conditions.report("writing", reason)
    conditions.clear("writing")
    conditions.clear("writing")
    assert caplog.messages == ["writing: locked", "writing: full", "writing: works again"]
    assert conditions.states == {"writing": False}
