"""A price test in the console, from the plan to the result; the clock moves between visits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from configs.settings import Settings
from features.database import engine as open_engine
from features.database import reading
from features.facts.facts import Facts
from features.prices.stored_tests import CANCELLED, PriceTests, StoredTest
from tests.shops.accessibility import list_violations, wait_until_loaded
from tests.shops.console_shop import ConsoleShop, choose_options, furnish, sign_in
from tests.shops.served_shop import ITEMS, NOW, copy_shop, make_settings
from tests.shops.shop_process import ShopProcess
from tests.shops.tested_shop import make_tests_worth_it, sell_in_test

pytestmark = pytest.mark.browser
SLOPE = -1.8


@pytest.fixture(scope="module")
def home(tiny_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A furnished shop in which price tests are worth their cost."""
    home = tmp_path_factory.mktemp("tests") / "home"
    copy_shop(tiny_home, home)
    furnish(home)
    make_tests_worth_it(make_settings(home))
    return home


@contextmanager
def open_console(home: Path, now: datetime) -> Iterator[ConsoleShop]:
    """Run the console at a business time."""
    (home / "clock.json").unlink(missing_ok=True)
    environment = {"SHOPWRIGHT_CLOCK_START": now.isoformat(), "SHOPWRIGHT_CURRENCY": "EUR"}
    process = ShopProcess(home, environment)
    process.start(until="/healthz", verb="console")
    try:
        yield ConsoleShop(process, {})
    finally:
        process.stop()


def read_test(home: Path) -> StoredTest:
    """Return the test that is kept and not cancelled."""
    engine = open_engine(Settings(home=home))
    with reading(engine) as connection:
        tests = PriceTests(connection).list()
    engine.dispose()
    (stored,) = [test for test in tests if test.is_kept and test.state != CANCELLED]
    return stored


def confirm(page: Page, button: str) -> None:
    page.get_by_role("dialog").get_by_role("button", name=button, exact=True).click()


def wait_for_title(page: Page, text: str) -> None:
    page.get_by_role("heading", level=1, name=re.compile(text)).wait_for()


def file_next(page: Page) -> None:
    """File what comes next, on the page of a test."""
    page.get_by_role("button", name="File next period").click()
    confirm(page, "File next period")
    page.get_by_text("somebody else approves them").first.wait_for()


def approve_all(browser: Browser, shop: ConsoleShop, path: str) -> None:
    """Let a colleague approve what waits of a test, from its page."""
    with sign_in(browser, shop, "ben", path) as page:
        page.get_by_role("link", name="Waits for approval: 6").click()
        wait_for_title(page, "6 suggestions wait for a decision")
        assert "run=proposal_" in page.url
        page.get_by_role("button", name="Approve all 6 that match").click()
        confirm(page, "Approve")
        page.get_by_text("6 prices are approved").wait_for()


