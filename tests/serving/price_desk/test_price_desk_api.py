from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from types import SimpleNamespace

import pytest
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient

from configs.settings import Settings
from features.contracts.errors import ShopwrightError
from features.database import transaction
from features.prices.ledger import Ledger
from features.prices.reduction_rule import PLAIN_RULES
from serving.audit import api as audit
from serving.audit.service import AuditService
from serving.http.dependencies import provide
from serving.http.idempotency import IdempotencyService
from serving.keys.service import KeyService
from serving.price_desk import api as price_desk
from serving.price_desk.service import PriceDeskService
from serving.prices import api as prices
from serving.prices.service import PriceService
from tests.shops.clocks import FixedClock
from tests.shops.price_desk import (
    NOW,
    SYSTEM_NOW,
    make_opening_price,
    make_suggestion,
    read_offer_prices,
    read_statuses,
    store_suggestions,
)


@pytest.fixture
def desk(engine):
    """An app with the price routes, and clients with keys: a shop, two approvers, a proposer, an
    auditor."""
    app = FastAPI()
    for router in (prices.router, price_desk.router, price_desk.changes_router, audit.router):
        app.include_router(router)
    app.add_exception_handler(
        ShopwrightError,
        lambda _, error: JSONResponse({"detail": str(error)}, status_code=error.status),
    )
    settings, clock, system_clock = Settings(), FixedClock(NOW), FixedClock(SYSTEM_NOW)
    keys = KeyService(engine, system_clock)
    provide(
        app,
        keys,
        PriceService(settings, engine, clock, PLAIN_RULES),
        PriceDeskService(settings, engine, clock, system_clock, PLAIN_RULES),
        AuditService(engine),
        IdempotencyService(engine, system_clock),
    )

    def client(name, *scopes):
        key = keys.create(name, scopes).key
        return TestClient(app, headers={"Authorization": f"Bearer {key}"})

    return SimpleNamespace(
        engine=engine,
        shop=client("shop", "storefront"),
        anna=client("anna", "pricing.approve", "pricing.propose"),
        ben=client("ben", "pricing.approve"),
        reader=client("reader", "pricing.read"),
        auditor=client("auditor", "audit.read"),
    )


def post(client, path, body=None, key=None, version=None):
    headers = {"Idempotency-Key": key, "If-Match": version}
    given = {name: value for name, value in headers.items() if value is not None}
    return client.post(f"/v1/price-suggestions/{path}", json=body, headers=given)


def test_prices_come_from_the_ledger_as_decimals(desk):
    (key,) = store_suggestions(desk.engine, make_suggestion("milk", 90))
    assert post(desk.ben, f"{key}/approve").status_code == 200
    answer = desk.shop.get("/v1/prices", params={"item_id": ["milk", "none", "milk"]})
    assert answer.json() == {
        "items": [
            {
                "item_id": "milk",
                "zone": "default",
                "list_price": "0.90",
                "offer_price": "0.90",
                "currency": "EUR",
                "valid_from": "2018-01-01T05:00:00Z",
                "valid_to": None,
                "prior_price": "1.00",
                "price_id": answer.json()["items"][0]["price_id"],
            }
        ],
        "missing": ["none"],
        "next_cursor": None,
    }
    before = desk.shop.get(
        "/v1/prices", params={"item_id": "milk", "at": "2017-12-31T00:00:00+00:00"}
    ).json()
    assert [(each["offer_price"], each["prior_price"]) for each in before["items"]] == [
        ("1.00", None)
    ]
    assert desk.shop.get("/v1/prices", params={"item_id": "milk", "zone": "north"}).json()[
        "missing"
    ] == ["milk"]


@pytest.mark.parametrize(
    "name", ["user_id", "visitor_id", "session_id", "user", "customer_segment"]
)
def test_a_price_is_never_asked_for_by_a_person(desk, name):
    answer = desk.shop.get("/v1/prices", params={"item_id": "milk", name: "42"})
    assert answer.status_code == 422
    assert name in answer.json()["detail"]


@pytest.mark.parametrize(
    "params",
    [{}, {"item_id": "milk", "at": "yesterday"}, {"item_id": "milk", "at": "2018-01-01T00:00:00"}],
)
def test_a_price_question_that_cannot_be_read_is_refused(desk, params):
    assert desk.shop.get("/v1/prices", params=params).status_code == 422


