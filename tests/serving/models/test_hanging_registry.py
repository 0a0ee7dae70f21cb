"""The real server whose MLflow lies in a PostgreSQL that hangs: slates go on, and a promotion says
what is wrong."""

from __future__ import annotations

import os
import time
import warnings
from pathlib import Path

import pytest
import sqlalchemy as sa

from models.registry import Registry
from tests.shops.private_servers import POSTGRES_URL, HangingProxy, open_schema
from tests.shops.served_shop import NOW, copy_shop, register_model
from tests.shops.shop_process import ShopProcess

pytestmark = pytest.mark.timeout(420)


def test_a_registry_that_hangs_stops_promotions_alone(tiny_home: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    copy_shop(tiny_home, home)
    with (
        open_schema(POSTGRES_URL) as url,
        HangingProxy(sa.make_url(POSTGRES_URL).port or 5432) as proxy,
    ):
        if url is None:
            message = f"no PostgreSQL answers at {POSTGRES_URL}"
            if os.environ.get("CI") == "true":
                pytest.fail(message)
            warnings.warn(message, stacklevel=1)
            pytest.skip(message)
        address = url.set(port=proxy.port).render_as_string(hide_password=False)
        registry = Registry(address, home)
        for name, folder in (("recommendations", "first"), ("demand", "demand")):
            registry.promote(name, register_model(registry, name, home / "artifacts" / folder))
        register_model(registry, "recommendations", home / "artifacts" / "second")
        settings = {
            "SHOPWRIGHT_CLOCK_START": NOW.isoformat(),
            "SHOPWRIGHT_CURRENCY": "EUR",
            "MLFLOW_TRACKING_URI": address,
        }
        shop = ShopProcess(home, settings)
        shop.create_key("storefront", "models.manage", "pricing.read")
        with shop, shop.client() as client:
            check_while_it_hangs(proxy, client)


def check_while_it_hangs(proxy: HangingProxy, client) -> None:
    def ask() -> None:
        started = time.monotonic()
        slate = client.post("/v1/recommendations", json={"placement": "home", "user_id": "u00"})
        assert slate.status_code == 200 and slate.json()["items"], slate.text
        assert time.monotonic() - started < 2.0

    def promote(key: str, version: str) -> tuple[int, str, float]:
        started = time.monotonic()
        answer = client.post(
            "/v1/models/recommendations/promote",
            json={"version": version},
            headers={"Idempotency-Key": key},
            timeout=60,
        )
        return answer.status_code, answer.text, time.monotonic() - started

    def wait_for(is_degraded: bool) -> dict:
        deadline = time.monotonic() + 60
        while True:
            ask()
            ready = client.get("/readyz")
            assert ready.status_code == 200, ready.text
            if ("recommendations" in ready.json().get("degraded", {})) == is_degraded:
                return ready.json()
            assert time.monotonic() < deadline, ready.json()
            time.sleep(0.2)

    assert wait_for(False)["models"]["recommendations"] == "1"
    proxy.hang()
    try:
        status, text, seconds = promote("a", "2")
        assert (status, seconds < 15) == (503, True), text
        assert "the model registry does not answer" in text and "MLFLOW_TRACKING_URI" in text
        ready = wait_for(True)
        assert "does not answer" in ready["degraded"]["recommendations"]
        assert ready["models"] == {"recommendations": "1", "demand": "1"}
        assert client.get("/v1/forecasts/milk").status_code == 200
    finally:
        proxy.flow()
    wait_for(False)
    assert promote("b", "2")[0] == 200
    deadline = time.monotonic() + 60
    while client.get("/readyz").json()["models"]["recommendations"] != "2":
        assert time.monotonic() < deadline
        time.sleep(0.2)
