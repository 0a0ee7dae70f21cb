"""A server whose files are damaged, while it runs and between two starts, goes on with what it had
before, says so, and recovers by itself."""

from __future__ import annotations

import json
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from configs.settings import Settings
from features.facts.facts import Facts
from features.online.materialize import materialize
from models.digests import write_digests
from models.registry import Registry
from tests.shops.forked_program import run_program
from tests.shops.served_shop import NOW, copy_shop, make_settings
from tests.shops.shop_process import ShopProcess

WAIT_SECONDS = 60


def register(home: Path, name: str, source: Path, folder: str) -> str:
    """Register a copy of an artifact in the shop's own folder of artifacts; return its version."""
    target = home / "mlartifacts" / name / folder / "artifacts" / "model"
    shutil.copytree(source, target)
    write_digests(target)
    registry = Registry(make_settings(home).mlflow_url, home)
    return registry.register(name, run_id="", source=target.as_uri(), tags={}).version


def promote(home: Path, name: str, version: str) -> None:
    Registry(make_settings(home).mlflow_url, home).promote(name, version)


def model_files(home: Path, name: str, folder: str) -> Path:
    return home / "mlartifacts" / name / folder / "artifacts" / "model"


@pytest.fixture
def shop(tiny_home: Path, tmp_path: Path) -> Iterator[ShopProcess]:
    """A copy of the tiny shop with all artifacts in its own folder, not started."""
    home = tmp_path / "home"
    copy_shop(tiny_home, home)
    for name, source in (("recommendations", "first"), ("demand", "demand")):
        promote(home, name, register(home, name, home / "artifacts" / source, "good"))
    settings = {"SHOPWRIGHT_CLOCK_START": NOW.isoformat(), "SHOPWRIGHT_CURRENCY": "EUR"}
    process = ShopProcess(home, settings)
    yield process
    process.stop()


def read_ready(shop: ShopProcess) -> dict:
    return httpx.get(f"{shop.url}/readyz", timeout=10).json()


def wait_for(shop: ShopProcess, condition: Callable[[dict], bool]) -> dict:
    """Return the answer of /readyz that fulfils the condition; slates are answered meanwhile."""
    deadline = time.monotonic() + WAIT_SECONDS
    with shop.client() as client:
        while True:
            answer = client.post("/v1/recommendations", json={"placement": "trending", "count": 2})
            assert answer.status_code == 200, answer.text
            ready = read_ready(shop)
            if condition(ready):
                return ready
            assert time.monotonic() < deadline, ready
            time.sleep(0.2)


def break_sizes(ranker: Path) -> None:
    """Damage a ranker's text so that LightGBM ends the process that loads it."""
    text = ranker.read_text()
    assert "\ntree_sizes=" in text
    ranker.write_text(text.replace("\ntree_sizes=", "\ntree_sizes=9", 1))


def test_a_broken_version_never_replaces_the_one_that_serves(shop: ShopProcess) -> None:
    home = shop.home
    shop.create_key("storefront", "pricing.read")
    shop.start()
    assert read_ready(shop)["models"] == {"recommendations": "3", "demand": "2"}

    # Its digests are right, and loading it ends a process: only a trial can tell.
    source = model_files(home, "recommendations", "good")
    version = register(home, "recommendations", source, "broken")
    broken = model_files(home, "recommendations", "broken")
    break_sizes(broken / "ranker_all.txt")
    write_digests(broken)
    promote(home, "recommendations", version)
    ready = wait_for(shop, lambda ready: "degraded" in ready)
    assert ready["models"]["recommendations"] == "3"
    assert "version 4 cannot be loaded" in ready["degraded"]["recommendations"]
    assert "version 3 serves" in ready["degraded"]["recommendations"]

    shutil.copy(source / "ranker_all.txt", broken)
    write_digests(broken)
    ready = wait_for(shop, lambda ready: ready["models"]["recommendations"] == "4")
    assert "degraded" not in ready

    # Both champions are damaged on disk: what serves goes on, and so does a start.
    break_sizes(broken / "ranker_new.txt")
    forecasts = model_files(home, "demand", "good") / "forecasts.parquet"
    forecasts.write_bytes(forecasts.read_bytes()[:200])
    with shop.client() as client:
        assert client.get("/v1/forecasts/milk").status_code == 200
    shop.kill()
    shop.start()
    ready = read_ready(shop)
    assert ready["models"] == {"recommendations": "3", "demand": "1"}
    assert "ranker_new.txt is not what was written" in ready["degraded"]["recommendations"]
    with shop.client() as client:
        assert client.get("/v1/forecasts/milk").status_code == 200
    checks = {check["check"]: check for check in run_doctor(shop, 1)}
    for name in ("recommendations", "demand"):
        assert not checks[f"champion of {name}"]["ok"]
        assert "is not what was written" in checks[f"champion of {name}"]["says"]


