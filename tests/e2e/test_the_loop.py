"""The loop closes: a week of events over HTTP, an approved price and a retraining change what is
served, and stay.

The boutique of tests.shops opens a week early. Its last week is kept back and replayed over HTTP,
as it happened.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from features.contracts.calendar import add_weeks
from tests.shops.shop_process import ShopProcess
from tests.shops.small_shop import NOW, SETTINGS, TIMEZONE, write_small_shop

pytestmark = pytest.mark.timeout(420)

OPENING = add_weeks(NOW, -1, TIMEZONE)
BATCH = 1_000  # events a call may hold


def keep_back_the_last_week(tables: Path) -> list[dict[str, Any]]:
    """Cuts the table `events` at OPENING; what occurred from then on, in order."""
    parts = sorted((tables / "events").glob("*.parquet"))
    rows = pa.concat_tables(pq.read_table(part) for part in parts)
    for part in parts:
        part.unlink()
    later = pc.greater_equal(rows["occurred_at"], pa.scalar(OPENING))
    pq.write_table(rows.filter(pc.invert(later)), tables / "events" / "until-opening.parquet")
    held_out = rows.filter(later).sort_by("occurred_at").to_pylist()
    return [
        {name: _plain(value) for name, value in row.items() if value is not None}
        for row in held_out
    ]


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


@pytest.fixture(scope="module")
def opened(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[ShopProcess, list[dict[str, Any]]]]:
    """The shop on its opening day, trained and served, and the events of the week to come."""
    root = tmp_path_factory.mktemp("loop")
    write_small_shop(root / "tables")
    week = keep_back_the_last_week(root / "tables")
    (root / "configs" / "pricing").mkdir(parents=True)
    (root / "configs" / "pricing" / "default.yaml").write_text(
        "min_grade: C\nmax_losing_share: 1.0\n"
    )
    (root / "configs" / "models").mkdir()
    (root / "configs" / "models" / "recommendations.yaml").write_text(
        "visits: {max_learnt: 2000, max_evaluated: 500, ranker: {n_trees: 90}}\n"
    )
    settings = SETTINGS | {
        "SHOPWRIGHT_CLOCK_START": OPENING.isoformat(),
        "SHOPWRIGHT_CONFIG_DIR": str(root / "configs"),
    }
    (root / "home").mkdir()
    shop = ShopProcess(root / "home", settings)
    shop.run("import", str(root / "tables"))
    trained = shop.run_json("retrain")["items"]
    assert all(each["promoted"] for each in trained), [each["reason"] for each in trained]
    shop.run("prices", "suggest")
    shop.run("experiments", "start", "home_ranker", "--accept-worse")
    shop.create_key(
        "storefront",
        "events",
        "pricing.read",
        "pricing.approve",
        "experiments.manage",
        "models.manage",
    )
    with shop:
        yield shop, week


def seen(http: httpx.Client, price: dict[str, str], users: list[str]) -> dict[str, Any]:
    """All that the shop shows: price, forecast, models, experiment and slates."""
    forecast = http.get(f"/v1/forecasts/{price['item_id']}", params={"zone": price["zone"]}).json()
    models = http.get("/v1/models").json()["items"]
    results = http.get("/v1/experiments/home_ranker/results").json()
    return {
        "offer_price": http.get("/v1/prices", params=price).json()["items"][0]["offer_price"],
        "forecast": forecast,
        "champions": {
            each["name"]: each["version"] for each in models if "champion" in each["aliases"]
        },
        "revenue": sum(
            v["n"] * float(v["metrics"]["revenue_per_unit"]["mean"] or 0)
            for v in results["variants"]
        ),
        "units": sum(variant["n"] for variant in results["variants"]),
        "slates": {user: slate(http, user) for user in users},
    }


def slate(http: httpx.Client, user: str) -> list[str]:
    answer = http.post(
        "/v1/recommendations", json={"placement": "home", "user_id": user, "count": 10}
    )
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


def wait_for(http: httpx.Client, versions: dict[str, str]) -> None:
    """Until the running server serves these versions; it looks for news every two seconds."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        answer = http.post(
            "/v1/recommendations", json={"placement": "home", "user_id": "u001", "count": 1}
        ).json()
        if answer["model"]["version"] == versions["recommendations"]:
            return
        time.sleep(0.2)
    raise AssertionError(f"the server does not serve {versions}")


@pytest.mark.slow
def test_a_week_of_events_a_price_and_a_retraining_change_what_is_served_and_outlast_kill_9(
    opened: tuple[ShopProcess, list[dict[str, Any]]],
) -> None:
    shop, week = opened
    buyers = sorted(
        {
            event["user_id"]
            for event in week
            if event["event_type"] == "purchase" and "user_id" in event
        }
    )
    assert len(buyers) > 50
    with shop.client() as http:
        for user in buyers:  # every buyer meets a variant before the week begins
            slate(http, user)
    shop.stop()
    shop.env["SHOPWRIGHT_CLOCK_START"] = NOW.isoformat()  # a week goes by
    shop.start()
    with shop.client() as http:
        queue = http.get("/v1/price-suggestions", params={"status": "submitted"}).json()["items"]
        chosen = max(
            queue,
            key=lambda each: abs(float(each["suggested_price"]) / float(each["current_price"]) - 1),
        )
        price = {"item_id": chosen["item_id"], "zone": chosen["zone"]}
        opening = seen(http, price, buyers)
        assert opening["revenue"] == 0 < opening["units"]

        url = f"/v1/price-suggestions/{chosen['id']}"
        approved = http.post(
            f"{url}/approve", headers={"If-Match": http.get(url).headers["etag"]}, json={}
        )
        assert approved.status_code == 200, approved.text
        priced = seen(http, price, [])
        assert priced["offer_price"] == chosen["suggested_price"] != opening["offer_price"]
        dearer = float(chosen["suggested_price"]) > float(chosen["current_price"])
        means = [[week["mean"] for week in each["forecast"]["weeks"]] for each in (opening, priced)]
        assert all((after < before) == dearer for before, after in zip(*means, strict=True))

        for start in range(0, len(week), BATCH):
            answer = http.post("/v1/events", json={"events": week[start : start + BATCH]}).json()
            assert (answer["accepted"], answer["rejected"]) == (
                len(week[start : start + BATCH]),
                [],
            )
        replayed = seen(http, price, buyers)
        assert replayed["revenue"] > 0
        assert (
            sum(replayed["slates"][user] != opening["slates"][user] for user in buyers)
            > len(buyers) / 2
        )

        promoted = json.loads(shop.run("retrain", "--json", refused=True))["items"]
        for each in promoted:
            if not each["promoted"]:  # so few users cannot prove that a model is not worse
                shop.run("models", "promote", each["name"], each["version"])
        versions = {each["name"]: each["version"] for each in promoted}
        assert versions["recommendations"] != opening["champions"]["recommendations"]
        wait_for(http, versions)
        retrained = seen(http, price, buyers)
        assert retrained["champions"] == opening["champions"] | versions
        assert retrained["forecast"]["model"] != replayed["forecast"]["model"]
        assert retrained["offer_price"] == chosen["suggested_price"]

    shop.kill()
    shop.start()
    with shop.client() as http:
        again = seen(http, price, buyers)
    assert again.pop("units") >= retrained.pop("units")
    # Revenue is read from means with four digits.
    assert again.pop("revenue") == pytest.approx(retrained.pop("revenue"), abs=0.0001 * len(buyers))
    assert again == retrained
