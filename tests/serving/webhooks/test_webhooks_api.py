"""Webhooks over HTTP and on the command line, and from a real server to a real receiver."""

import json
import shutil
import time

import pytest
from typer.testing import CliRunner

from features.database import engine as open_engine
from serving.access import Area, Grant
from serving.cli.main import app
from serving.people.service import NewPerson
from tests.shops.people import PASSWORDS
from tests.shops.price_desk import make_suggestion, store_suggestions
from tests.shops.served_shop import NOW, make_settings, run_shop
from tests.shops.shop_process import ShopProcess
from tests.shops.webhook_receiver import Receiver

URL = "https://hooks.shop.example/prices"


@pytest.fixture
def shop(migrated_sqlite, tmp_path):
    """A running application of a shop that has neither models nor prices yet."""
    home = open_home(migrated_sqlite, tmp_path)
    yield from run_shop(make_settings(home, webhook_targets=("https://hooks.shop.example",)))


def open_home(migrated_sqlite, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(migrated_sqlite, home / "shopwright.db")
    return home


def add(client, **values):
    return client.post("/v1/webhooks", json={"url": URL, "events": ["price_changes"], **values})


def test_the_secret_is_shown_once_and_every_write_stands_in_the_audit_log(shop):
    client = shop.client
    made = add(client).json()
    assert made["secret"].startswith("whsec_")
    (listed,) = client.get("/v1/webhooks").json()["items"]
    assert "secret" not in listed
    assert listed | {"id": made["id"], "waiting": 0, "dead": 0, "error": None} == listed
    assert client.post(f"/v1/webhooks/{made['id']}/replay").json() == {"replayed": 0}
    assert client.delete(f"/v1/webhooks/{made['id']}").json()["url"] == URL
    assert client.get("/v1/webhooks").json()["items"] == []
    log = client.get("/v1/audit", params={"subject_id": made["id"]}).json()["items"]
    assert [entry["action"] for entry in log] == ["create", "remove"]
    assert made["secret"] not in str(log)


def test_a_secret_is_rotated_and_the_listing_says_until_when_the_old_one_signs(shop):
    client = shop.client
    made = add(client).json()
    assert made["previous_until"] is None
    rotated = client.post(f"/v1/webhooks/{made['id']}/rotate", json={"overlap_hours": 2}).json()
    assert rotated["secret"].startswith("whsec_") and rotated["secret"] != made["secret"]
    (listed,) = client.get("/v1/webhooks").json()["items"]
    assert listed["previous_until"] == rotated["previous_until"] is not None
    assert "secret" not in listed
    assert client.post(f"/v1/webhooks/{made['id']}/rotate").status_code == 200
    wrong = client.post(f"/v1/webhooks/{made['id']}/rotate", json={"overlap_hours": 721})
    assert wrong.status_code == 422
    assert client.post("/v1/webhooks/hook_0/rotate").status_code == 404
    log = client.get("/v1/audit", params={"subject_id": made["id"]}).json()["items"]
    assert [entry["action"] for entry in log] == ["create", "rotate_secret", "rotate_secret"]
    assert rotated["secret"] not in str(log)


def test_bad_requests_are_named(shop):
    client = shop.client
    refused = add(client, url="https://169.254.169.254/latest/meta-data")
    assert refused.status_code == 422
    assert "https://hooks.shop.example" in refused.json()["hint"]
    assert add(client, events=["prices"]).status_code == 422
    assert add(client, events=[]).status_code == 422
    assert add(client, secret="mine").status_code == 422
    for response in (
        client.get("/v1/webhooks/hook_0/deliveries"),
        client.post("/v1/webhooks/hook_0/replay"),
        client.delete("/v1/webhooks/hook_0"),
    ):
        assert response.status_code == 404
    made = add(client).json()
    wrong = client.get(f"/v1/webhooks/{made['id']}/deliveries", params={"status": "died"})
    assert "dead" in wrong.json()["hint"]
    lost = client.get(f"/v1/webhooks/{made['id']}/deliveries", params={"status": "dead"})
    assert lost.json() == {"items": [], "next_cursor": None}


def test_only_a_manager_of_the_whole_shop_adds_a_receiver(shop):
    reader = shop.keys.create("reader", ["pricing.read"]).key
    refused = shop.client.get("/v1/webhooks", headers={"Authorization": f"Bearer {reader}"})
    assert refused.status_code == 403
    grants = (Grant("manager", Area("Food")),)
    shop.server.people.create(NewPerson("dora", "Dora D", grants, PASSWORDS["dora"]))
    del shop.client.headers["Authorization"]
    session = shop.client.post(
        "/v1/sessions", json={"name": "dora", "password": PASSWORDS["dora"]}
    ).json()
    shop.client.headers["X-CSRF-Token"] = session["csrf_token"]
    refused = add(shop.client)
    assert (refused.status_code, "whole shop" in refused.json()["detail"]) == (403, True)


def test_the_command_line_rotates_a_secret(migrated_sqlite, tmp_path, monkeypatch):
    monkeypatch.setenv("SHOPWRIGHT_HOME", str(open_home(migrated_sqlite, tmp_path)))
    monkeypatch.setenv("SHOPWRIGHT_WEBHOOK_TARGETS", "https://hooks.shop.example")

    def run(*words):
        result = CliRunner().invoke(app, ["webhooks", *words, "--json"], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    made = run("add", URL, "--event", "suggestions")
    rotated = run("rotate", made["id"], "--overlap-hours", "0.5")
    assert rotated["secret"] != made["secret"]
    (listed,) = run("list")["items"]
    assert listed["previous_until"] == rotated["previous_until"] is not None


@pytest.mark.slow
def test_a_real_server_tells_a_receiver_that_goes_away_and_comes_back(migrated_sqlite, tmp_path):
    """Approvals before, during and after the receiver is down, and over a restart of the server."""
    home = open_home(migrated_sqlite, tmp_path)
    receiver = Receiver(tmp_path)
    settings = {
        "SHOPWRIGHT_CLOCK_START": NOW.isoformat(),
        "SHOPWRIGHT_CURRENCY": "EUR",
        "SHOPWRIGHT_WEBHOOK_TARGETS": f"http://127.0.0.1:{receiver.port}",
        "SHOPWRIGHT_WEBHOOK_NETWORKS": "127.0.0.0/8",
    }
    shop = ShopProcess(home, settings)
    opened = open_engine(make_settings(home))
    ids = store_suggestions(opened, *(make_suggestion(f"sku{n}") for n in range(9)))
    opened.dispose()
    shop.create_key("pricing.read", "pricing.approve", "pricing.manage")
    made = shop.run_json(
        "webhooks", "add", receiver.url, "--event", "price_changes", "--event", "suggestions"
    )

    def approve(*which):
        with shop.client() as client:
            for suggestion_id in which:
                done = client.post(f"/v1/price-suggestions/{suggestion_id}/approve")
                assert done.status_code == 200, done.text

    try:
        receiver.start()
        shop.start("/healthz")
        approve(*ids[:3])
        assert len(receiver.wait_for(6)) == 6
        receiver.stop()
        approve(*ids[3:5])
        shop.stop()
        shop.start("/healthz")
        approve(*ids[5:7])
        time.sleep(2.5)  # attempts that fail
        (state,) = shop.run_json("webhooks", "list")["items"]
        assert state["waiting"] >= 2
        receiver.start()
        receiver.wait_for(14)
        approve(*ids[7:])
        items = receiver.wait_for(18)
        with shop.client() as client:
            feed = client.get("/v1/price-changes", params={"limit": 1_000}).json()["items"]
    finally:
        receiver.stop()
        shop.stop()
    prices = [item["id"] for item in items if "valid_from" in item]
    assert prices == [row["id"] for row in feed if row["source"] == "desk"]
    assert [item["subject_id"] for item in items if "actor" in item] == ids
    message_ids = [request["headers"]["webhook-id"] for request in receiver.read()]
    assert len(set(message_ids)) == len(message_ids)
    assert made["secret"] not in str(receiver.read())
    listed = shop.run_json("webhooks", "deliveries", made["id"], "--status", "delivered")["items"]
    assert [delivery["id"] for delivery in listed] == message_ids
    shop.run("webhooks", "replay", made["id"], "--delivery", message_ids[0])
    shop.run("webhooks", "remove", made["id"])
    assert shop.run_json("webhooks", "list") == {"items": []}
