"""The next page of a slate, what the visitor viewed or has in the cart, and rotation."""

from __future__ import annotations

import time
from datetime import timedelta
from types import SimpleNamespace

import pytest
from fastapi.testclient import TestClient

from features.contracts.errors import BadInput
from serving.app import create_app
from serving.recommendations import shown_slates
from serving.recommendations.shown_slates import MAX_PAGES, ShownSlates
from tests.shops.served_shop import NOW


def ask(shop, placement="home", **body):
    answer = shop.client.post("/v1/recommendations", json={"placement": placement, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(answer):
    return [item["item_id"] for item in answer["items"]]


def send(shop, *events):
    rows = [
        {"event_type": kind, "item_id": item, "occurred_at": NOW.isoformat(), **who}
        for kind, item, who in events
    ]
    answer = shop.client.post("/v1/events", json={"events": rows})
    assert answer.json()["accepted"] == len(rows), answer.text


def test_pages_share_no_item_and_add_up_to_the_whole_slate(shared):
    whole = ids(ask(shared, "trending", count=6, in_stock_only=False))
    first = ask(shared, "trending", count=2, in_stock_only=False)
    second = ask(shared, "trending", count=2, in_stock_only=False, after=id_of(first))
    third = ask(shared, "trending", count=9, in_stock_only=False, after=id_of(second))
    assert ids(first) + ids(second) + ids(third) == whole
    assert [item["rank"] for item in second["items"]] == [1, 2]
    assert ids(ask(shared, "trending", after=id_of(third), in_stock_only=False)) == []


def id_of(answer):
    return answer["recommendation_id"]


def test_another_worker_answers_the_next_page(served):
    first = ask(served, "trending", count=2)
    key = served.keys.create("worker", ["storefront"]).key
    with TestClient(create_app(served.settings)) as client:
        client.headers["Authorization"] = f"Bearer {key}"
        other = SimpleNamespace(client=client)
        second = ask(other, "trending", count=2, after=id_of(first))
        assert id_of(second) != id_of(first)
        third = ask(served, "trending", count=2, after=id_of(second))
    pages = [ids(first), ids(second), ids(third)]
    assert len({item for page in pages for item in page}) == sum(map(len, pages)) == 5


def test_a_page_of_many_slates_goes_on_slate_by_slate(shared):
    body = {"placements": ["trending"], "count": 2}
    (first,) = shared.client.post("/v1/recommendations/page", json=body).json()["slates"]
    more = {"placements": [{"placement": "trending", "after": id_of(first)}], "count": 2}
    (second,) = shared.client.post("/v1/recommendations/page", json=more).json()["slates"]
    assert not set(ids(first)) & set(ids(second))


@pytest.mark.parametrize(
    ("after", "message"),
    [
        ("0" * 32, "no slate"),
        ("x", "no recommendation_id"),
        ("ff" * 16, "no slate"),
    ],
)
def test_an_unknown_page_is_refused_and_the_hint_says_what_to_send(shared, after, message):
    body = {"placement": "home", "after": after}
    answer = shared.client.post("/v1/recommendations", json=body)
    assert answer.status_code == 422
    assert message in answer.json()["detail"]
    assert answer.json()["where"] == "after"


def test_a_page_is_of_its_placement_and_ends(shared, monkeypatch):
    first = ask(shared, "trending", count=1)
    body = {"placement": "home", "after": id_of(first)}
    answer = shared.client.post("/v1/recommendations", json=body)
    assert "of another placement" in answer.json()["detail"]
    later = time.time() + 3_601
    monkeypatch.setattr(shown_slates.time, "time", lambda: later)
    body["placement"] = "trending"
    answer = shared.client.post("/v1/recommendations", json=body)
    assert "older than an hour" in answer.json()["detail"]


def test_the_ring_is_bounded_and_forgets_the_oldest(tmp_path, monkeypatch):
    monkeypatch.setattr(shown_slates, "N_SLATES", 64)
    slates = ShownSlates(tmp_path / "ring")
    made = [slates.make_id() for _ in range(100)]
    for n, page in enumerate(made):
        slates.remember(page, "home", [f"item {n}"], None)
    items = shown_slates.np.array([f"item {n}" for n in range(100)], object)
    assert slates.find_shown(made[99], "home", items) == {"item 99"}
    assert slates.find_shown(made[36], "home", items) == {"item 36"}
    with pytest.raises(BadInput, match="no slate"):
        slates.find_shown(made[35], "home", items)
    assert (tmp_path / "ring").stat().st_size == 4_096 + 64 * 512
    # Another process claims other places.
    assert not {*made} & {ShownSlates(tmp_path / "ring").make_id() for _ in range(40)}


def test_a_slate_has_a_last_page(tmp_path):
    slates, after = ShownSlates(tmp_path / "ring"), None
    items = shown_slates.np.array(["a"], object)
    for _ in range(MAX_PAGES + 1):
        page = slates.make_id()
        slates.remember(page, "home", ["a"], after)
        after = page
    with pytest.raises(BadInput, match="at most 20 further pages"):
        slates.find_shown(after, "home", items)


def test_without_a_file_slates_are_made_and_have_no_further_page(tmp_path):
    slates = ShownSlates(tmp_path / "no folder" / "ring")
    page = slates.make_id()
    slates.remember(page, "home", ["a"], None)
    with pytest.raises(BadInput, match="no slate"):
        slates.find_shown(page, "home", shown_slates.np.array(["a"], object))


def test_what_was_viewed_or_is_in_the_cart_is_left_out(served):
    visitor = {"visitor_id": "v1"}
    send(served, ("view_item", "beer", visitor), ("add_to_cart", "wine", visitor))
    send(served, ("add_to_cart", "bread", visitor), ("add_to_cart", "milk", {"visitor_id": "v2"}))
    everything = set(ids(ask(served, **visitor)))
    assert {"beer", "wine", "bread", "milk"} <= everything
    carted = set(ids(ask(served, **visitor, exclude_carted=True)))
    assert everything - carted == {"wine", "bread"}
    viewed = set(ids(ask(served, **visitor, exclude_viewed=True)))
    assert everything - viewed == {"beer", "wine", "bread"}
    later = {"occurred_at": (NOW + timedelta(seconds=1)).isoformat()}
    send(served, ("remove_from_cart", "wine", visitor | later))
    send(served, ("purchase", "bread", visitor | later | {"order_id": "o1"}))
    time.sleep(1.1)  # the shop's clock ticks: the events are not in its future any more
    assert {"wine", "bread"} <= set(ids(ask(served, **visitor, exclude_carted=True)))


def test_a_signed_in_visitor_has_one_cart(served):
    who = {"user_id": "u00", "visitor_id": "v1", "session_id": "s1"}
    send(served, ("add_to_cart", "beer", {"visitor_id": "v1"}))
    send(served, ("add_to_cart", "wine", {"user_id": "u00"}))
    send(served, ("add_to_cart", "milk", {"user_id": "u01", "visitor_id": "v1"}))
    slate = set(ids(ask(served, **who, exclude_carted=True)))
    assert {"beer", "wine"}.isdisjoint(slate)
    assert "milk" in slate


def test_items_that_are_shown_and_never_clicked_sink(served):
    who, body = {"visitor_id": "v1"}, {"placement": "trending", "rotate": 0.9}
    usual = ids(ask(served, "trending", count=5))
    for _ in range(3):
        ask(served, **body, **who, count=2)
    wait_for_slates(served, 1 + 3)
    first, second = usual[:2]
    rotated = ids(ask(served, **body, **who, count=5))
    assert set(rotated) == set(usual)
    assert set(rotated[:3]) == set(usual[2:5])
    assert ids(ask(served, **body, **who, count=5)) == rotated
    # Others, and who does not ask for it, see the usual slate.
    assert ids(ask(served, **body, visitor_id="v2", count=5)) == usual
    assert ids(ask(served, "trending", **who, count=5)) == usual
    # A click keeps an item where it is.
    send(served, ("select_item", first, who))
    assert ids(ask(served, **body, **who, count=5))[0] == first
    assert second not in ids(ask(served, **body, **who, count=3))


def wait_for_slates(shop, n):
    deadline = time.monotonic() + 10
    while shop.server.exposures.written < n:
        assert time.monotonic() < deadline
        time.sleep(0.05)
