"""A promotion in a real browser: from its what-if through two people to live and to its effect."""

from __future__ import annotations

from datetime import datetime, timedelta
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from features.facts.facts import Facts
from tests.shops.console_shop import ConsoleShop, choose_options
from tests.shops.event_tables import make_table
from tests.shops.served_shop import N_USERS, NOW, make_purchase, make_settings

pytestmark = pytest.mark.browser

N_SOLD = 60


def test_a_promotion_goes_from_the_what_if_to_live_through_two_people(visit):
    with visit("anna", "/promotions") as page:
        page.get_by_text("No promotion from 13 weeks ago").wait_for()
        page.get_by_role("link", name="New promotion").click()
        page.get_by_label("Name", exact=True).fill("Butter week")
        page.get_by_label("Begins").fill("2018-01-01T00:00")
        page.get_by_label("Ends").fill("2018-01-15T00:00")
        page.get_by_role("button", name="Look at it").click()
        page.get_by_text("give either item_ids or category").wait_for()
        choose_options(page, page.get_by_label("Items: title or id"), "butter", typed="butter")
        page.get_by_label("Share taken off, %").fill("-5")
        page.get_by_role("button", name="Look at it").click()
        page.get_by_text("greater than or equal to 0").wait_for()
        page.get_by_label("Share taken off, %").fill("20")
        page.get_by_role("button", name="Look at it").click()
        page.get_by_text("Nothing stands against it").wait_for()
        expect(page.get_by_role("region", name="What it should bring")).to_contain_text("Profit")
        expect(page.get_by_role("region", name="1 item")).to_contain_text("€0.80")
        page.get_by_role("button", name="File for approval").click()
        page.get_by_role("heading", level=1, name="Butter week: 20% off").wait_for()
        page.get_by_role("button", name="Take back").wait_for()
        assert page.get_by_role("button", name="Approve").count() == 0
        path = urlsplit(page.url).path
    with visit("ben", path) as page:
        page.get_by_text("Waits for approval").wait_for()
        page.get_by_role("button", name="Approve").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Reason").fill("agreed with the dairy")
        dialog.get_by_role("button", name="Approve").click()
        page.get_by_text("Butter week is approved").wait_for()
        page.locator(".badge", has_text="Runs").wait_for()
        page.goto("/promotions")
        page.get_by_role("heading", level=1, name="1 promotion runs").wait_for()
        page.goto("/prices?item=butter")
        page.get_by_role("heading", level=1, name="butter costs €0.80").wait_for()
    with visit("anna", "/promotions/new") as page:
        page.get_by_label("Name", exact=True).fill("Butter again")
        page.get_by_label("Begins").fill("2018-01-08T00:00")
        page.get_by_label("Ends").fill("2018-01-22T00:00")
        choose_options(page, page.get_by_label("Items: title or id"), "butter", typed="butter")
        page.get_by_label("Share taken off, %").fill("10")
        page.get_by_role("button", name="Look at it").click()
        page.get_by_text("promotion 'Butter week' runs at the same time").wait_for()
        assert page.get_by_role("button", name="File for approval").count() == 0


def make_orders(item: str, n: int, begin: datetime, price_minor: int) -> list[dict]:
    """Return orders of one unit each, an hour apart."""
    return [
        {
            **make_purchase(number % N_USERS, 0, item),
            "event_id": f"{item}-{begin:%m%d}-{number}",
            "order_id": f"{item}-{begin:%m%d}-{number}",
            "occurred_at": begin + timedelta(hours=number),
            "line_amount_minor": price_minor,
            "unit_price_minor": float(price_minor),
        }
        for number in range(n)
    ]


def pass_seven_weeks(console: ConsoleShop) -> None:
    """Sell butter before and while the promotion runs, and milk ever after; move the clock."""
    console.process.stop()
    events = [
        *make_orders("butter", 25, NOW - timedelta(days=9), 100),
        *make_orders("butter", N_SOLD, NOW + timedelta(hours=1), 80),
        *make_orders("milk", 5, NOW + timedelta(weeks=6), 100),
    ]
    Facts(make_settings(console.process.home)).write({"events": make_table("events", events)})
    console.process.env["SHOPWRIGHT_CLOCK_START"] = (NOW + timedelta(weeks=7)).isoformat()
    console.process.start(until="/healthz", verb="console")


def test_the_page_of_a_promotion_that_ended_says_what_it_brought(visit, console):
    pass_seven_weeks(console)
    with visit("anna", "/promotions?phase=ended") as page:
        page.get_by_role("link", name="Butter week").click()
        page.get_by_text("Ended", exact=True).first.wait_for()
        effect = page.locator("#promotion-effect")
        expect(effect).to_contain_text("Measured against")
        table = page.get_by_role("region", name="What did it bring?")
        expect(table.get_by_role("row", name="Units")).to_contain_text(str(N_SOLD))
        expect(table.get_by_role("row", name="Revenue")).to_contain_text("€48.00")
        expect(page.get_by_text("no cost is known of butter").first).to_be_visible()
        compared = page.get_by_role("region", name="Orders, visits and buyers")
        expect(compared.get_by_role("row", name="Spent per order")).to_contain_text("€0.80")
        expect(page.get_by_text("fewer than 20 visits with views")).to_be_visible()
