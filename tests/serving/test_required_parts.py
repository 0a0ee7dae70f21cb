"""A new shop before its first `serve`, and a real server that lacks what the shop must serve."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

from configs.settings import Settings
from tests.shops.environment import make_database
from tests.shops.shop_process import ShopProcess
from tests.shops.steady_sales import open_shop, sell, week


def test_doctor_and_readyz_name_what_is_missing_and_nothing_else(tmp_path: Path) -> None:
    home = tmp_path / "home"
    make_database(home)
    open_shop(Settings(home=home), sell(range(2)))
    settings = {
        "SHOPWRIGHT_SERVES": "forecasts,prices",
        "SHOPWRIGHT_CLOCK_START": week(2).isoformat(),
    }
    shop = ShopProcess(home, settings)
    # Features are made by `serve`: a shop without them is not broken.
    checks = {
        row["check"]: row for row in json.loads(shop.run("doctor", "--json", expect=1))["checks"]
    }
    assert checks["features"]["ok"]
    assert checks["features"]["says"] == "none yet; `shopwright serve` makes them"
    failed = {name for name, check in checks.items() if not check["ok"]}
    assert failed == {f"champion of {name}" for name in ("recommendations", "demand", "pricing")}

    shop.start(until="/healthz")
    try:
        ready = httpx.get(f"{shop.url}/readyz", timeout=30)
        assert ready.status_code == 503
        missing = ready.json()["missing"]
        assert missing.keys() == {"demand", "prices"}
        assert "shopwright train demand" in missing["demand"]
        assert "shopwright import" in missing["prices"]
    finally:
        shop.stop()
