"""A running server whose demo storefront is on, and pages of it in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page

from features.database import engine as open_engine
from features.database import transaction
from features.prices.ledger import Ledger
from serving.database.migrate import upgrade
from tests.shops.console_shop import Watched
from tests.shops.price_desk import make_opening_price
from tests.shops.served_shop import ITEMS, NOW, copy_shop, make_settings
from tests.shops.shop_process import ShopProcess

USERS = ("u00", "u01")


def copy_priced_shop(tiny_home: Path, home: Path) -> None:
    """Copy the tiny shop, every item at 1.00 EUR."""
    copy_shop(tiny_home, home)
    engine = open_engine(make_settings(home))
    upgrade(engine)
    with transaction(engine) as connection:
        Ledger(connection).append([make_opening_price(item) for item in ITEMS])
    engine.dispose()


@contextmanager
def run_storefront(tiny_home: Path, home: Path) -> Iterator[ShopProcess]:
    """Run a copy of the tiny shop, every item at 1.00 EUR, with its storefront."""
    copy_priced_shop(tiny_home, home)
    environment = {
        "SHOPWRIGHT_CLOCK_START": NOW.isoformat(),
        "SHOPWRIGHT_CURRENCY": "EUR",
        "SHOPWRIGHT_STOREFRONT_USERS": ",".join(USERS),
    }
    process = ShopProcess(home, environment)
    process.start()
    try:
        yield process
    finally:
        process.stop()


@contextmanager
def open_storefront_page(browser: Browser, url: str, **context: Any) -> Iterator[Page]:
    """Open the home page as a new visitor; afterwards nothing may have failed, nor come from
    another host."""
    opened = browser.new_context(
        base_url=url, viewport={"width": 1280, "height": 800}, locale="en-GB", **context
    )
    watched = Watched(opened.new_page())
    watched.watch()
    visit(watched.page, "/storefront")
    yield watched.page
    opened.close()
    assert watched.problems == [], watched.problems
    assert {host for host in watched.hosts if host} == {urlsplit(url).netloc}


def visit(page: Page, path: str) -> None:
    """Go to a page of the storefront and wait until it is there."""
    page.goto(path)
    wait_until_loaded(page)


def wait_until_loaded(page: Page) -> None:
    """Wait until the main part of the page is there."""
    page.wait_for_selector("main[aria-busy=false] h1")
