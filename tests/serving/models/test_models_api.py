"""Model versions over HTTP and by the command line, and what the audit log says of them."""

from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from features.database import reading
from serving.audit.repository import AuditFilter, AuditRecords
from serving.cli.main import app as command_line
from serving.cli.shop import Shop
from serving.cli.train import train_one
from tests.shops.served_shop import NOW


def test_models_are_listed_and_promotions_are_audited(served):
    items = served.client.get("/v1/models").json()["items"]
    assert [(item["name"], item["version"], item["served"]) for item in items] == [
        ("recommendations", "2", False),
        ("recommendations", "1", True),
        ("demand", "1", True),
    ]
    assert (
        served.client.post("/v1/models/recommendations/promote", json={"version": "9"}).status_code
        == 404
    )
    assert served.client.post("/v1/models/nope/promote", json={"version": "1"}).status_code == 422
    assert served.client.post("/v1/models/demand/rollback").status_code == 409
    headers = {"Idempotency-Key": "k"}
    for _ in range(2):
        done = served.client.post(
            "/v1/models/recommendations/promote", json={"version": "2"}, headers=headers
        )
        assert done.status_code == 200
    records = served.client.get("/v1/audit?action=promote").json()["items"]
    assert [(record["subject_id"], record["details"]) for record in records] == [
        ("recommendations", {"version": "2", "before": "1"})
    ]


def test_a_registry_that_takes_long_keeps_nobody_from_writing(served, monkeypatch):
    registry = served.server.registry
    promote = registry.promote
    writes = []

    def promote_slowly(name, version):
        # A repetition meanwhile is refused, and every other write finds the lock free.
        again = served.client.post(url, json={"version": "2"}, headers=headers)
        event = {"event_type": "view_item", "occurred_at": NOW.isoformat(), "item_id": "milk"}
        sent = served.client.post("/v1/events", json={"events": [event]})
        writes.append((again.status_code, sent.status_code))
        return promote(name, version)

    monkeypatch.setattr(registry, "promote", promote_slowly)
    url, headers = "/v1/models/recommendations/promote", {"Idempotency-Key": "slow"}
    first = served.client.post(url, json={"version": "2"}, headers=headers)
    assert writes == [(409, 202)]
    assert served.client.post(url, json={"version": "2"}, headers=headers).json() == first.json()
    assert len(writes) == 1
    # A failure is no answer: the same key may try again.
    monkeypatch.setattr(registry, "promote", break_down)
    broken = {"Idempotency-Key": "broken"}
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no registry"):
            served.client.post(url, json={"version": "1"}, headers=broken)


def break_down(_name, _version):
    raise RuntimeError("no registry")


def test_promotions_by_command_line_and_gate_are_audited(tiny, monkeypatch):
    monkeypatch.setenv("SHOPWRIGHT_HOME", str(tiny.home))
    monkeypatch.setenv("SHOPWRIGHT_CURRENCY", tiny.currency)
    monkeypatch.setenv("SHOPWRIGHT_CLOCK_START", NOW.isoformat())
    for arguments in (("promote", "recommendations", "2"), ("rollback", "recommendations")):
        assert (
            CliRunner()
            .invoke(command_line, ["models", *arguments], catch_exceptions=False)
            .exit_code
            == 0
        )

    def train(run, task, *_, **__):
        return SimpleNamespace(
            verdict=SimpleNamespace(promote=True), version=run.registry.promote(task.name, "2")
        )

    monkeypatch.setattr("training.run.TrainingRun.train", train)
    shop = Shop()
    train_one(shop, "recommendations", SimpleNamespace(say=print, done=lambda: None))
    with reading(shop.engine) as connection:
        records = AuditRecords(connection).page(AuditFilter(subject_id="recommendations"))
    assert [(record.actor, record.action, record.details) for record in records] == [
        ("operator", "promote", {"version": "2", "before": "1"}),
        ("operator", "rollback", {"version": "1", "before": "2"}),
        ("system", "promote", {"version": "2", "before": "1"}),
    ]