def test_a_moved_shop_with_damaged_files_serves_the_version_before(shop: ShopProcess) -> None:
    settings = make_settings(shop.home)
    materialize(Facts(settings), settings, NOW)  # a second version: there is one before it
    moved = shop.home.with_name("moved to a new machine")
    shutil.move(shop.home, moved)
    shop.home, shop.env["SHOPWRIGHT_HOME"] = moved, str(moved)
    shop.create_key("storefront", "pricing.read", "events")
    assert {check["check"] for check in run_doctor(shop, 1) if not check["ok"]} == {
        "champion of pricing"
    }

    current = json.loads((moved / "features" / "current.json").read_text())
    online = moved / "features" / "versions" / current["name"] / "online.db"
    online.write_bytes(b"no database" * 1000)
    (moved / "tables" / "manifest.json").write_text('{"events": ["events/')
    shop.start()
    ready = read_ready(shop)
    assert ready["models"] == {"recommendations": "3", "demand": "2"}
    with shop.client() as client:
        request = {"placement": "buy_again", "user_id": "u00", "count": 2}
        slate = client.post("/v1/recommendations", json=request).json()
        assert slate["degraded"] is False
        assert {item["item_id"] for item in slate["items"]} == {"beer", "wine"}
        event = {"event_type": "view_item", "item_id": "milk", "user_id": "u00"}
        event["occurred_at"] = NOW.isoformat()
        assert client.post("/v1/events", json={"events": [event]}).status_code == 202

        (moved / "features" / "current.json").write_text("{")
        wait_for(shop, lambda ready: "current.json" in str(ready.get("degraded")))
        slate = client.post("/v1/recommendations", json=request).json()
        assert slate["degraded"] is False
    damaged = {check["check"]: check["says"] for check in run_doctor(shop, 1) if not check["ok"]}
    assert "manifest.json" in damaged["tables"]
    assert "current.json" in damaged["features"]

    shop.run("features", "materialize")
    wait_for(shop, lambda ready: "degraded" not in ready)
    assert "features" not in {check["check"] for check in run_doctor(shop, 1) if not check["ok"]}


def wait_until_ready(shop: ShopProcess, condition: Callable[[httpx.Response], bool]) -> dict:
    """Return the body of the answer of /readyz that fulfils the condition."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        answer = httpx.get(f"{shop.url}/readyz", timeout=10)
        if condition(answer):
            return answer.json()
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.2)


def count_statuses(shop: ShopProcess) -> tuple[int, int]:
    """Return the statuses of a slate and of a forecast."""
    with shop.client() as client:
        slate = client.post("/v1/recommendations", json={"placement": "trending", "count": 2})
        return slate.status_code, client.get("/v1/forecasts/milk").status_code


def test_a_lost_segment_of_the_catalogue_is_named_and_found_again(shop: ShopProcess) -> None:
    shop.create_key("storefront", "pricing.read")
    (segment,) = (shop.home / "tables" / "items").glob("*.parquet")
    away = segment.with_suffix(".away")
    shop.start()
    segment.rename(away)
    ready = wait_until_ready(shop, lambda answer: "tables" in answer.json().get("degraded", {}))
    assert f"a segment of a table is gone (in {segment})" in ready["degraded"]["tables"]
    assert count_statuses(shop) == (200, 200)  # from what was read at the start
    content = away.read_bytes()
    segment.write_bytes(content[:-100] + bytes(100))
    wait_until_ready(shop, lambda answer: "not what was written" in answer.text)
    segment.write_bytes(content)
    wait_until_ready(shop, lambda answer: "degraded" not in answer.json())
    segment.unlink()
    shop.kill()

    shop.start("/healthz")  # it has never read the catalogue
    ready = wait_until_ready(shop, lambda answer: answer.status_code == 503)
    assert str(segment) in ready["missing"]["tables"]
    assert count_statuses(shop) == (503, 200)
    segment.write_bytes(content)
    ready = wait_until_ready(shop, lambda answer: answer.status_code == 200)
    assert ready["serves"] == ["recommendations", "forecasts"]
    assert "degraded" not in wait_until_ready(shop, lambda answer: answer.status_code == 200)
    assert count_statuses(shop) == (200, 200)


def run_doctor(shop: ShopProcess, expect: int) -> list[dict]:
    checks: list[dict] = json.loads(shop.run("doctor", "--json", expect=expect))["checks"]
    return checks


def test_the_files_of_a_new_state_folder_are_of_its_user_alone(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "events.csv").write_text(
        "event_type,occurred_at,item_id\npurchase,2024-05-01T10:00:00Z,a\n"
    )
    (tmp_path / "shop" / "items.csv").write_text("item_id,list_price\na,2.50\n")
    env = {name: value for name, value in os.environ.items() if "SHOPWRIGHT" not in name}
    env |= {
        "SHOPWRIGHT_HOME": str(tmp_path / "home"),
        "SHOPWRIGHT_CLOCK_START": "2024-06-03T00:00:00Z",
    }
    for arguments in (
        ["import", str(tmp_path / "shop")],
        ["keys", "create", "--scope", "events", "--name", "n"],
        ["prices", "export", "--out", str(tmp_path / "prices.csv")],
    ):
        code, _, errors = run_program(arguments, env)
        assert code == 0, errors
    home = Settings(home=tmp_path / "home").home
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [home, *home.rglob("*")]}
    assert len(modes) > 5
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}
    assert stat.S_IMODE((tmp_path / "prices.csv").stat().st_mode) == 0o644
