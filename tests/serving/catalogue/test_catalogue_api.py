"""The catalogue over HTTP: rows like those of an import, seen by the next call of every worker."""

from __future__ import annotations

import csv
import json
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from features.facts.facts import Facts
from features.online import live_catalogue
from features.online.materialize import materialize
from serving.app import create_app
from serving.cli.main import app as command_line
from tests.shops.served_shop import NOW, run_shop

SHIRT = {
    "title": "Linen shirt",
    "category": "Fashion > Tops > Shirts",
    "brand": "Alba",
    "list_price": "49.00",
    "stock_on_hand": 12,
    "color": "red",
}


def ids(shop, placement="home", **body):
    answer = shop.client.post("/v1/recommendations", json={"placement": placement, **body})
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


def send(shop, method, path, body=None, **headers):
    return shop.client.request(method, path, json=body, headers=headers)


@pytest.fixture
def worker(served, shared_key) -> SimpleNamespace:
    """A second worker of the same shop."""
    with TestClient(create_app(served.settings)) as client:
        client.headers["Authorization"] = f"Bearer {shared_key}"
        yield SimpleNamespace(client=client)


@pytest.fixture
def shared_key(served) -> str:
    return served.keys.create("worker", ["storefront"]).key


def test_a_new_item_is_an_arrival_with_a_price_at_the_next_call_of_every_worker(served, worker):
    assert "a/1" not in ids(worker, "new_arrivals")
    made = send(served, "PUT", "/v1/items/a%2F1", SHIRT)
    assert made.status_code == 200, made.text
    document = made.json()
    assert (document["item_id"], document["change"]) == ("a/1", "new")
    assert (document["list_price"], document["color"]) == ("49.00", "red")
    for shop in (served, worker):
        assert ids(shop, "new_arrivals", strict=True)[0] == "a/1"
        assert ids(shop, filter={"category": ["Fashion"]}) == ["a/1"]
        assert ids(shop, filter={"brand": ["Alba"], "price_max": 49}) == ["a/1"]
        assert ids(shop, filter={"category": ["Fashion"], "price_max": 48.99}) == []
    price = served.client.get("/v1/prices", params={"item_id": "a/1"}).json()["items"][0]
    assert price["list_price"] == "49.00"


