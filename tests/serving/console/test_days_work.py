"""A day's work of several people in one console, and a week that passes: prices that are scheduled,
go live and are rolled back as a batch; rules that are saved and restored; an ended promotion."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from playwright.sync_api import expect

from serving.app import create_app
from serving.keys.service import KeyService
from tests.shops.console_shop import sign_in
from tests.shops.served_shop import NOW, make_settings

pytestmark = pytest.mark.browser


def move_clock(shop, **duration):
    """Start the console again, later."""
    shop.process.stop()
    later = NOW + timedelta(**duration)
    shop.process.env["SHOPWRIGHT_CLOCK_START"] = later.isoformat()
    shop.process.start(until="/healthz", verb="console")
    return later


def read_prices(shop, later, *items):
    """Return the offer prices that `GET /v1/prices` answers."""
    settings = make_settings(shop.process.home, clock_start=later, currency="EUR")
    with TestClient(create_app(settings)) as client:
        server = client.app.state.server
        key = KeyService(server.engine, server.system_clock).create("shop", ["storefront"]).key
        answer = client.get(
            "/v1/prices",
            params={"item_id": list(items)},
            headers={"Authorization": f"Bearer {key}"},
        )
        assert answer.status_code == 200, answer.text
        return {price["item_id"]: price["offer_price"] for price in answer.json()["items"]}


def test_nobody_approves_the_price_that_they_edited_themselves(visit, console):
    wine = console.ids["wine"]
    with visit("mia", f"/queue/{wine}") as page:
        page.get_by_role("heading", name="<b>Wine</b> & more").wait_for()
        page.get_by_label("Try a price").fill("1.07")
        page.get_by_role("button", name="Suggest this price").click()
        page.get_by_text("1.07 is suggested; a colleague must approve it").wait_for()
        page.goto("/queue?text=wine")
        page.get_by_role("gridcell", name="<b>Wine</b> & more").wait_for()
        page.keyboard.press("j")
        page.keyboard.press("Space")
        page.get_by_text("1 selected").wait_for()
        page.keyboard.press("a")
        dialog = page.get_by_role("dialog")
        dialog.get_by_text("0 of 1").wait_for()
        dialog.get_by_text("whoever proposed or edited a price may not approve it").wait_for()


def test_a_saved_version_of_the_rules_is_undone_by_restoring_the_one_before(visit):
    with visit("mia", "/rules") as page:
        for number, comment in (("8", "a careful week"), ("12", "a bold week")):
            page.get_by_label("Largest change, %").fill(number)
            page.get_by_label("What and why").fill(comment)
            page.get_by_role("button", name="Save as a version").click()
            page.get_by_role("cell", name=comment).wait_for()
        row = page.get_by_role("row", name="a careful week")
        row.get_by_role("button", name="Restore").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Reason").fill("too bold")
        dialog.get_by_role("button", name="Restore").click()
        page.get_by_text("The rules default are restored").wait_for()
        expect(page.get_by_label("Largest change, %")).to_have_value("8")


def test_a_batch_is_scheduled_goes_live_at_its_time_and_is_rolled_back(browser, console):
    with sign_in(browser, console, "ben", "/queue?category=Food") as page:
        page.get_by_role("heading", level=1, name="4 suggestions wait").wait_for()
        for row in range(4):
            page.locator(f"[row-index='{row}'] .ag-checkbox-input").first.click()
        page.get_by_text("4 selected").wait_for()
        page.get_by_role("button", name="Approve", exact=True).click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_text("4 of 4 become prices").wait_for()
        dialog.get_by_text("When: at once, or at a time of its own").click()
        dialog.get_by_label("Valid from").fill("2018-01-08T06:00")
        dialog.get_by_text(re.compile("Valid from Jan 8, 2018, 6:00")).wait_for()
        dialog.get_by_role("button", name="Approve").click()
        page.get_by_text("4 prices are approved").wait_for()
        page.goto("/live?status=scheduled")
        page.get_by_role("heading", level=1, name="4 prices are scheduled").wait_for()
    assert set(read_prices(console, NOW, "butter", "milk").values()) == {"1.00"}
    later = move_clock(console, days=8)
    assert read_prices(console, later, "butter", "milk") == {"butter": "1.07", "milk": "1.09"}
    with sign_in(browser, console, "mia", "/live?run=run") as page:
        page.get_by_role("heading", level=1, name="4 prices of the desk are live").wait_for()
        page.get_by_role("button", name="Roll back the batch").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_text("Roll back all 4 prices of run?").wait_for()
        dialog.get_by_label("Reason").fill("the supplier called")
        dialog.get_by_role("button", name="Roll back the batch").click()
        page.get_by_text("4 prices are rolled back").wait_for()
        page.goto("/live?status=rolled_back")
        page.get_by_role("heading", level=1, name="4 prices were rolled back").wait_for()
    assert set(read_prices(console, later, "butter", "milk").values()) == {"1.00"}