def test_each_endpoint_asks_for_its_scope(desk):
    (key,) = store_suggestions(desk.engine, make_suggestion("milk"))
    asked = [
        (desk.reader, "GET", "/v1/prices?item_id=milk", 403),
        (desk.shop, "GET", "/v1/price-suggestions", 403),
        (desk.shop, "GET", "/v1/price-changes", 403),
        (desk.reader, "POST", f"/v1/price-suggestions/{key}/approve", 403),
        (desk.reader, "POST", "/v1/price-changes/x/rollback", 403),
        (desk.ben, "POST", f"/v1/price-suggestions/{key}/edit", 403),
        (desk.ben, "GET", "/v1/audit", 403),
        (desk.ben, "GET", "/v1/price-suggestions", 200),
    ]
    for client, verb, path, status in asked:
        assert (
            client.request(verb, path, json={} if verb == "POST" else None).status_code == status
        ), path
    for header in ("", "Bearer", "Bearer sw_wrong", "Basic abc"):
        answer = desk.shop.get("/v1/prices?item_id=milk", headers={"Authorization": header})
        assert answer.status_code == 401


def test_the_queue_is_filtered_and_paged(desk):
    rows = [make_suggestion(f"item{n}", 100 + n) for n in range(1, 8)]
    ids = store_suggestions(desk.engine, *rows, make_suggestion("tea", 150, category="Drinks"))
    first = desk.reader.get(
        "/v1/price-suggestions", params={"category": "Food", "min_change": 0.03, "limit": 3}
    ).json()
    assert [each["id"] for each in first["items"]] == ids[2:5]
    second = desk.reader.get(
        "/v1/price-suggestions",
        params={"category": "Food", "min_change": 0.03, "limit": 3, "cursor": first["next_cursor"]},
    ).json()
    assert ([each["id"] for each in second["items"]], second["next_cursor"]) == (ids[5:7], None)
    post(desk.ben, f"{ids[0]}/reject", {"reason": "no"})
    found = desk.reader.get("/v1/price-suggestions", params={"status": "rejected,live"}).json()[
        "items"
    ]
    assert [each["id"] for each in found] == ids[:1]
    for bad in (
        {"status": "livid"},
        {"cursor": "x"},
        {"user_id": "42"},
        {"limit": 0},
        {"min_change": "a"},
    ):
        assert desk.reader.get("/v1/price-suggestions", params=bad).status_code == 422, bad


def test_a_suggestion_shows_its_reasons(desk):
    (key,) = store_suggestions(
        desk.engine,
        make_suggestion("milk", 110, expected={"units": {"p50": 7.5}, "profit": {"p50": 1250.4}}),
    )
    answer = desk.reader.get(f"/v1/price-suggestions/{key}")
    shown = answer.json()
    assert answer.headers["ETag"] == '"1"'
    assert (shown["current_price"], shown["suggested_price"], shown["share_change"]) == (
        "1.00",
        "1.10",
        0.1,
    )
    assert shown["expected"] == {"units": {"p50": 7.5}, "profit": {"p50": "12.50"}}
    step = {"rule": "optimum", "before": "1.00", "after": "1.10", "hard": False, "note": ""}
    assert shown["waterfall"] == [step]
    assert desk.reader.get("/v1/price-suggestions/none").status_code == 404


def test_if_match_guards_against_deciding_on_something_else(desk):
    (key,) = store_suggestions(desk.engine, make_suggestion("milk"))
    edited = post(
        desk.anna, f"{key}/edit", {"suggested_price": "1.19", "reason": "ending"}, version='"1"'
    )
    assert (edited.status_code, edited.headers["ETag"], edited.json()["edited_by"][:4]) == (
        200,
        '"2"',
        "key_",
    )
    assert post(desk.ben, f"{key}/approve", version='"1"').status_code == 412
    assert post(desk.ben, f"{key}/approve", version="abc").status_code == 422
    assert post(desk.anna, f"{key}/approve", version='"2"').status_code == 403
    approved = post(desk.ben, f"{key}/approve", version='W/"2"')
    assert (approved.status_code, approved.json()["status"]) == (200, "live")
    assert post(desk.ben, f"{key}/approve", version="*").status_code == 409
    assert read_offer_prices(desk.engine, "milk") == [119]


@pytest.mark.parametrize("price", ["abc", "-1", "0", 5])
def test_an_edit_that_is_no_price_is_refused(desk, price):
    (key,) = store_suggestions(desk.engine, make_suggestion("milk"))
    assert post(desk.anna, f"{key}/edit", {"suggested_price": price}).status_code == 422