def test_the_row_is_that_of_an_import(served):
    send(served, "PUT", "/v1/items/shirt", SHIRT | {"available_from": "2018-01-01"})
    folder = served.settings.home.parent / "files"
    folder.mkdir()
    with (folder / "items.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["item_id", *SHIRT, "available_from"])
        writer.writeheader()
        writer.writerow({"item_id": "shirt", **SHIRT, "available_from": "2018-01-01"})
    (before,) = stored(served, "shirt")
    report = run_import(served, folder)
    assert report["tables"]["items"]["unchanged"] == 1
    assert report["tables"]["items"]["n_overwritten"] == 0
    assert stored(served, "shirt") == [before]


def test_stock_is_seen_at_the_next_call_by_item_by_count_and_by_zone(served, worker):
    assert "wine" in ids(worker)
    assert send(served, "PATCH", "/v1/items/wine", {"stock_on_hand": 0}).status_code == 200
    assert "wine" not in ids(worker)
    counted = send(served, "PUT", "/v1/stock", {"stock": [{"item_id": "wine", "on_hand": 3}]})
    assert counted.json() == {"new": 1, "replaced": 0, "unchanged": 0, "refused": [], "notes": []}
    assert "wine" in ids(worker)
    # A number of the catalogue that is counted later replaces the count, though it is the same.
    send(served, "PATCH", "/v1/items/wine", {"stock_on_hand": 0})
    assert "wine" not in ids(worker)
    earlier = (NOW - timedelta(days=1)).isoformat()
    older = {"item_id": "wine", "on_hand": 9, "at": earlier}
    send(served, "PUT", "/v1/stock", {"stock": [older]})
    assert "wine" not in ids(worker)


def test_live_stock_is_that_of_the_next_materialization(served):
    at = [(NOW - timedelta(hours=hours)).isoformat() for hours in (1, 2)]
    rows = [
        {"item_id": "wine", "on_hand": 0, "at": at[1]},
        {"item_id": "wine", "on_hand": 4, "at": at[0]},
        {"item_id": "beer", "on_hand": 0, "at": at[0]},
        {"item_id": "cheese", "on_hand": 2, "at": at[1]},
    ]
    assert send(served, "PUT", "/v1/stock", {"stock": rows}).json()["new"] == 4
    live = ids(served)
    materialize(Facts(served.settings), served.settings, NOW)
    served.server.refresh()
    assert set(ids(served)) == set(live) == {"bread", "butter", "cheese", "milk", "wine"}


def test_texts_of_filters_follow_and_a_deleted_item_is_gone_until_it_is_put_again(served, worker):
    send(served, "PATCH", "/v1/items/beer", {"brand": "Hopfen", "category": "Drinks > Ale"})
    assert ids(worker, filter={"brand": ["Hopfen"]}) == ["beer"]
    assert ids(worker, filter={"category": ["Drinks > Beer"]}) == []
    gone = send(served, "DELETE", "/v1/items/beer").json()
    assert (gone["status"], gone["title"], gone["change"]) == ("archived", "beer", "changed")
    assert "beer" not in ids(worker)
    assert send(served, "DELETE", "/v1/items/beer").json()["change"] == "unchanged"
    send(served, "PATCH", "/v1/items/beer", {"status": None})
    assert "beer" in ids(worker)


def test_a_patch_keeps_what_it_does_not_name_and_null_empties(served):
    send(served, "PUT", "/v1/items/shirt", SHIRT)
    changed = send(served, "PATCH", "/v1/items/shirt", {"brand": None, "size": "M", "fit": "slim"})
    document = changed.json()
    assert (document["brand"], document["size"], document["title"]) == (None, "M", "Linen shirt")
    assert (document["color"], document["fit"]) == ("red", "slim")
    document = send(served, "PATCH", "/v1/items/shirt", {"color": None}).json()
    assert "color" not in document
    assert document["fit"] == "slim"
    assert send(served, "GET", "/v1/items/shirt").json()["size"] == "M"


def test_a_batch_stores_the_good_rows_and_names_the_others(served):
    rows = [
        {"item_id": "n1", **SHIRT},
        {"item_id": "n2", "list_price": "dear"},
        {"title": "without an id"},
        {"item_id": "n4", "status": "sold"},
        {"item_id": "n5", "title": 7, "colour": ["red"]},
        {"item_id": "n6", "title": "half \ud800"},
        {"item_id": "n7", "available_from": "2018-02-02", "available_to": "2018-02-01"},
        {"item_id": "n8", "listprice": "3"},
    ]
    answer = send_text(served, {"items": rows})
    assert (answer["new"], answer["changed"], answer["unchanged"]) == (2, 0, 0)
    assert [(row["index"], row["item_id"], row["reason"]) for row in answer["refused"]] == [
        (1, "n2", "list_price is no amount of money"),
        (2, None, "item_id is missing"),
        (3, "n4", "status is none of active, draft, archived"),
        (4, "n5", "title is no text; colour is a list or an object; an attribute is one value"),
        (5, "n6", "title holds a character that cannot be kept"),
        (6, "n7", "available_to is not after available_from"),
    ]
    assert answer["notes"] == ["listprice is kept as an attribute; is it list_price?"]
    again = send_text(served, {"items": rows[7:]})
    assert (again["new"], again["changed"], again["unchanged"]) == (0, 0, 1)
    too_many = {"items": [{"item_id": str(n)} for n in range(1_001)]}
    assert served.client.post("/v1/items", json=too_many).status_code == 422


def test_of_two_rows_the_later_updated_at_counts_by_http_and_by_file(served):
    new, old = NOW + timedelta(minutes=2), NOW - timedelta(hours=2)
    send(served, "PUT", "/v1/items/shirt", SHIRT | {"updated_at": new.isoformat()})
    outdated = SHIRT | {"title": "Old shirt", "updated_at": old.isoformat()}
    refused = send(served, "PUT", "/v1/items/shirt", outdated)
    assert refused.status_code == 409
    assert "updated_at is older" in refused.json()["detail"]
    folder = write_items(served, [{"item_id": "shirt", **outdated}])
    table = run_import(served, folder)["tables"]["items"]
    assert (table["n_older"], table["older"], table["replaced"]) == (1, ["shirt"], 0)
    assert stored(served, "shirt")[0]["title"] == "Linen shirt"
    # A file without times is as of its import, and the report names what it replaces.
    folder = write_items(served, [{"item_id": "shirt", "title": "New shirt"}])
    table = run_import(served, folder)["tables"]["items"]
    assert (table["n_overwritten"], table["overwritten"]) == (1, ["shirt"])
    assert stored(served, "shirt")[0]["title"] == "New shirt"
    assert run_import(served, folder)["tables"]["items"]["unchanged"] == 1


def test_a_retry_is_done_once_and_the_audit_log_says_who(served):
    body = {"items": [{"item_id": "n1", **SHIRT}]}
    first = send(served, "POST", "/v1/items", body, **{"Idempotency-Key": "k1"})
    again = send(served, "POST", "/v1/items", body, **{"Idempotency-Key": "k1"})
    assert first.json() == again.json()
    assert again.headers["Idempotent-Replayed"] == "true"
    send(served, "PATCH", "/v1/items/n1", {"brand": "Korn"})
    send(served, "PUT", "/v1/stock", {"stock": [{"item_id": "n1", "on_hand": 1}]})
    rows = served.client.get("/v1/audit", params={"subject_type": "item"}).json()["items"]
    assert [(row["subject_id"], row["action"]) for row in rows] == [
        ("n1", "create"),
        ("n1", "change"),
    ]
    assert rows[1]["details"]["columns"] == ["brand"]
    (count,) = served.client.get("/v1/audit", params={"subject_type": "stock"}).json()["items"]
    assert count["details"]["new"] == 1


def test_an_unknown_item_is_404_with_the_nearest_and_a_contradiction_is_refused(served):
    for method, body in (("PATCH", {"brand": "x"}), ("DELETE", None), ("GET", None)):
        answer = send(served, method, "/v1/items/beeer", body)
        assert answer.status_code == 404
        assert answer.json()["hint"] == "Did you mean 'beer'?"
    answer = send(served, "PUT", "/v1/items/beer", {"item_id": "wine"})
    assert answer.status_code == 422
    assert send(served, "PUT", "/v1/items/x", {"list_price": "-1"}).json()["detail"] == (
        "list_price is below 0"
    )


def test_a_price_that_the_ledger_does_not_follow_is_said(served):
    send(served, "PUT", "/v1/items/shirt", SHIRT)
    changed = send(served, "PATCH", "/v1/items/shirt", {"list_price": "39.00"}).json()
    assert "differs from the price ledger" in changed["notes"][0]
    price = served.client.get("/v1/prices", params={"item_id": "shirt"}).json()["items"][0]
    assert price["list_price"] == "49.00"


def test_counts_are_checked_like_those_of_a_file(served):
    rows = [
        {"item_id": "wine", "on_hand": -1},
        {"item_id": "wine", "on_hand": 1, "zone": "nowhere"},
        {"item_id": "wine", "on_hand": 1, "at": (NOW + timedelta(days=1)).isoformat()},
        {"item_id": "unheard of", "on_hand": 1},
    ]
    answer = send(served, "PUT", "/v1/stock", {"stock": rows}).json()
    assert [(row["index"], row["reason"]) for row in answer["refused"]] == [
        (0, "on_hand is below 0"),
        (1, "zone is unknown"),
        (2, "at lies in the future"),
    ]
    assert "not in the catalogue" in answer["notes"][0]


def test_an_id_is_cleaned_like_that_of_a_file(served):
    made = send(served, "PUT", "/v1/items/%20cafe%CC%81%20", SHIRT)
    assert (made.status_code, made.json()["item_id"]) == (200, "caf\u00e9")


def test_a_damaged_segment_of_stock_takes_no_slate(served):
    send(served, "PUT", "/v1/stock", {"stock": [{"item_id": "wine", "on_hand": 0}]})
    assert "wine" not in ids(served)
    send(served, "PUT", "/v1/stock", {"stock": [{"item_id": "beer", "on_hand": 0}]})
    for segment in (served.settings.home / "tables" / "stock").glob("*.parquet"):
        segment.write_bytes(b"damaged")
    live_catalogue._read_counts.cache_clear()
    slate = ids(served)
    assert "wine" not in slate
    assert "beer" in slate


def test_many_counts_leave_few_segments(served):
    for n in range(40):
        rows = [{"item_id": "wine", "on_hand": n, "at": f"2017-12-01T00:00:{n:02}Z"}]
        assert send(served, "PUT", "/v1/stock", {"stock": rows}).json()["new"] == 1
    manifest = json.loads((served.settings.home / "tables" / "manifest.json").read_text())
    assert len(manifest["stock"]) <= 16
    assert Facts(served.settings).read("stock").count().to_pyarrow().as_py() == 40


def test_a_key_without_the_scope_is_refused(served):
    key = served.keys.create("other", ["storefront", "events"]).key
    answer = send(served, "PUT", "/v1/items/x", {}, Authorization=f"Bearer {key}")
    assert answer.status_code == 403


def test_an_item_of_tomorrow_appears_when_its_time_comes(tiny):
    for shop in run_shop(tiny.model_copy(update={"clock_start": NOW})):
        soon = NOW + timedelta(days=1)
        send(shop, "PUT", "/v1/items/soon", SHIRT | {"available_from": soon.isoformat()})
        assert ids(shop, filter={"category": ["Fashion"]}) == []
        items = shop.server.served_models.recommender().items
        live = shop.server.recommendations.allowed_items._live
        assert "soon" in live.extend(items, soon + timedelta(seconds=1)).item_ids


def send_text(shop, body) -> dict:
    """Send JSON as text: the client cannot write half a surrogate pair."""
    headers = {"Content-Type": "application/json"}
    return shop.client.post("/v1/items", content=json.dumps(body), headers=headers).json()


def stored(shop, item_id):
    items = Facts(shop.settings).read("items")
    rows = items.filter(items.item_id == item_id).to_pyarrow().to_pylist()
    return [{name: value for name, value in row.items() if "stock" not in name} for row in rows]


def write_items(shop, rows) -> Path:
    folder = shop.settings.home.parent / "items"
    folder.mkdir(exist_ok=True)
    with (folder / "items.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def run_import(shop, folder) -> dict:
    settings = shop.settings
    environment = {
        "SHOPWRIGHT_HOME": str(settings.home),
        "SHOPWRIGHT_CURRENCY": settings.currency,
        "SHOPWRIGHT_CLOCK_START": settings.clock_start.isoformat(),
    }
    result = CliRunner().invoke(command_line, ["import", str(folder), "--json"], env=environment)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)
