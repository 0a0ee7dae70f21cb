"""The whole way through the real doors: people made by the command line, a server process, a price
that one proposes and another approves, and what the audit log says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx

from configs.settings import Settings
from features.database import engine as open_engine
from serving.database.migrate import upgrade
from tests.shops.price_desk import NOW, make_suggestion, store_suggestions
from tests.shops.shop_process import ShopProcess

PASSWORDS = {"anna": "four small green apples", "ben": "seven slow grey donkeys"}


def create_person(shop: ShopProcess, name: str, *arguments: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-m", "serving.cli.main", "users", "create", name, *arguments, "--json"],
        env=shop.env,
        input=f"{PASSWORDS[name]}\n",
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def sign_in(shop: ShopProcess, name: str) -> httpx.Client:
    browser = httpx.Client(base_url=shop.url, timeout=30)
    answer = browser.post("/v1/sessions", json={"name": name, "password": PASSWORDS[name]})
    assert answer.status_code == 201, answer.text
    browser.headers["X-CSRF-Token"] = answer.json()["csrf_token"]
    return browser


def test_one_person_proposes_another_approves_and_the_audit_names_both(tmp_path: Path) -> None:
    home = tmp_path / "home"
    opened = open_engine(Settings(home=home))
    upgrade(opened)
    suggestion = make_suggestion("milk", 110, zone="north")
    (milk,) = store_suggestions(opened, suggestion)
    opened.dispose()
    shop = ShopProcess(
        home, {"SHOPWRIGHT_CLOCK_START": NOW.isoformat(), "SHOPWRIGHT_CURRENCY": "EUR"}
    )
    create_person(shop, "anna", "--role", "analyst", "--full-name", "Anna A")
    limits = ("--category", "Food", "--zone", "north")
    ben = create_person(shop, "ben", "--role", "approver", *limits)
    assert ben["roles"] == [{"role": "approver", "category": "Food", "zone": "north"}]
    shop.start(until="/healthz")
    try:
        body = {"name": "anna", "password": "x" * 20_000}
        assert httpx.post(f"{shop.url}/v1/sessions", json=body).status_code == 413
        annas, bens = sign_in(shop, "anna"), sign_in(shop, "ben")
        path = f"/v1/price-suggestions/{milk}"
        edit = {"suggested_price": "1.20", "reason": "round up"}
        assert annas.post(f"{path}/edit", json=edit).json()["edited_by"] == "anna"
        assert annas.post(f"{path}/approve").status_code == 403
        assert bens.post(f"{path}/approve").json()["status"] == "live"
        prices = annas.get("/v1/prices?item_id=milk&zone=north").json()
        assert [price["offer_price"] for price in prices["items"]] == ["1.20"]
        audit = bens.get(f"/v1/audit?subject_id={milk}").json()["items"]
        assert [(entry["actor"], entry["action"]) for entry in audit] == [
            ("anna", "edit"),
            ("ben", "approve"),
        ]
        assert bens.get("/v1/audit/verification").json()["intact"]
        shop.run("users", "disable", "ben")
        assert bens.get("/v1/people/me").status_code == 401
        assert annas.delete("/v1/sessions/current").status_code == 204
        assert annas.get("/v1/people/me").status_code == 401
    finally:
        shop.stop()
