"""The demo storefront in a real browser: what a visitor does changes what the pages show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from configs.settings import Settings
from features.database import engine as open_engine
from features.database import reading
from features.facts.events import EventLog
from tests.shops.console_shop import open_browser
from tests.shops.shop_process import ShopProcess
from tests.shops.storefront import open_storefront_page, run_storefront, visit, wait_until_loaded

pytestmark = pytest.mark.browser
PATHS = (
    "/storefront",
    "/storefront/product?id=beer",
    "/storefront/cart",
    "/storefront/search?q=food",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def shop(tiny_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShopProcess]:
    with run_storefront(tiny_home, tmp_path_factory.mktemp("storefront") / "home") as process:
        yield process


@pytest.fixture
def page(browser: Browser, shop: ShopProcess) -> Iterator[Page]:
    with open_storefront_page(browser, shop.url) as opened:
        yield opened


def read_events(shop: ShopProcess, visitor_id: str) -> list[dict]:
    engine = open_engine(Settings(home=shop.home))
    with reading(engine) as connection:
        rows = EventLog(connection).as_arrow().to_pylist()
    engine.dispose()
    return [row for row in rows if row["visitor_id"] == visitor_id]


def read_visitor_id(page: Page) -> str:
    return page.evaluate("shopwright.store.read('visitor').visitor_id")


def list_cards(page: Page, slate: str) -> list[str]:
    """Return the text of each card of a slate, in order."""
    return page.locator(f"[data-slate='{slate}'] .card").all_inner_texts()


def list_items(page: Page, slate: str) -> list[str]:
    return page.locator(f"[data-slate='{slate}'] .card").evaluate_all(
        "cards => cards.map((card) => card.dataset.item)"
    )


def sign_in(page: Page, user_id: str) -> None:
    with page.expect_navigation():
        page.get_by_label("You are").select_option(user_id)
    wait_until_loaded(page)


def test_what_a_stranger_clicked_changes_the_next_slate(page: Page, shop: ShopProcess) -> None:
    before, unknown = list_cards(page, "own"), list_cards(page, "unknown")
    assert before == unknown
    assert all("Popular in this shop" in card for card in before)
    page.locator("[data-slate=own] .card[data-item=beer] a").click()
    page.get_by_role("heading", name="beer", exact=True).wait_for()
    visit(page, "/storefront")
    page.get_by_role("heading", name="Because you looked at beer").wait_for()
    # Others buy wine with beer.
    assert any("Similar to beer" in card for card in list_cards(page, "own"))
    assert list_cards(page, "unknown") == unknown
    rows = read_events(shop, read_visitor_id(page))
    assert {(row["event_type"], row["item_id"]) for row in rows} == {
        ("select_item", "beer"),
        ("view_item", "beer"),
    }
    assert {row["placement"] for row in rows} == {"home"}
    expect(page.locator("#sent")).to_contain_text("select_item beer")


def test_the_page_names_the_experiment_and_the_variant_of_the_visitor(
    page: Page, shop: ShopProcess
) -> None:
    (variant,) = page.evaluate("Object.values(shopwright.experiments())")
    expect(page.locator("#facts")).to_contain_text(f"home_ranker: this visitor gets {variant}")


def test_who_signs_in_keeps_what_they_looked_at_as_a_stranger(
    page: Page, shop: ShopProcess
) -> None:
    visitor_id = read_visitor_id(page)
    visit(page, "/storefront/product?id=milk")
    sign_in(page, "u00")
    visit(page, "/storefront")
    bought = [card for card in list_cards(page, "own") if "You bought this before" in card]
    assert bought
    assert not any("You bought this before" in card for card in list_cards(page, "unknown"))
    # What the stranger viewed is the customer's now.
    ask = "async () => (await shopwright.page(['home'], {exclude_viewed: true}))[0].items"
    assert "milk" not in [item["item_id"] for item in page.evaluate(ask)]
    visit(page, "/storefront/product?id=bread")
    rows = read_events(shop, visitor_id)
    views = {(row["item_id"], row["user_id"]) for row in rows}
    assert views >= {("milk", None), ("bread", "u00")}
    sign_in(page, "")
    expect(page.locator("#facts")).to_contain_text("a stranger")


def test_the_cart_shows_what_is_bought_with_it_and_an_order_has_the_price_of_the_ledger(
    page: Page, shop: ShopProcess
) -> None:
    visit(page, "/storefront/product?id=beer")
    page.get_by_role("button", name="Add to the cart").click()
    page.get_by_role("button", name="Add to the cart").click()
    visit(page, "/storefront/cart")
    expect(page.locator(".lines")).to_contain_text("2 ×")
    expect(page.locator(".total")).to_contain_text("€2.00")
    assert any("Often bought with beer" in card for card in list_cards(page, "cart"))
    assert "beer" not in list_items(page, "cart")
    page.get_by_role("button", name="Place the order").click()
    expect(page.get_by_role("status")).to_contain_text("is placed")
    rows = read_events(shop, read_visitor_id(page))
    (purchase,) = [row for row in rows if row["event_type"] == "purchase"]
    assert (purchase["item_id"], purchase["quantity"], purchase["line_amount_minor"]) == (
        "beer",
        2,
        200,
    )
    assert [row["event_type"] for row in rows].count("add_to_cart") == 2
    assert page.locator("#cart-size").inner_text() == "0"
    expect(page.locator("#sent")).to_contain_text("purchase beer, by the shop's server")
    # The next slate knows it.
    visit(page, "/storefront")
    assert any("You bought this before" in card for card in list_cards(page, "own"))


def test_a_search_is_ranked_for_who_searches(page: Page, shop: ShopProcess) -> None:
    shop.create_key("storefront")
    for user_id in ("u00", "u01"):
        sign_in(page, user_id)
        page.get_by_role("searchbox").fill("Food")
        page.keyboard.press("Enter")
        page.wait_for_url("**/search?q=Food")
        wait_until_loaded(page)
        shown = list_items(page, "search")
        assert set(shown) == {"bread", "butter", "cheese", "milk"}
        with shop.client() as client:
            body = {"user_id": user_id, "item_ids": sorted(shown), "query": "Food"}
            ranked = client.post("/v1/rank", json=body).json()["items"]
        assert shown == [item["item_id"] for item in ranked]
    visit(page, "/storefront/search?q=bicycle")
    expect(page.get_by_role("status")).to_contain_text("Nothing matches")


@pytest.mark.parametrize("item_id", ["bicycle", "constructor", "__proto__"])
def test_an_item_that_the_shop_does_not_have_has_no_page(page: Page, item_id: str) -> None:
    visit(page, f"/storefront/product?id={item_id}")
    expect(page.get_by_role("status")).to_contain_text("no such item")


def test_without_consent_nothing_is_sent_or_kept(page: Page, shop: ShopProcess) -> None:
    with page.expect_navigation():
        page.get_by_label("Remember this visit").uncheck()
    visit(page, "/storefront/product?id=wine")
    page.get_by_role("button", name="Add to the cart").click()
    visit(page, "/storefront/cart")
    page.get_by_role("button", name="Place the order").click()
    expect(page.get_by_role("status")).to_contain_text("is placed")
    assert page.evaluate("shopwright.store.read('visitor')") is None
    assert page.evaluate("sessionStorage.length") == 0
    expect(page.locator("#sent")).to_contain_text("nothing yet")
    with page.expect_navigation():
        page.get_by_role("button", name="Begin again").click()
    wait_until_loaded(page)
    assert page.evaluate("shopwright.store.read('visitor')") is not None


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_violation_or_is_wider_than_the_screen(
    browser: Browser, shop: ShopProcess, scheme: str
) -> None:
    with open_storefront_page(browser, shop.url, color_scheme=scheme) as page:
        page.get_by_role("button", name="Add beer to the cart").first.click()
        for path in PATHS:
            visit(page, path)
            violations = Axe().run(page).response["violations"]
            found = [(v["id"], [node["html"][:160] for node in v["nodes"]]) for v in violations]
            assert found == [], path
            assert page.evaluate("document.documentElement.scrollWidth") <= 1280, path