def test_a_repeated_write_is_answered_as_the_first_time(desk):
    first, second = store_suggestions(desk.engine, make_suggestion("milk"), make_suggestion("tea"))
    done = post(desk.ben, f"{first}/approve", {"reason": "yes"}, key="k1")
    again = post(desk.ben, f"{first}/approve", {"reason": "yes"}, key="k1")
    assert (again.status_code, again.content, again.headers["ETag"]) == (
        200,
        done.content,
        done.headers["ETag"],
    )
    assert (done.headers.get("Idempotent-Replayed"), again.headers["Idempotent-Replayed"]) == (
        None,
        "true",
    )
    assert post(desk.ben, f"{first}/approve", {"reason": "other"}, key="k1").status_code == 422
    assert post(desk.ben, f"{second}/approve", {"reason": "yes"}, key="k1").status_code == 422
    # a key is its caller's own
    assert post(desk.anna, f"{second}/approve", key="k1").status_code == 200


def test_a_repeated_refusal_stays_a_refusal(desk):
    (key,) = store_suggestions(desk.engine, make_suggestion("milk"))
    bulk = {"action": "approve", "filter": {}, "expected_matched": 2}
    refused = post(desk.ben, "bulk", bulk, key="k1")
    assert refused.status_code == 409
    store_suggestions(
        desk.engine, make_suggestion("tea")
    )  # now two match, but the answer under this key stands
    again = post(desk.ben, "bulk", bulk, key="k1")
    assert (again.status_code, again.json()) == (409, refused.json())
    assert read_statuses(desk.engine, [key]) == ["submitted"]


def test_bulk_over_http(desk):
    milk, tea = store_suggestions(desk.engine, make_suggestion("milk"), make_suggestion("tea"))
    edited = post(desk.anna, f"{tea}/edit", {"suggested_price": "1.05"})
    assert edited.status_code == 200
    body = {
        "action": "approve",
        "filter": {"category": "Food > Dairy"},
        "reason": "season",
        "expected_matched": 2,
    }
    answer = post(desk.anna, "bulk", body, key="b1").json()
    assert (answer["matched"], answer["changed"]) == (2, 1)
    assert [each["id"] for each in answer["refused"]] == [tea]
    assert post(desk.ben, "bulk", {"action": "reject", "ids": [tea, milk]}).json()["changed"] == 1
    for bad in (
        {"action": "edit", "ids": []},
        {"action": "approve"},
        {"action": "approve", "ids": [], "filter": {}},
    ):
        assert post(desk.ben, "bulk", bad).status_code == 422, bad


def test_the_feed_gives_every_change_in_order_and_undoes_one(desk):
    (key,) = store_suggestions(desk.engine, make_suggestion("milk", 110))
    post(desk.ben, f"{key}/approve")
    opened, changed = desk.reader.get("/v1/price-changes").json()["items"]
    assert (opened["source"], changed["source"], changed["suggestion_id"]) == (
        "observed",
        "desk",
        key,
    )
    undone = desk.ben.post(
        f"/v1/price-changes/{changed['id']}/rollback", json={"reason": "complaints"}
    )
    assert (undone.status_code, undone.json()["offer_price"], undone.json()["reverts"]) == (
        200,
        "1.00",
        changed["id"],
    )
    later = desk.reader.get("/v1/price-changes", params={"after": changed["seq"]}).json()
    assert later == {"items": [undone.json()], "next_cursor": None}
    page = desk.reader.get("/v1/price-changes", params={"limit": 2}).json()
    assert (
        desk.reader.get("/v1/price-changes", params={"cursor": page["next_cursor"]}).json() == later
    )
    assert desk.ben.post(f"/v1/price-changes/{changed['id']}/rollback").status_code == 409
    assert desk.ben.post("/v1/price-changes/none/rollback").status_code == 404


def test_the_audit_log_over_http(desk):
    milk, tea = store_suggestions(desk.engine, make_suggestion("milk"), make_suggestion("tea"))
    post(desk.ben, f"{milk}/approve", {"reason": "yes"})
    post(desk.ben, f"{tea}/reject")
    made = desk.auditor.get("/v1/audit", params={"action": "create"}).json()["items"]
    assert [each["details"]["name"] for each in made] == [
        "shop",
        "anna",
        "ben",
        "reader",
        "auditor",
    ]
    answer = desk.auditor.get("/v1/audit", params={"limit": 1, "after": 5}).json()
    assert [(each["action"], each["details"]["reason"]) for each in answer["items"]] == [
        ("approve", "yes")
    ]
    rest = desk.auditor.get(
        "/v1/audit", params={"cursor": answer["next_cursor"], "subject_id": tea}
    ).json()["items"]
    assert [each["action"] for each in rest] == ["reject"]
    head = answer["head"]
    assert head == {"seq": 5 + 2, "hash": rest[0]["hash"]}
    verified = desk.auditor.get("/v1/audit/verification").json()
    assert verified == {"intact": True, "rows": 7, "broken_at": None, "head": head}
    cut = {"anchor_seq": 8, "anchor_hash": "0" * 64}
    assert desk.auditor.get("/v1/audit/verification", params=cut).json()["broken_at"] == 8
    misspelt = desk.auditor.get("/v1/audit?limt=1")
    assert (misspelt.status_code, misspelt.json()["detail"]) == (
        422,
        "unknown parameter 'limt' (in query). Did you mean 'limit'?",
    )


