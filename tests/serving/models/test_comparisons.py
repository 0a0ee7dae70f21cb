"""How good versions are, as their training logged it, and why a champion was changed."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from models.registry import Registry
from serving.audit.repository import AuditFilter
from serving.models.service import Comparison

LOGGED = {
    "metric": "WMAPE",
    "ours": 0.4,
    "baselines": {"naive": 0.9, "TSB": 0.5},
    "better": "lower",
    "strongest": "TSB",
    "p_value": 0.01,
    "p_values": {},
    "intervals": {"Shopwright": [0.38, 0.42], "TSB": [0.48, 0.52]},
}


def test_the_metrics_of_a_version_come_with_their_baselines(served: SimpleNamespace) -> None:
    models, registry = served.server.models, served.server.registry
    version = registry.find_champion("demand")
    assert models.read_comparisons(version) == []

    folder = registry.find_files(version).parent
    (folder / "evaluation.json").write_text(json.dumps({"comparisons": [LOGGED]}))

    (comparison,) = models.read_comparisons(version)
    assert comparison.baselines == {"naive": 0.9, "TSB": 0.5}
    assert comparison.ours_interval == (0.38, 0.42)
    assert comparison.intervals == {"TSB": (0.48, 0.52)}
    assert comparison.gain == pytest.approx(1 - 0.4 / 0.5)


def test_a_gain_is_better_than_the_strongest_whichever_way_is_better() -> None:
    higher = Comparison("NDCG", "higher", 0.6, {"EASE": 0.5}, "EASE")
    worse = Comparison("WMAPE", "lower", 0.6, {"TSB": 0.5}, "TSB")
    from_nothing = Comparison("R2", "higher", 0.6, {"none": 0.0}, "none")

    assert higher.gain == pytest.approx(0.6 / 0.5 - 1)
    assert worse.gain == pytest.approx(-(0.6 / 0.5 - 1))
    assert from_nothing.gain is None


def test_the_reason_of_a_change_stands_in_the_audit_log(served: SimpleNamespace) -> None:
    models, audit = served.server.models, served.server.audit
    promotion = models.promote("recommendations", "2")
    models.write(promotion, actor="mia", reason="more carts")

    (row,) = audit.read_newest(AuditFilter(action="promote"), limit=5).records

    assert (row.actor, row.subject_id) == ("mia", "recommendations")
    assert row.details == {"version": "2", "before": "1", "reason": "more carts"}
    previous = models.find_previous("recommendations")
    assert previous is not None
    assert previous.version == "1"


def test_versions_have_a_page_where_a_tracking_server_shows_them(
    served: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = served.server.registry.find_champion("demand")
    assert served.server.models.find_page(version) is None

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example/")
    registry = Registry("unused", served.settings.home)

    assert registry.find_page(version) == "https://mlflow.example/#/models/demand/versions/1"
