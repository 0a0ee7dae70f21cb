"""/client.js in a real browser, against a real server of another origin."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from configs.settings import Settings
from features.database import engine as open_engine
from features.database import reading
from features.facts.events import EventLog
from tests.shops.console_shop import PATIENCE_MS, open_browser
from tests.shops.page_site import run_page_site
from tests.shops.served_shop import NOW, copy_shop
from tests.shops.shop_process import ShopProcess

pytestmark = pytest.mark.browser

PAGE = """<!doctype html><title>Shop</title>
<script src="{url}/client.js" data-key="{key}"></script>
<script>window.ready = true</script>"""


class Shop:
    """A running server, and a page of another origin that loads its client."""

    def __init__(self, process: ShopProcess, origin: str, key: str) -> None:
        self.process, self.origin, self.key = process, origin, key

    def read_events(self) -> list[dict]:
        engine = open_engine(Settings(home=self.process.home))
        with reading(engine) as connection:
            rows = EventLog(connection).as_arrow().to_pylist()
        engine.dispose()
        return sorted(rows, key=lambda row: row["occurred_at"])

    def wait_for_events(self, n: int) -> list[dict]:
        deadline = time.monotonic() + PATIENCE_MS / 1000
        while len(rows := self.read_events()) < n:
            assert time.monotonic() < deadline, rows
            time.sleep(0.1)
        return rows


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.fixture
def shop(tiny_home: Path, tmp_path: Path) -> Iterator[Shop]:
    copy_shop(tiny_home, tmp_path / "home")
    with run_page_site() as site:
        environment = {
            "SHOPWRIGHT_CLOCK_START": NOW.isoformat(),
            "SHOPWRIGHT_CURRENCY": "EUR",
            "SHOPWRIGHT_CORS_ORIGINS": site.origin,
        }
        process = ShopProcess(tmp_path / "home", environment)
        key = process.create_key("browser")
        process.start()
        site.html = PAGE.format(url=process.url, key=key)
        try:
            yield Shop(process, site.origin, key)
        finally:
            process.stop()


@pytest.fixture
def page(browser: Browser, shop: Shop) -> Iterator[Page]:
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(shop.origin)
    page.wait_for_function("window.ready")
    yield page
    context.close()


def run(page: Page, script: str):
    return page.evaluate(f"async () => {{ {script} }}")


def test_a_visit_from_the_first_page_to_the_cart(page: Page, shop: Shop) -> None:
    run(page, "shopwright.consent(true)")
    slates = run(
        page,
        "return shopwright.page(['home', {placement: 'trending', count: 2}], "
        "{count: 3, fields: ['title', 'price']})",
    )
    assert [len(slate["items"]) for slate in slates] == [3, 2]
    first = slates[0]["items"][0]
    assert set(first["fields"]) == {"title", "price"}
    assert first["recommendation_id"] == slates[0]["recommendation_id"]
    variants = run(page, "return shopwright.experiments()")
    assert variants["home_ranker"] in ("champion", "buy_again")
    script = f"const item = {json.dumps(first)}; shopwright.clicked(item); "
    run(page, script + "shopwright.viewed(item.item_id); shopwright.added(item.item_id, 2);")
    rows = shop.wait_for_events(3)
    by_type = {row["event_type"]: row for row in rows}
    assert by_type.keys() == {"select_item", "view_item", "add_to_cart"}
    for row in rows:  # the click explains what follows on its item
        assert row["recommendation_id"] == first["recommendation_id"]
        assert (row["placement"], row["rank"]) == ("home", 1)
    assert by_type["add_to_cart"]["quantity"] == 2
    assert len({row["session_id"] for row in rows}) == 1
    assert len({row["visitor_id"] for row in rows}) == 1
    page.wait_for_function("shopwright.readQueue().length === 0")  # as soon as the answer is read
    (cart,) = run(page, f"return shopwright.cart(['{first['item_id']}'], {{exclude_viewed: true}})")
    assert first["item_id"] not in [item["item_id"] for item in cart["items"]]
    product = run(page, "return shopwright.product('wine', {count: 2})")
    assert [slate["placement"] for slate in product] == ["product", "bought_together"]
    following = run(
        page,
        "const [slate] = await shopwright.page(['trending'], {count: 2}); "
        "return [slate, await shopwright.next(slate, {count: 2})]",
    )
    shown = [{item["item_id"] for item in slate["items"]} for slate in following]
    assert not shown[0] & shown[1]


def test_without_consent_nothing_is_kept_or_sent(page: Page, shop: Shop) -> None:
    (slate,) = run(page, "return shopwright.page(['home'])")
    assert slate["fallback"] == "popular"
    assert slate["experiments"] == []
    run(page, "shopwright.viewed('beer'); await shopwright.flush()")
    assert run(page, "return Object.keys(localStorage)") == []
    run(
        page, "shopwright.consent(true); await shopwright.page(['home']); shopwright.viewed('beer')"
    )
    shop.wait_for_events(1)
    run(page, "shopwright.consent(false); shopwright.viewed('wine'); await shopwright.flush()")
    assert run(page, "return Object.keys(localStorage)") == ["shopwright.consent"]
    assert len(shop.read_events()) == 1


def test_events_of_a_page_that_goes_away_or_of_a_server_that_is_down_arrive_once(
    page: Page, shop: Shop
) -> None:
    run(page, "shopwright.consent(true); await shopwright.page(['home'])")
    # The page goes away at once: the beacon sends it.
    run(page, "shopwright.viewed('beer')")
    page.goto("about:blank")
    shop.wait_for_events(1)
    # The next page sends again what nobody has acknowledged; it counts once.
    page.goto(shop.origin)
    page.wait_for_function("window.ready && shopwright.readQueue().length === 0")
    assert len(shop.read_events()) == 1
    page.route("**/v1/browser/events*", lambda route: route.abort())
    run(page, "shopwright.viewed('wine'); await shopwright.flush()")
    assert len(run(page, "return shopwright.readQueue()")) == 1
    assert len(shop.read_events()) == 1
    page.unroute("**/v1/browser/events*")
    page.wait_for_function("shopwright.readQueue().length === 0")  # by itself, after a while
    assert [row["item_id"] for row in shop.wait_for_events(2)].count("wine") == 1


def test_what_the_shop_will_never_take_does_not_stand_in_the_way(page: Page, shop: Shop) -> None:
    run(page, "shopwright.consent(true); await shopwright.page(['home'])")
    run(page, "shopwright.track('purchase', 'beer'); shopwright.viewed('wine')")
    (row,) = shop.wait_for_events(1)
    assert row["item_id"] == "wine"
    page.wait_for_function("shopwright.readQueue().length === 0")
    error = run(
        page, "try { await shopwright.page(['hom']) } catch (e) { return [e.status, e.message] }"
    )
    assert error == [422, "unknown placement 'hom'"]


def test_somebody_signs_in_by_a_proof_of_the_shops_server(page: Page, shop: Shop) -> None:
    shop.process.create_key("storefront")
    with shop.process.client() as server:
        token = server.post("/v1/browser-tokens", json={"user_id": "u00"}).json()["user_token"]
    ask = "const [slate] = await shopwright.page(['buy_again'], {strict: true}); "
    ask += "return slate.items.map((item) => item.item_id).sort()"
    run(page, "shopwright.consent(true)")
    assert run(page, ask) == []
    run(page, f"shopwright.signIn('u00', '{token}')")
    assert run(page, ask) == ["beer", "wine"]
    visitor = run(page, "return shopwright.store.read('visitor')")
    # A forged proof signs out, and keeps the visitor.
    run(page, "shopwright.signIn('u01', 'forged')")
    assert run(page, ask) == []
    assert run(page, "return shopwright.store.read('visitor')") == visitor
    run(page, "shopwright.signOut()")
    assert run(page, ask) == []


def test_a_page_of_another_origin_reads_nothing(browser: Browser, shop: Shop) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(shop.origin.replace("127.0.0.1", "localhost"))
    page.wait_for_function("window.ready")
    status = run(page, "try { await shopwright.page(['home']) } catch (e) { return e.status }")
    assert status == 0
    context.close()
