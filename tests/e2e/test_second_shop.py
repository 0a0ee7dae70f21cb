"""A second, different shop goes from files to served prices, learns from events, and survives kill
-9.

A boutique with views and carts, real costs and stock, two zones in two currencies, taxes included
in prices.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.shops.shop_process import ShopProcess
from tests.shops.small_shop import NO_PERSONALIZATION, NOW, SETTINGS, SOLD_OUT, write_small_shop

pytestmark = pytest.mark.timeout(420)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShopProcess]:
    root = tmp_path_factory.mktemp("boutique")
    write_small_shop(root / "tables")
    home = root / "home"
    home.mkdir()
    # Sixteen weeks are little evidence: this shop lets grade C and unsure prices through, in a file
    # that holds only the difference.
    (root / "configs" / "pricing").mkdir(parents=True)
    (root / "configs" / "pricing" / "default.yaml").write_text(
        "min_grade: C\nmax_losing_share: 1.0\n"
    )
    process = ShopProcess(home, SETTINGS | {"SHOPWRIGHT_CONFIG_DIR": str(root / "configs")})
    report = process.run_json("import", str(root / "tables"))
    assert report["share_bad"] < 0.01
    process.run("features", "materialize")
    few = ("visits.max_learnt=2000", "visits.max_evaluated=500", "visits.ranker.n_trees=90")
    for name, settings in {"recommendations": few, "demand": (), "pricing": ()}.items():
        options = [word for text in settings for word in ("--set", text)]
        (trained,) = process.run_json("train", name, *options)["items"]
        assert trained["promoted"], trained["reason"]
    process.run_json("prices", "suggest")
    process.create_key(
        "storefront",
        "events",
        "pricing.read",
        "pricing.propose",
        "pricing.approve",
        "audit.read",
        "experiments.manage",
        "models.manage",
    )
    with process:
        yield process


def a_buyer(shop: ShopProcess) -> str:
    return "u001" if NO_PERSONALIZATION != "u001" else "u002"


def test_every_placement_answers(shop: ShopProcess) -> None:
    with shop.client() as http:
        item = http.get("/v1/recommendations", params={"placement": "trending", "count": 1}).json()[
            "items"
        ][0]["item_id"]
        for placement in (
            "home",
            "product",
            "bought_together",
            "cart",
            "trending",
            "new_arrivals",
            "buy_again",
            "discover",
        ):
            body = {
                "placement": placement,
                "user_id": a_buyer(shop),
                "item_ids": [item],
                "count": 5,
            }
            answer = http.post("/v1/recommendations", json=body)
            assert answer.status_code == 200, answer.text
            items = answer.json()["items"]
            assert [each["rank"] for each in items] == list(range(1, len(items) + 1))
            assert len({each["item_id"] for each in items}) == len(items) == 5


def test_a_view_is_seen_by_the_next_call_of_the_session(shop: ShopProcess) -> None:
    with shop.client() as http:
        asked = {
            "placement": "home",
            "visitor_id": "new-visitor",
            "session_id": "new-session",
            "count": 10,
        }
        before = http.post("/v1/recommendations", json=asked).json()
        assert before["fallback"] == "popular"
        viewed = [each["item_id"] for each in before["items"][-3:]]
        at = (NOW + timedelta(seconds=1)).isoformat()
        events = [
            {
                "event_type": "view_item",
                "occurred_at": at,
                "visitor_id": "new-visitor",
                "session_id": "new-session",
                "item_id": i,
            }
            for i in viewed
        ]
        accepted = http.post("/v1/events", json={"events": events})
        assert (accepted.status_code, accepted.json()["accepted"]) == (202, 3)
        after = http.post("/v1/recommendations", json=asked).json()
        assert after["fallback"] is None
        assert any(each["reason"] == "because_you_viewed" for each in after["items"])


def test_a_user_who_said_no_gets_a_slate_that_is_not_personal(shop: ShopProcess) -> None:
    with shop.client() as http:
        asked = {"placement": "home", "count": 10}
        refused = http.post(
            "/v1/recommendations", json=asked | {"user_id": NO_PERSONALIZATION}
        ).json()
        anonymous = http.post("/v1/recommendations", json=asked).json()
        assert [i["item_id"] for i in refused["items"]] == [
            i["item_id"] for i in anonymous["items"]
        ]


def test_what_is_sold_out_in_a_zone_is_not_shown_there(shop: ShopProcess) -> None:
    with shop.client() as http:

        def shown(zone: str, **more: object) -> set[str]:
            body = {
                "placement": "home",
                "count": 100,
                "zone": zone,
                "filter": {"category": ["Fashion > Tops"]},
                **more,
            }
            return {
                item["item_id"]
                for item in http.post("/v1/recommendations", json=body).json()["items"]
            }

        assert SOLD_OUT in shown("north")
        assert SOLD_OUT not in shown("south")
        assert SOLD_OUT in shown("south", in_stock_only=False)


def test_an_approved_price_is_served_moves_the_forecast_and_survives_kill_9(
    shop: ShopProcess,
) -> None:
    with shop.client() as http:
        waiting = {"status": ["submitted", "suggested"]}
        queue = http.get("/v1/price-suggestions", params=waiting).json()["items"]
        assert {each["currency"] for each in queue} <= {"EUR", "SEK"}
        chosen = max(
            queue,
            key=lambda each: abs(float(each["suggested_price"]) / float(each["current_price"]) - 1),
        )
        where = {"item_id": chosen["item_id"], "zone": chosen["zone"]}
        forecast_before = http.get(
            f"/v1/forecasts/{chosen['item_id']}", params={"zone": chosen["zone"]}
        ).json()
        url = f"/v1/price-suggestions/{chosen['id']}"
        if chosen["status"] == "suggested":  # the run waits for an analyst, who lets it go on
            submitted = http.post(f"{url}/submit", json={"reason": "looked at"})
            assert submitted.status_code == 200, submitted.text
        etag = http.get(url).headers["etag"]
        approved = http.post(f"{url}/approve", headers={"If-Match": etag}, json={})
        assert approved.status_code == 200, approved.text
        price = http.get("/v1/prices", params=where).json()["items"][0]
        assert price["offer_price"] == chosen["suggested_price"]
        assert price["currency"] == {"north": "EUR", "south": "SEK"}[chosen["zone"]]
        forecast_after = http.get(
            f"/v1/forecasts/{chosen['item_id']}", params={"zone": chosen["zone"]}
        ).json()
        assert forecast_after != forecast_before
    shop.kill()
    shop.start()
    with shop.client() as http:
        assert (
            http.get("/v1/prices", params=where).json()["items"][0]["offer_price"]
            == chosen["suggested_price"]
        )
        assert http.get(url).json()["status"] == "live"
        assert (
            http.get(f"/v1/forecasts/{chosen['item_id']}", params={"zone": chosen["zone"]}).json()
            == forecast_after
        )
        assert any(chosen["id"] in str(entry) for entry in http.get("/v1/audit").json()["items"])


def test_exposures_and_purchases_reach_the_experiment_report(shop: ShopProcess) -> None:
    with shop.client() as http:
        start = "/v1/experiments/home_ranker/start?accept_worse=true"
        assert http.post(start).json()["status"] == "running"
        users = [f"u{n:03}" for n in range(20, 60)]
        for user in users:
            http.post(
                "/v1/recommendations", json={"placement": "home", "user_id": user, "count": 5}
            )
        at = shop.now().isoformat()
        events = [
            {
                "event_type": "purchase",
                "occurred_at": at,
                "user_id": user,
                "item_id": "sku-001",
                "line_amount": "20.00",
                "zone": "north",
            }
            for user in users
        ]
        assert http.post("/v1/events", json={"events": events}).json()["accepted"] == len(users)
    shop.stop()  # the drain writes the exposures that are still waiting
    shop.start()
    with shop.client() as http:
        results = http.get("/v1/experiments/home_ranker/results").json()
        variants = results["variants"]
        assert sum(variant["n"] for variant in variants) >= len(users)
        buyers = sum(
            each["n"] * each["metrics"]["purchase_conversion"]["mean"] for each in variants
        )
        revenue = sum(
            each["n"] * float(each["metrics"]["revenue_per_unit"]["mean"]) for each in variants
        )
        assert (results["currency"], results["other_currency"]) == ("EUR", ["south"])
        assert buyers == pytest.approx(len(users))
        assert revenue == pytest.approx(20.00 * len(users), abs=0.01)


def test_items_of_which_too_little_is_known_get_a_price_test(
    shop: ShopProcess, tmp_path: Path
) -> None:
    out = tmp_path / "tests.csv"
    tests = shop.run_json("prices", "tests", "--zone", "north", "--out", str(out))["items"]
    assert out.read_text(encoding="utf-8").count("\n") == len(tests) + 1
    assert all(each["evidence_grade"] in ("C", "D") for each in tests)
    assert all(each["lower_price_minor"] < each["higher_price_minor"] for each in tests)


def test_a_price_asked_with_a_person_is_refused(shop: ShopProcess) -> None:
    with shop.client() as http:
        answer = http.get(
            "/v1/prices", params={"item_id": "sku-001", "zone": "north", "user_id": "u001"}
        )
        assert answer.status_code == 422
        assert answer.headers["content-type"].startswith("application/problem+json")


def test_events_of_the_day_are_in_the_next_training(shop: ShopProcess, tmp_path: Path) -> None:
    later = (NOW + timedelta(hours=1)).isoformat()
    before = shop.run_json("features", "build", "--as-of", later)["users"]
    with shop.client() as http:
        at = (NOW + timedelta(seconds=3)).isoformat()
        event = {
            "event_type": "purchase",
            "occurred_at": at,
            "user_id": "brand-new",
            "item_id": "sku-002",
            "line_amount": "9.00",
            "zone": "north",
        }
        assert (
            http.post("/v1/events", json={"events": [event, event | {"event_id": "x1"}]}).json()[
                "accepted"
            ]
            == 2
        )
    assert shop.run_json("features", "build", "--as-of", later)["users"] == before + 1
    out = tmp_path / "forecasts.parquet"
    assert shop.run_json("forecasts", "export", "--horizon", "4", "--out", str(out))["weeks"] == 4
