"""Which parts of a shop are up, slow or down, and since when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from serving.conditions import Conditions
from serving.part_health import HealthService
from serving.server import ONLINE_STORE, Server
from tests.shops.people import MovableClock


def test_parts_of_a_whole_shop_are_up_and_what_is_not_used_is_no_fault(
    served: SimpleNamespace,
) -> None:
    parts = {part.part: part for part in HealthService(served.server).inspect()}

    for name in ("recommendations", "demand", "features", "import", "clock"):
        assert parts[name].state == "up", name
    assert parts["database"].state in ("up", "slow")
    assert parts["recommendations"].version == "1"
    assert (parts["pricing"].state, parts["events"].state) == ("unused", "unused")
    assert all(part.since is not None for part in parts.values())


def test_received_events_are_counted(served: SimpleNamespace) -> None:
    event = {
        "event_type": "view_item",
        "occurred_at": "2018-01-01T04:00:00Z",
        "item_id": "beer",
        "visitor_id": "v",
    }
    assert served.client.post("/v1/events", json={"events": [event]}).status_code == 202

    (events,) = [part for part in HealthService(served.server).inspect() if part.part == "events"]

    assert (events.state, events.count) == ("up", 1)
    assert events.at is not None


def test_a_part_that_fails_is_down_since_the_fault_began_and_hides_no_other(
    served: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_server: Server) -> None:
        raise sa.exc.OperationalError("SELECT 1", {}, OSError("gone"))

    health = HealthService(served.server)
    monkeypatch.setattr(Server, "ping_database", fail)
    first = {part.part: part for part in health.inspect()}
    second = {part.part: part for part in health.inspect()}

    assert first["database"].state == "down"
    assert "gone" in (first["database"].reason or "")
    assert first["database"].since == second["database"].since
    assert first["features"].state == "up"


@pytest.mark.parametrize(("is_older_served", "state"), [(True, "slow"), (False, "down")])
def test_features_of_an_older_version_that_serve_are_not_down(
    served: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, is_older_served: bool, state: str
) -> None:
    histories = type(served.server.histories)
    monkeypatch.setattr(histories, "problem", "version 2 is damaged")
    monkeypatch.setattr(histories, "is_older_served", is_older_served)

    parts = {part.part: part for part in HealthService(served.server).inspect()}

    assert (parts[ONLINE_STORE].state, parts[ONLINE_STORE].reason) == (state, histories.problem)


def test_a_condition_that_no_part_has_is_a_part_of_its_own(served: SimpleNamespace) -> None:
    served.server.conditions.report("writing of exposures", "disk full\nSTATEMENT")

    (part,) = [
        part
        for part in HealthService(served.server).inspect()
        if part.part == "writing of exposures"
    ]

    assert (part.state, part.reason) == ("down", "disk full")


def test_a_fault_keeps_its_beginning_while_its_reason_changes() -> None:
    clock = MovableClock(datetime(2026, 5, 1, tzinfo=UTC))
    conditions = Conditions(clock)
    conditions.report("models", "one")
    clock.move(hours=2)
    conditions.report("models", "another")

    fault = conditions.faults["models"]

    assert (fault.reason, fault.since) == ("another", clock.now() - timedelta(hours=2))
    conditions.clear("models")
    assert conditions.faults == {}
