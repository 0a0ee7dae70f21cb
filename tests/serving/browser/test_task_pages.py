"""The code of the pages by task runs as it stands: curl against a server, HTML in a browser."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from configs.settings import Settings
from features.database import engine as open_engine
from features.database import reading
from features.facts.events import EventLog
from tests.shops.console_shop import PATIENCE_MS, Watched, open_browser
from tests.shops.page_site import PageSite, run_page_site
from tests.shops.served_shop import NOW
from tests.shops.shop_process import ShopProcess
from tests.shops.storefront import copy_priced_shop

pytestmark = pytest.mark.browser
GUIDE = Path(__file__).parents[3] / "docs" / "user-guide"


def list_blocks(page: str, language: str) -> list[str]:
    """Return the fenced code of a page of the guide, in order."""
    text = (GUIDE / f"{page}.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@dataclass
class Shop:
    """A running server, and a page of another origin."""

    process: ShopProcess
    site: PageSite
    keys: dict[str, str]

    def run(self, block: str) -> dict:
        """Return the answer to a command of the docs."""
        environment = {"PATH": "/usr/bin:/bin", "SHOP": self.process.url, **self.keys}
        done = subprocess.run(
            ["bash", "-ec", block.replace("curl -s", "curl --fail-with-body -s")],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def open(self, page: Page, block: str) -> None:
        """Open HTML of the docs, with the address and the key of this shop."""
        own = block.replace("https://recommendations.example.com", self.process.url)
        head = '<!doctype html><link rel="icon" href="data:,">'
        self.site.html = head + own.replace("pub_...", self.keys["PAGE_KEY"])
        page.goto(self.site.origin)

    def wait_for_events(self, page: Page, n: int) -> list[tuple[str, str]]:
        """Return the kinds and items of this browser's first events, in order, once they came."""
        deadline = time.monotonic() + PATIENCE_MS / 1000
        while len(rows := self._read_events(page)) < n:
            assert time.monotonic() < deadline, rows
            time.sleep(0.1)
        return rows

    def _read_events(self, page: Page) -> list[tuple[str, str]]:
        visitor = page.evaluate("shopwright.store.read('visitor') || {}")
        engine = open_engine(Settings(home=self.process.home))
        with reading(engine) as connection:
            rows = EventLog(connection).as_arrow().to_pylist()
        engine.dispose()
        own = [row for row in rows if row["visitor_id"] == visitor.get("visitor_id")]
        return sorted((row["event_type"], row["item_id"]) for row in own)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def shop(tiny_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    home = tmp_path_factory.mktemp("tasks") / "home"
    copy_priced_shop(tiny_home, home)
    with run_page_site() as site:
        environment = {
            "SHOPWRIGHT_CLOCK_START": NOW.isoformat(),
            "SHOPWRIGHT_CURRENCY": "EUR",
            "SHOPWRIGHT_CORS_ORIGINS": site.origin,
        }
        process = ShopProcess(home, environment)
        scopes = {"KEY": "storefront", "EVENTS_KEY": "events", "PAGE_KEY": "browser"}
        keys = {name: process.create_key(scope) for name, scope in scopes.items()}
        process.start()
        try:
            yield Shop(process, site, keys)
        finally:
            process.stop()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    watched = Watched(context.new_page())
    watched.watch()
    yield watched.page
    context.close()
    assert watched.problems == []


def test_a_product_page(shop: Shop, page: Page) -> None:
    slates, prices = map(shop.run, list_blocks("product-page", "sh"))
    assert [slate["placement"] for slate in slates["slates"]] == ["product", "bought_together"]
    shown = [item for slate in slates["slates"] for item in slate["items"]]
    assert "wine" in [item["item_id"] for item in shown]
    assert all(item["fields"]["price"] == "1.00" for item in shown)
    (price,) = prices["items"]
    assert (price["item_id"], price["offer_price"], price["prior_price"]) == ("beer", "1.00", None)
    (html,) = list_blocks("product-page", "html")
    shop.open(page, html)
    link = page.get_by_role("link", name="wine 1.00")
    link.wait_for()
    link.click()
    page.go_back()
    assert {("view_item", "beer"), ("select_item", "wine")} <= set(shop.wait_for_events(page, 3))


def test_the_cart(shop: Shop, page: Page) -> None:
    for answer in map(shop.run, list_blocks("cart-page", "sh")):
        assert answer["items"]
        assert "beer" not in [item["item_id"] for item in answer["items"]]
    (html,) = list_blocks("cart-page", "html")
    shop.open(page, html)
    page.get_by_role("button", name="Add wine").click()
    expect(page.get_by_role("button", name="Add wine")).to_have_count(0)
    page.get_by_role("button", name="Remove beer").click()
    assert shop.wait_for_events(page, 4) == [
        ("add_to_cart", "beer"),
        ("add_to_cart", "wine"),
        ("remove_from_cart", "beer"),
        ("select_item", "wine"),
    ]


def test_a_search_page(shop: Shop, page: Page) -> None:
    ranked, instead = map(shop.run, list_blocks("search-page", "sh"))
    assert sorted(item["item_id"] for item in ranked["items"]) == ["beer", "bread", "wine"]
    assert instead["items"]
    (html,) = list_blocks("search-page", "html")
    shop.open(page, html)
    page.get_by_role("link", name="Beer").click()
    assert shop.wait_for_events(page, 2) == [("search", ""), ("select_item", "beer")]


def test_the_events_of_each_page(shop: Shop, page: Page) -> None:
    for answer in map(shop.run, list_blocks("page-events", "sh")):
        assert (answer["accepted"], answer["rejected"]) == (1, [])
    (html,) = list_blocks("page-events", "html")
    shop.open(page, html)
    assert shop.wait_for_events(page, 6) == [
        ("add_to_cart", "wine"),
        ("add_to_wishlist", "wine"),
        ("begin_checkout", "wine"),
        ("remove_from_cart", "wine"),
        ("search", ""),
        ("view_item", "wine"),
    ]


def test_a_wrong_command_of_the_docs_would_fail(shop: Shop) -> None:
    (first, _) = list_blocks("product-page", "sh")
    with pytest.raises(AssertionError, match="unknown placement"):
        shop.run(first.replace('"product"', '"produkt"'))