def test_a_price_test_goes_from_the_plan_to_its_result(browser, home):
    with open_console(home, NOW) as shop:
        with sign_in(browser, shop, "anna", "/tests") as page:
            page.get_by_text("shopwright prices tests --plan --save").wait_for()
            page.get_by_role("link", name="Plan tests").click()
            page.get_by_label("Weeks that count").fill("4")
            page.get_by_role("button", name="Compute the plan").click()
            page.get_by_role("heading", name="No price test is worth its cost").wait_for()
            page.get_by_label("Weeks that count").fill("104")
            page.get_by_role("button", name="Compute the plan").click()
            page.get_by_role("heading", name="should bring more than they cost").wait_for()
            page.reload()
            page.get_by_role("heading", name="should bring more than they cost").wait_for()
            expect(page.get_by_label("Weeks that count")).to_have_value("104")
            page.goto("/tests")
            page.get_by_text("Plans that nobody has kept yet").wait_for()
            page.get_by_role("link", name=re.compile("and 4 more")).click()
            page.get_by_role("heading", name="should bring more than they cost").wait_for()
            wait_until_loaded(page)
            assert list_violations(page) == []
            page.get_by_role("button", name="Keep this plan").click()
            wait_for_title(page, "planned, nothing is filed yet")
            page.get_by_role("button", name="Cancel test").click()
            page.get_by_role("dialog").get_by_text("This cannot be undone").wait_for()
            confirm(page, "Cancel test")
            wait_for_title(page, "cancelled")
            expect(page.get_by_role("button", name="File next period")).to_have_count(0)
            page.goto("/tests/plan")
            choose_options(page, page.get_by_label("Design"), "Switchback")
            expect(page.get_by_label("Weeks that count")).to_be_hidden()
            page.get_by_role("button", name="Compute the plan").click()
            page.get_by_text("a switchback compares two zones or more").wait_for()
            choose_options(page, page.get_by_label("Design"), "Stepped roll-out")
            page.get_by_label("Weeks of a period").fill("4")
            page.get_by_role("button", name="Compute the plan").click()
            page.get_by_role("heading", name="A stepped roll-out in default").wait_for()
            page.reload()
            page.get_by_text("The prices that wait in the queue begin").first.wait_for()
            expect(page.get_by_label("Weeks of a period")).to_have_value("4")
            wait_until_loaded(page)
            assert list_violations(page) == []
            choose_options(page, page.get_by_label("Design"), "Crossover")
            page.get_by_label("Weeks that count").fill("104")
            page.get_by_role("button", name="Compute the plan").click()
            page.get_by_role("button", name="Keep this plan").click()
            wait_for_title(page, "planned, nothing is filed yet")
            path = f"/tests/{read_test(home).test_id}"
            page.goto("/")
            page.get_by_role("link", name="1 price test to file or finish").click()
            wait_for_title(page, "1 price test needs you now")
            of_open = page.get_by_role("region", name="Open")
            of_open.get_by_role("link", name=re.compile("and 4 more")).click()
            file_next(page)
            wait_for_title(page, "filed, begins on Jan 8, 2018")
        with sign_in(browser, shop, "ben", path) as page:
            wait_for_title(page, "filed, begins on")
            for name in ("File next period", "Cancel test", "Finish"):
                expect(page.get_by_role("button", name=name)).to_have_count(0)
            page.goto("/tests")
            page.get_by_role("heading", name="Open", exact=True).wait_for()
            expect(page.get_by_role("link", name="Plan tests")).to_have_count(0)
        with sign_in(browser, shop, "mia", path, locale="zh-CN") as page:
            wait_for_title(page, "已提交，2018年1月8日 开始")
            page.get_by_role("button", name="提交下一期").wait_for()
        approve_all(browser, shop, path)

    stored = read_test(home)
    length = stored.document["test"]["periods"]["period_weeks"]
    with open_console(home, stored.begins_at + timedelta(weeks=length, days=-3)) as shop:
        for _ in ("the second period", "the end"):
            with sign_in(browser, shop, "anna", path) as page:
                wait_for_title(page, "running until")
                file_next(page)
            approve_all(browser, shop, path)

    sell_in_test(Facts(make_settings(home)), read_test(home), list(ITEMS), SLOPE, 5000.0)
    with (
        open_console(home, stored.ends_at + timedelta(days=1)) as shop,
        sign_in(browser, shop, "anna", path) as page,
    ):
        wait_for_title(page, "over, waits to be finished")
        expect(page.get_by_role("region", name="Periods")).to_contain_text("ben")
        page.get_by_role("button", name="Finish").click()
        confirm(page, "Finish")
        wait_for_title(page, "finished, elasticity −1.8")
        result = page.get_by_role("region", name="Result")
        expect(result.get_by_role("row", name="milk")).to_contain_text("−1.8")
        page.get_by_text("The next training of the price model reads this result").wait_for()
        page.reload()
        wait_for_title(page, "finished, elasticity −1.80")
        wait_until_loaded(page)
        assert list_violations(page) == []
        page.goto("/tests")
        page.get_by_role("heading", name="Finished and cancelled").wait_for()
        page.goto("/audit?action=plan")
        page.get_by_role("cell", name="planned a price test").first.wait_for()
