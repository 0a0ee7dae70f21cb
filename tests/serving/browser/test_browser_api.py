"""What a publishable key may do, and what a thief of it may not."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from features.contracts.errors import BadInput, Forbidden
from features.database import reading
from features.database_tables import events
from features.facts.facts import Facts
from serving.access import Caller
from serving.app import create_app
from serving.browser.api import TokenRequest, post_tokens
from serving.browser.service import AddressLimits, TooManyRequests
from serving.cli.main import app as command_line
from tests.shops.event_tables import make_table
from tests.shops.served_shop import NOW, run_shop

ORIGIN = "https://shop.example"


@pytest.fixture
def browser(served):
    """A client that holds a publishable key alone."""
    key = served.keys.create("page", ["browser"]).key
    assert key.startswith("pub_")
    client = TestClient(served.app)
    client.headers["Authorization"] = f"Bearer {key}"
    return client


def get_visitor(browser) -> dict[str, str]:
    return browser.post("/v1/browser/visitors").json()


def ask(browser, placement="home", **body):
    return browser.post("/v1/browser/page", json={"placements": [placement], **body})


def make_event(kind="view_item", item="beer", **values):
    return {"event_type": kind, "item_id": item, "occurred_at": NOW.isoformat(), **values}


def read_events(shop):
    with reading(shop.server.engine) as connection:
        rows = connection.execute(sa.select(events).order_by(events.c.item_id))
        return [dict(row) for row in rows.mappings()]


def test_a_page_gets_slates_that_follow_its_own_visitor(served, browser):
    visitor = get_visitor(browser)
    before = ask(browser, **visitor).json()["slates"][0]
    sent = browser.post(
        "/v1/browser/events", json={**visitor, "events": [make_event(session_id="s1")]}
    )
    assert (sent.status_code, sent.json()["accepted"]) == (202, 1)
    (row,) = read_events(served)
    assert (row["visitor_id"], row["user_id"]) == (visitor["visitor_id"], None)
    assert row["session_id"] == f"{visitor['visitor_id']}.s1"
    body = {**visitor, "exclude_viewed": True}
    after = ask(browser, **body).json()["slates"][0]
    shown = [{item["item_id"] for item in slate["items"]} for slate in (before, after)]
    assert shown[0] - shown[1] == {"beer"}


def test_nobody_reads_a_visitor_or_a_user_without_their_proof(served, browser):
    visitor, thief = get_visitor(browser), get_visitor(browser)
    for body in (
        {"visitor_id": visitor["visitor_id"]},
        {"visitor_id": visitor["visitor_id"], "visitor_token": thief["visitor_token"]},
        {"visitor_id": visitor["visitor_id"], "visitor_token": "☃"},
        {"visitor_id": "v1", "visitor_token": ""},
        {"user_id": "u00"},
        {"user_id": "u00", **thief},
        {"user_id": "u00", "user_token": visitor["visitor_token"]},
    ):
        answer = ask(browser, **body)
        assert answer.status_code == 403, body
        assert answer.json()["where"] in ("visitor_token", "user_token")
        sent = browser.post("/v1/browser/events", json={**body, "events": [make_event()]})
        assert sent.status_code == 403
    assert read_events(served) == []


def test_a_session_of_somebody_else_shows_nothing(served, browser):
    viewed = [make_event(item=item, session_id="s1") for item in ("beer", "wine", "milk")]
    served.client.post("/v1/events", json={"events": viewed})
    theirs = {"placement": "home", "session_id": "s1"}
    personal = served.client.post("/v1/recommendations", json=theirs).json()
    assert personal["fallback"] is None
    (slate,) = ask(browser, session_id="s1").json()["slates"]
    assert slate["fallback"] == "popular"


def test_the_shops_server_proves_who_has_signed_in_until_the_proof_ends(served, browser):
    body = {"user_id": "u00", "visitor_id": "v1", "hours": 1}
    tokens = served.client.post("/v1/browser-tokens", json=body).json()
    assert browser.post("/v1/browser-tokens", json=body).status_code == 403
    ids = {
        "user_id": "u00",
        "user_token": tokens["user_token"],
        "visitor_id": "v1",
        "visitor_token": tokens["visitor_token"],
    }
    (slate,) = ask(browser, "buy_again", strict=True, **ids).json()["slates"]
    assert {item["item_id"] for item in slate["items"]} == {"beer", "wine"}
    assert ask(browser, **ids | {"user_id": "u01"}).status_code == 403
    browser.post("/v1/browser/events", json={**ids, "events": [make_event()]})
    (row,) = read_events(served)
    assert (row["user_id"], row["visitor_id"]) == ("u00", "v1")
    served.server.browser.tokens._clock = FrozenClock(tokens["expires_at"])
    ended = ask(browser, **ids)
    assert (ended.status_code, ended.json()["detail"]) == (403, "user_token has ended")


def test_a_person_proves_nobodys_id(served):
    analyst = Caller("ana", "Ana", frozenset({"storefront"}), is_person=True)
    with pytest.raises(Forbidden, match="a person proves nobody's id"):
        post_tokens(served.server.browser, analyst, TokenRequest(user_id="u01", hours=720))


class FrozenClock:
    def __init__(self, text: str) -> None:
        self._now = datetime.fromisoformat(text)

    def now(self):
        return self._now


def test_every_worker_knows_the_proofs(served, browser):
    visitor = get_visitor(browser)
    key = browser.headers["Authorization"]
    with TestClient(create_app(served.settings)) as other:
        other.headers["Authorization"] = key
        assert ask(other, **visitor).status_code == 200
    secret = served.settings.home / "browser-secret"
    assert secret.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (make_event("purchase"), "event_type: a page reports"),
        (make_event("refund"), "event_type: a page reports"),
        (make_event(user_id="u00"), "a page does not report user_id"),
        (make_event(visitor_id="v1"), "a page does not report visitor_id"),
        (make_event(unit_price="0.01"), "a page does not report unit_price"),
        (make_event(color="red"), "a page does not report color"),
        (make_event(item="nonsense"), "item_id: is not in the catalogue"),
        (make_event(item=["beer"]), "item_id: is not in the catalogue"),
        (
            make_event() | {"event_type": "search", "query": "wine"},
            "query: a search has one of at most 1000 characters, and no item_id",
        ),
        (
            make_event() | {"occurred_at": (NOW - timedelta(days=2)).isoformat()},
            "occurred_at: lies more than a day back",
        ),
        (make_event() | {"occurred_at": "yesterday"}, "occurred_at: 'yesterday' is no time"),
    ],
)
def test_what_a_page_may_not_report_is_refused_and_the_rest_is_stored(
    served, browser, event, reason
):
    body = {**get_visitor(browser), "events": [make_event(item="wine"), event]}
    answer = browser.post("/v1/browser/events", json=body).json()
    assert answer["accepted"] == 1
    (rejected,) = answer["rejected"]
    assert (rejected["index"], rejected["reason"][: len(reason)]) == (1, reason)
    assert [row["item_id"] for row in read_events(served)] == ["wine"]


def test_a_page_reports_what_was_searched_for_without_an_item(served, browser):
    visitor = get_visitor(browser)
    search = {"event_type": "search", "occurred_at": NOW.isoformat(), "query": "beer"}
    sent = browser.post("/v1/browser/events", json={**visitor, "events": [search]})
    assert (sent.json()["accepted"], sent.json()["rejected"]) == (1, [])
    (row,) = read_events(served)
    assert (row["item_id"], json.loads(row["attributes"])) == ("", {"query": "beer"})
    view = {**search, "event_type": "view_item"}
    sent = browser.post("/v1/browser/events", json={**visitor, "events": [view]})
    assert sent.json()["accepted"] == 0


def test_a_page_neither_takes_an_id_of_the_shops_events_nor_learns_what_is_stored_under_it(
    served, browser
):
    order = {
        "event_id": "order-1001-1",
        "event_type": "purchase",
        "item_id": "wine",
        "occurred_at": NOW.isoformat(),
        "user_id": "u00",
        "quantity": 3,
        "unit_price": "2.00",
    }
    guess = make_event("add_to_cart", "wine", event_id="order-1001-1", quantity=3)
    body = {**get_visitor(browser), "events": [guess]}
    assert browser.post("/v1/browser/events", json=body).json()["accepted"] == 1
    sent = served.client.post("/v1/events", json={"events": [order]}).json()
    assert (sent["accepted"], sent["rejected"]) == (1, [])
    again = browser.post("/v1/browser/events", json=body).json()  # as after a lost answer
    assert (again["accepted"], again["duplicates"], again["rejected"]) == (0, 1, [])
    without_ids = browser.post("/v1/browser/events", json={"events": [guess]}).json()
    assert (without_ids["accepted"], without_ids["rejected"]) == (1, [])


def test_a_beacon_sends_text_and_the_key_in_the_address(served, browser):
    key = browser.headers["Authorization"].removeprefix("Bearer ")
    body = (
        '{"events": [{"event_type": "view_item", "item_id": "beer", "occurred_at": "2018-01-01"}]}'
    )
    beacon = TestClient(served.app)
    address = f"/v1/browser/events?key={key}"
    sent = beacon.post(address, content=body, headers={"Content-Type": "text/plain"})
    assert (sent.status_code, sent.json()["accepted"]) == (202, 1)
    assert beacon.post("/v1/browser/events?key=pub_x", content=body).status_code == 401
    # A key in the address opens no other route.
    assert beacon.post(f"/v1/events?key={key}", json={"events": []}).status_code == 401
    bad = beacon.post(address, content="{", headers={"Content-Type": "text/plain"})
    assert bad.status_code == 422


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/recommendations", {"placement": "home", "user_id": "u00"}),
        ("POST", "/v1/recommendations/page", {"placements": ["home"]}),
        ("POST", "/v1/rank", {"item_ids": ["beer"]}),
        ("POST", "/v1/events", {"events": []}),
        ("GET", "/v1/prices?item_id=beer", None),
        ("GET", "/v1/promotions/live", None),
        ("GET", "/v1/items/beer", None),
        ("GET", "/v1/people/me", None),
    ],
)
def test_a_publishable_key_opens_no_other_route(browser, method, path, body):
    expected = 200 if path == "/v1/people/me" else 403  # any key may ask what it is
    assert browser.request(method, path, json=body).status_code == expected


def test_pages_see_public_attributes_alone_and_no_explanation(tiny):
    items = [{"item_id": "beer", "attributes": '{"color":"gold","supplier":"Alfa"}'}]
    Facts(tiny).write({"items": make_table("items", items)})
    for shop in run_shop(tiny.model_copy(update={"public_attributes": ("color",)})):
        shop.client.headers["Authorization"] = f"Bearer {shop.keys.create('p', ['browser']).key}"
        (slate,) = ask(shop.client, fields=["color", "price"]).json()["slates"]
        assert {"color", "price"} == set(slate["items"][0]["fields"])
        gold = {"attributes": {"color": ["gold"]}}
        (slate,) = ask(shop.client, filter=gold).json()["slates"]
        assert [item["item_id"] for item in slate["items"]] == ["beer"]
        for body in (
            {"fields": ["supplier"]},
            {"fields": ["unit_cost"]},
            {"filter": {"attributes": {"supplier": ["Alfa"]}}},
            {"explain": True},
        ):
            refused = ask(shop.client, **body)
            assert refused.status_code == 422
            assert "Alfa" not in refused.text


def test_pages_of_listed_origins_alone_read_answers(tiny):
    for shop in run_shop(tiny.model_copy(update={"cors_origins": (ORIGIN,)})):
        preflight = {
            "Origin": ORIGIN,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        }
        allowed = shop.client.options("/v1/browser/page", headers=preflight)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == ORIGIN
        assert "access-control-allow-credentials" not in allowed.headers
        body = {"placements": ["home"]}
        key = shop.keys.create("p", ["browser"]).key
        headers = {"Origin": ORIGIN, "Authorization": f"Bearer {key}"}
        answer = shop.client.post("/v1/browser/page", json=body, headers=headers)
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        # Also of errors, so that a page can read why.
        refused = shop.client.post("/v1/browser/page", json={}, headers=headers)
        assert refused.headers["access-control-allow-origin"] == ORIGIN
        other = headers | {"Origin": "https://other.example"}
        answer = shop.client.post("/v1/browser/page", json=body, headers=other)
        assert "access-control-allow-origin" not in answer.headers
        answer = shop.client.options("/v1/recommendations", headers=preflight)
        assert "access-control-allow-origin" not in answer.headers


def test_without_the_setting_no_page_of_another_origin_reads_anything(browser):
    answer = browser.post(
        "/v1/browser/page", json={"placements": ["home"]}, headers={"Origin": ORIGIN}
    )
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


def test_an_address_has_so_many_requests_a_minute(tiny):
    for shop in run_shop(tiny.model_copy(update={"browser_requests_per_minute": 3})):
        codes = [shop.client.post("/v1/browser/visitors") for _ in range(4)]
        assert [answer.status_code for answer in codes] == [200, 200, 200, 429]
        assert int(codes[-1].headers["Retry-After"]) >= 1
        # Other routes have no such limit.
        assert shop.client.post("/v1/events", json={"events": []}).status_code == 202


def test_limits_count_each_address_and_forget_the_oldest(monkeypatch):
    monkeypatch.setattr("serving.browser.service._MAX_ADDRESSES", 2)
    limits = AddressLimits(1)
    limits.check("a")
    limits.check("b")
    with pytest.raises(TooManyRequests):
        limits.check("a")
    limits.check("c")
    assert len(limits._buckets) == 2


def test_the_client_is_served_without_a_key_and_cached(browser):
    script = browser.get("/client.js", headers={"Authorization": ""})
    assert script.status_code == 200
    assert script.headers["content-type"].startswith("text/javascript")
    again = browser.get("/client.js", headers={"If-None-Match": script.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_publishable_key_is_made_alone(served, monkeypatch):
    monkeypatch.setenv("SHOPWRIGHT_HOME", str(served.settings.home))
    words = ["keys", "create", "--scope", "browser,storefront", "--name", "page"]
    result = CliRunner().invoke(command_line, words)
    assert isinstance(result.exception, BadInput)
    assert "no other scope" in str(result.exception)
