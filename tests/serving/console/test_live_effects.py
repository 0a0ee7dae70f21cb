"""Live: what changes brought, the warning of a bad batch, and the way to its rollback proposal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from configs.settings import Settings
from features.contracts.clock import SystemClock
from features.database import engine as open_engine
from serving.access import Area, Grant
from serving.database.migrate import upgrade
from serving.people.service import NewPerson, PeopleService
from tests.shops.changed_prices import CHANGED, TIMEZONE, open_tea_shop
from tests.shops.console_shop import PASSWORD, ConsoleShop, choose_options, sign_in
from tests.shops.people import QUICK
from tests.shops.price_desk import NOW
from tests.shops.shop_process import ShopProcess

pytestmark = pytest.mark.browser

LATER = NOW + timedelta(weeks=3, hours=4)


def furnish(home: Path) -> dict[str, str]:
    """Let eight teas sell badly for three weeks at their new prices; one look was made."""
    settings = Settings(home=home)
    engine = open_engine(settings)
    upgrade(engine)
    PeopleService(engine, SystemClock(), QUICK).create(
        NewPerson("anna", "Anna", (Grant("manager", Area()),), PASSWORD)
    )
    teas = open_tea_shop(settings, engine)
    teas.approve()
    teas.pass_weeks(3, lambda item: 4.0 if item in CHANGED else 10.0)
    assert [look.is_alarm for look in teas.make_watch().look()] == [True]
    engine.dispose()
    return teas.ids


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleShop]:
    home = tmp_path_factory.mktemp("effects") / "home"
    ids = furnish(home)
    process = ShopProcess(
        home,
        {
            "SHOPWRIGHT_CLOCK_START": LATER.isoformat(),
            "SHOPWRIGHT_CURRENCY": "EUR",
            "SHOPWRIGHT_TIMEZONE": TIMEZONE,
            "SHOPWRIGHT_ZONES": '{"default": {"weekly_targets": {"revenue": "255.25"}}}',
        },
    )
    process.start(until="/healthz", verb="console")
    try:
        yield ConsoleShop(process, ids)
    finally:
        process.stop()


def test_live_shows_what_changes_brought_and_warns_of_the_batch(
    browser: Browser, shop: ConsoleShop
) -> None:
    with sign_in(browser, shop, "anna", "/live") as page:
        # 3 × 4 sold at 1.10 less 3 × 10 at 1.00, a unit costs 0.60: 6.00 less 12.00.
        effect = page.locator("td .effect").first
        expect(effect).to_contain_text("−€6.00 (")
        expect(page.locator("td .verdict").first).to_contain_text("worse")
        warning = page.locator(".batch-warning")
        expect(warning).to_contain_text("run_tea sells less than its forecast: after 3 weeks")
        choose_options(page, page.locator(".batch-choice"), "run_tea")
        expect(page.locator("#batch-effect")).to_contain_text("8 of 8 changes measured")
        assert "run=run_tea" in page.url
        page.get_by_role("link", name="Tea00").click()
        expect(page.get_by_text("What did it bring?")).to_be_visible()
        expect(page.get_by_text("Measured against 16 unchanged items").first).to_be_visible()
        page.goto("/live")
        page.locator(".batch-warning a").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("8 suggestions")


def test_today_holds_the_last_week_against_the_one_before_and_its_target(
    browser: Browser, shop: ConsoleShop
) -> None:
    with sign_in(browser, shop, "anna", "/") as page:
        # 16 × 10 at 1.00, 8 × 4 at 1.10 and a pot at 9.00 are 204.20, four fifths of the target.
        revenue = page.locator(".measure").filter(has_text="Revenue").first
        expect(revenue).to_contain_text("€204")
        expect(revenue).to_contain_text("▼ 20.0% below the target of €255")
        orders = page.locator(".measure").filter(has_text="Orders").first
        expect(orders).not_to_contain_text("target")


def test_today_and_health_show_the_warning_in_both_languages(
    browser: Browser, shop: ConsoleShop
) -> None:
    with sign_in(browser, shop, "anna", "/", locale="zh-CN") as page:
        expect(page.locator(".batch-warning")).to_contain_text("低于预测")
        count = page.locator(".warning-count")
        expect(count).to_have_attribute("aria-label", re.compile(r"\d+ 条警告"))
        notices = page.locator("main .notice")
        expect(notices).to_have_count(int(count.inner_text().removeprefix("⚠ ")))
        expect(page.locator(".verdict, .badge.worse").first).to_contain_text("差于预期")
        page.goto("/health")
        expect(page.locator(".batch-warning")).to_be_visible()
