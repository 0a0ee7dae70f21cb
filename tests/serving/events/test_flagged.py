"""Whose events are left out of all counts, by both doors."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from serving.cli.main import app
from tests.shops.served_shop import NOW, make_user_id
from tests.shops.unsaid import list_unsaid

BOT = {
    "event_type": "view_item",
    "occurred_at": NOW.isoformat(),
    "item_id": "wine",
    "visitor_id": "crawler",
}


def run(settings, *arguments: str) -> str:
    environment = {"SHOPWRIGHT_HOME": str(settings.home), "SHOPWRIGHT_CURRENCY": "EUR"}
    done = CliRunner().invoke(app, [*arguments], env=environment, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_actors_are_listed_with_reasons_and_counts_a_page_at_a_time(served) -> None:
    settings, client = served.settings, served.client
    assert client.get("/v1/events/flagged").json() == {"items": [], "next_cursor": None}
    wholesaler = make_user_id(1)
    n_orders = len(client.get(f"/v1/users/{wholesaler}").json()["events"])
    run(settings, "rows", "exclude", f"user_id={wholesaler}", "--reason", "resale")
    run(settings, "rows", "exclude", "visitor_id=crawler", "--reason", "bot")
    sent = [BOT | {"event_id": str(n)} for n in range(3)]
    sent += [
        BOT | {"event_id": "m", "user_id": make_user_id(2), "visitor_id": "x", "exclude": True}
    ]
    assert client.post("/v1/events", json={"events": sent}).json()["accepted"] == 4

    first = client.get("/v1/events/flagged", params={"limit": 2}).json()
    assert [(row["kind"], row["id"], row["events"]) for row in first["items"]] == [
        ("user", wholesaler, n_orders),
        ("user", make_user_id(2), 1),
    ]
    rule = json.dumps({"equals": {"user_id": wholesaler}})
    by_rule = {"rule": rule, "reason": "resale", "events": n_orders}
    assert first["items"][0]["reasons"] == [by_rule]
    assert first["items"][1]["reasons"] == [{"rule": None, "reason": None, "events": 1}]
    second = client.get(
        "/v1/events/flagged", params={"limit": 2, "cursor": first["next_cursor"]}
    ).json()
    assert [(row["id"], row["events"]) for row in second["items"]] == [("crawler", 3)]
    assert second["next_cursor"] is None
    assert client.get("/v1/events/flagged", params={"cursor": "7"}).status_code == 422

    text = run(settings, "events", "flagged", "--limit", "2")
    document = json.loads(run(settings, "events", "flagged", "--limit", "2", "--json"))
    assert document == first
    assert list_unsaid(document, text) == []


def test_who_is_erased_leaves_the_rules_too(served) -> None:
    wholesaler = make_user_id(1)
    run(served.settings, "rows", "exclude", f"user_id={wholesaler}", "--reason", "resale")
    assert served.client.delete(f"/v1/users/{wholesaler}").json()["rules"] == 1
    assert served.client.get("/v1/events/flagged").json()["items"] == []
    log = served.client.get("/v1/audit").text
    assert wholesaler not in log
    assert json.loads(run(served.settings, "rows", "excluded", "--json"))["rules"] == []