def test_prices_of_many_items_are_answered_in_the_order_asked(desk):
    items = [f"item{n}" for n in range(200)]
    with transaction(desk.engine) as connection:
        Ledger(connection).append([make_opening_price(item) for item in reversed(items)])
    answer = desk.shop.get("/v1/prices", params={"item_id": items}).json()
    assert [each["item_id"] for each in answer["items"]] == items


@pytest.mark.parametrize(
    "path",
    [
        "/v1/prices?item_id=%00",
        "/v1/prices?item_id=a&item_id=%00&item_id=b",
        "/v1/prices?item_id=milk&at=0001-01-01T00:00:00%2B14:00",
        "/v1/prices?item_id=milk&zone=%00",
        "/v1/price-suggestions/%00",
        "/v1/price-suggestions?min_change=inf",
        "/v1/price-changes?after=99999999999999999999",
        "/v1/audit?actor=%00",
        "/v1/audit/verification?anchor_seq=1",
    ],
)
def test_what_no_database_can_look_for_is_refused(desk, path):
    statuses = {client.get(path).status_code for client in (desk.shop, desk.anna, desk.auditor)}
    assert statuses <= {422, 403}
    assert 422 in statuses


@pytest.mark.parametrize(
    "more",
    [
        {"reason": "a\x00b"},
        {"effective_from": "0001-01-01T00:00:00+14:00"},
        {"effective_from": "2018-01-01"},
    ],
)
def test_what_no_database_can_keep_is_refused(desk, more):
    (key,) = store_suggestions(desk.engine, make_suggestion("milk"))
    assert post(desk.anna, f"{key}/edit", {"suggested_price": "1.20", **more}).status_code == 422
    assert read_statuses(desk.engine, [key]) == ["submitted"]


def test_names_that_nobody_knows_are_refused_with_the_nearest_right_one(desk):
    store_suggestions(desk.engine, make_suggestion("milk", 110, category="Food > Dairy"))
    for path, meant in (
        ("/v1/price-suggestions?zone=defualt", "'default'"),
        ("/v1/price-suggestions?category=Foods", "'Food'"),
        ("/v1/price-suggestions?catgory=Food", "'category'"),
    ):
        answer = desk.reader.get(path)
        assert answer.status_code == 422, path
        assert f"Did you mean {meant}?" in answer.text
    named = desk.shop.get("/v1/prices?item_id=milk&zone=defualt").json()
    assert named["unknown"] == "unknown zone 'defualt'. Did you mean 'default'?"
    twice = desk.shop.get("/v1/prices?item_id=milk&zone=default&zone=north")
    assert twice.status_code == 422
    assert "zone is given 2 times" in twice.text
    assert desk.shop.get("/v1/prices?item_id=milk&item_id=tea").status_code == 200
    assert desk.reader.get("/v1/price-suggestions?category=Food&min_change=.9").status_code == 200


def test_of_two_approvers_at_once_exactly_one_wins(desk):
    keys = store_suggestions(desk.engine, *(make_suggestion(f"item{n}") for n in range(5)))
    together = Barrier(2)

    def approve_all(client):
        statuses = []
        for key in keys:
            together.wait(timeout=30)
            statuses.append(client.post(f"/v1/price-suggestions/{key}/approve").status_code)
        return statuses

    with ThreadPoolExecutor(2) as threads:
        anna, ben = threads.map(approve_all, (desk.anna, desk.ben))
    assert [sorted(pair) for pair in zip(anna, ben, strict=True)] == [[200, 409]] * 5
    log = desk.auditor.get("/v1/audit").json()["items"]
    assert sorted(entry["subject_id"] for entry in log if entry["action"] == "approve") == sorted(
        keys
    )
    changes = desk.reader.get("/v1/price-changes").json()["items"]
    assert sum(change["source"] == "desk" for change in changes) == 5
