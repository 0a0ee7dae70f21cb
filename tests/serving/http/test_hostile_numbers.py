"""Numbers and texts that no shop writes, at every door of the real server: refused at once, while
others are served."""

from __future__ import annotations

import threading
import time

import httpx
import pytest

from tests.shops.shop_process import ShopProcess

HOSTILE = [
    "9E+999990",
    "1E+999999",
    "-9E+999990",
    "1e-999990",
    "１２",
    "12_0",
    "0x10",
    "NaN",
    "9" * 31,
]
NOW = "2024-06-03T00:00:00Z"


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A served shop that has a price list."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "events.csv").write_text(
        "event_type,occurred_at,item_id,unit_price\npurchase,2024-05-01T10:00:00Z,tea,5\n"
    )
    (folder / "items.csv").write_text("item_id,list_price\ntea,5\n")
    process = ShopProcess(folder / "home", {"SHOPWRIGHT_CLOCK_START": NOW})
    process.run("import", str(folder))
    process.create_key("storefront", "events", "pricing.read", "pricing.propose")
    process.start(until="/healthz")
    yield process
    process.stop()


def list_requests(number):
    """The requests that take an amount of money, each with `number` as the amount."""
    event = {"event_type": "purchase", "occurred_at": "2024-06-01T00:00:00Z", "item_id": "tea"}
    what_if = {
        "item_ids": ["tea"],
        "starts_at": NOW,
        "ends_at": "2024-06-10T00:00:00Z",
        "mechanic": "spend_save",
    }
    return {
        **{
            f"events {name}": ("/v1/events", {"events": [{**event, name: number}]})
            for name in ("unit_price", "line_amount", "list_price", "quantity", "rank")
        },
        "filter": (
            "/v1/recommendations",
            {"placement": "home", "filter": {"price_max": number}},
        ),
        "simulate": ("/v1/prices/simulate", {"item_id": "tea", "prices": [number]}),
        **{
            f"promotion {name}": ("/v1/promotions/simulate", {**what_if, name: number})
            for name in ("amount", "threshold", "mean_basket")
        },
        "edit": ("/v1/price-suggestions/sug_1/edit", {"suggested_price": number}),
    }


def test_hostile_amounts_are_refused_while_others_are_served(shop):
    slowest = 0.0
    stop = threading.Event()

    def shop_on():
        nonlocal slowest
        with shop.client() as client:
            while not stop.is_set():
                began = time.monotonic()
                answer = client.get("/v1/prices", params={"item_id": "tea"})
                assert answer.json()["items"][0]["offer_price"] == "5.00"
                slowest = max(slowest, time.monotonic() - began)
                time.sleep(0.02)

    other = threading.Thread(target=shop_on)
    other.start()
    try:
        with shop.client() as client:
            for number in HOSTILE:
                for name, (path, body) in list_requests(number).items():
                    answer = client.post(path, json=body, headers={"Idempotency-Key": f"{name}"})
                    assert_refused(answer, f"{name} {number}")
    finally:
        stop.set()
        other.join()
    assert 0 < slowest < 5


def assert_refused(answer: httpx.Response, request: str) -> None:
    if answer.status_code == 202:
        assert answer.json()["accepted"] == 0, request
        assert len(answer.json()["rejected"]) == 1, request
    else:
        assert answer.status_code == 422, f"{request}: {answer.text}"


def test_hostile_amounts_of_files_are_quarantined_and_of_options_refused(shop, tmp_path):
    head = "item_id,valid_from,list_price,offer_price\n"
    rows = "".join(f"tea,2024-05-{day + 1:02},5,{text}\n" for day, text in enumerate(HOSTILE))
    (tmp_path / "price_history.csv").write_text(head + rows)
    began = time.monotonic()
    shop.run("import", str(tmp_path), expect=2)
    (tmp_path / "price_history.csv").write_text(f"{head}tea,2024-04-01,5,5\n{rows}")
    report = shop.run_json("import", str(tmp_path), "--max-bad-share", "1")
    assert report["tables"]["price_history"]["quarantined"] == {
        "offer_price is no amount of money": len(HOSTILE)
    }
    assert time.monotonic() - began < 30


def test_texts_and_zones_that_nobody_can_keep_harm_no_later_import(shop, tmp_path):
    """A NUL, and sixty invented zones, over HTTP and in a file: refused, and others go on."""
    good = {"event_type": "view_item", "occurred_at": "2024-06-01T00:00:00Z", "item_id": "tea"}
    bad = [good | {"item_id": "a\x00b"}, *(good | {"zone": f"z{n}"} for n in range(60))]
    with shop.client() as client:
        answer = client.post("/v1/events", json={"events": [*bad, good]}).json()
        assert (answer["accepted"], len(answer["rejected"])) == (1, len(bad))
        reasons = [row["reason"] for row in answer["rejected"]]
        assert "a character that cannot be kept" in reasons[0]
        assert all("is unknown" in reason for reason in reasons[1:])
    names = ("event_type", "occurred_at", "item_id", "zone")
    rows = [",".join(row.get(name, "") for name in names) for row in [*bad, good]]
    (tmp_path / "events.csv").write_text("\n".join([",".join(names), *rows]))
    report = shop.run_json("import", str(tmp_path), "--max-bad-share", "1")
    assert sum(report["tables"]["events"]["quarantined"].values()) == len(bad)
    (tmp_path / "events.csv").write_text("\n".join([",".join(names), rows[-1]]))
    assert shop.run_json("import", str(tmp_path))["tables"]["events"]["unchanged"] == 1
    with shop.client() as client:
        assert client.get("/v1/prices", params={"item_id": "tea"}).json()["items"]
