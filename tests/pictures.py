"""`make pictures`: the pictures of the user guide, taken in the console and the storefront of a
simulated grocer.

    python -m tests.pictures [--out docs/user-guide/pictures]

The shop is simulated, imported, trained and priced by the command line; two people sign in and work
as the guide describes.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from playwright.sync_api import Browser, Page

from configs.settings import Settings
from features.contracts.clock import SystemClock
from features.database import engine as open_engine
from serving.access import Area, Grant
from serving.people.service import NewPerson, PeopleService
from tests.shops.console_shop import PASSWORD, ConsoleShop, open_browser, sign_in
from tests.shops.people import QUICK
from tests.shops.shop_process import ShopProcess
from tests.shops.storefront import open_storefront_page, visit

OUT = Path(__file__).parents[1] / "docs" / "user-guide" / "pictures"
ENVIRONMENT = {"SHOPWRIGHT_CLOCK_START": "2023-07-17T05:00:00+00:00", "SHOPWRIGHT_CURRENCY": "EUR"}
CUSTOMER = "u0000"
PEOPLE = {"anna": ("Anna Berg", "analyst"), "ben": ("Ben Okafor", "manager")}
# What the simulated categories sell, four sizes or kinds to a family.
FAMILIES = {
    "Beverages": ("Rooibos tea", "Ground coffee", "Apple juice"),
    "Bakery": ("Rye bread", "Butter croissants", "Oat biscuits"),
    "Dairy": ("Yoghurt", "Salted butter", "Gouda"),
    "Pantry": ("Basmati rice", "Olive oil", "Tomato passata"),
    "Household": ("Dish soap", "Kitchen roll", "Laundry liquid"),
    "Snacks": ("Dark chocolate", "Roasted almonds", "Potato crisps"),
}
KINDS = ("small", "classic", "large", "organic")


def main() -> None:
    """Build the shop, open its console, and take every picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        process = build_shop(Path(folder))
        process.start(until="/healthz", verb="console")
        try:
            with open_browser() as browser:
                take_pictures(browser, ConsoleShop(process, {}), out)
                process.stop()
                process.env["SHOPWRIGHT_STOREFRONT_USERS"] = CUSTOMER
                process.start()
                take_storefront(browser, process.url, out)
        finally:
            process.stop()


def build_shop(root: Path) -> ShopProcess:
    """Return a shop with a queue of suggestions, and people who decide about it."""
    home = root / "home"
    home.mkdir()
    process = ShopProcess(home, ENVIRONMENT)
    tables = root / "tables"
    process.run(
        *("simulate", "--out", str(tables), "--families", "3", "--shoppers", "800"),
        *("--weeks", "80", "--no-clicks", "--seed", "7"),
    )
    name_items(tables / "items.parquet")
    process.run("import", str(tables))
    process.run("features", "materialize")
    process.run("train", "recommendations", refused=True)
    # The gate may refuse it, since a baseline is better in so small a simulation.
    process.run("models", "promote", "recommendations", "1")
    process.run("experiments", "start", "home_ranker", "--accept-worse")
    process.run("train", "demand", "--set", "fit.trees.n_trees=60", refused=True)
    process.run("train", "pricing", refused=True)
    process.run("prices", "suggest")
    (run,) = process.run_json("prices", "runs")["items"]
    if run["status"] == "suggested":
        process.run("prices", "submit", run["id"], "--reason", "costs were checked")
    engine = open_engine(Settings(home=home))
    people = PeopleService(engine, SystemClock(), QUICK)
    for name, (full_name, role) in PEOPLE.items():
        people.create(NewPerson(name, full_name, (Grant(role, Area()),), PASSWORD))
    engine.dispose()
    return process


def name_items(path: Path) -> None:
    """Give the items of a simulated shop titles and categories of a grocer."""
    items = pq.read_table(path)
    families = [(category, name) for category, names in FAMILIES.items() for name in names]
    chosen = [
        (families[n // len(KINDS) % len(families)], KINDS[n % len(KINDS)])
        for n in range(len(items))
    ]
    titles = [f"{name}, {kind}" for (_, name), kind in chosen]
    categories = [f"{category} > {name}" for (category, name), _ in chosen]
    for column, values in (("title", titles), ("category", categories)):
        items = items.set_column(items.schema.get_field_index(column), column, pa.array(values))
    pq.write_table(items, path)


def take_pictures(browser: Browser, shop: ConsoleShop, out: Path) -> None:
    """Take the pictures in the order of a day's work."""

    def take(who: str, path: str, name: str, prepare: Callable[[Page], None]) -> None:
        with sign_in(browser, shop, who, path) as page:
            prepare(page)
            page.wait_for_timeout(1_500)  # charts and rows stand still
            page.screenshot(path=out / f"{name}.png")

    take("anna", "/", "today", wait_for("What waits"))
    take("anna", "/queue?sort=gain&descending=1", "queue", wait_for_rows)
    take("anna", "/queue?sort=gain&descending=1", "suggestion", open_first_row)
    take("ben", "/queue?sort=gain&descending=1", "bulk", preview_five)
    approve_five(browser, shop)
    take("ben", "/live", "live", wait_for("Roll back"))
    take("ben", "/rules", "rules", wait_for("Largest change"))
    take("anna", "/prices/propose", "propose", check_percent)
    take("anna", "/promotions/new", "promotion", look_at_promotion)
    take("ben", "/slates", "slates", try_rule)


def take_storefront(browser: Browser, url: str, out: Path) -> None:
    """Take the home page of a customer who looked at coffee a moment ago."""
    with open_storefront_page(browser, url) as page:
        page.get_by_label("You are").select_option(CUSTOMER)
        page.get_by_role("heading", name=f"For you, customer {CUSTOMER}").wait_for()
        visit(page, "/storefront/search?q=ground+coffee")
        page.locator("[data-slate=search] .card a").first.click()
        page.get_by_role("button", name="Add to the cart").click()
        visit(page, "/storefront")
        page.screenshot(path=out / "storefront.png")


def wait_for(text: str) -> Callable[[Page], None]:
    """Return what waits for a text."""
    return lambda page: page.get_by_text(text).first.wait_for()


def wait_for_rows(page: Page) -> None:
    """Wait for the first rows of the queue."""
    page.locator("[row-index='0'] [col-id=title]").wait_for()


def open_first_row(page: Page) -> None:
    """Open the suggestion with the largest gain."""
    wait_for_rows(page)
    page.locator("[row-index='0'] [col-id=title]").dblclick()
    page.get_by_label("Try a price").wait_for()


def preview_five(page: Page) -> None:
    """Select five suggestions and show what their approval would do."""
    wait_for_rows(page)
    for row in range(5):
        page.locator(f"[row-index='{row}'] .ag-checkbox-input").first.click()
    page.get_by_role("button", name="Approve", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Approve").wait_for()


def approve_five(browser: Browser, shop: ConsoleShop) -> None:
    """Approve what the preview showed."""
    with sign_in(browser, shop, "ben", "/queue?sort=gain&descending=1") as page:
        preview_five(page)
        page.get_by_role("dialog").get_by_role("button", name="Approve").click()
        page.get_by_text("5 prices are approved").wait_for()


def check_percent(page: Page) -> None:
    """Check a change by percent of a category."""
    page.get_by_label("Category").fill("Bakery")
    page.get_by_role("option", name="Bakery", exact=True).click()
    page.get_by_label("Change, %").fill("-3")
    page.get_by_role("button", name="Check").last.click()
    page.get_by_role("button", name=re.compile("File \\d+ prices")).wait_for()
    page.set_viewport_size({"width": 1280, "height": 1200})


def look_at_promotion(page: Page) -> None:
    """Look at a promotion that is too deep for the margin rule."""
    page.get_by_label("Name", exact=True).fill("Olive oil week")
    page.get_by_label("Share taken off, %").fill("48")
    page.get_by_label("Items: title or id").fill("Olive oil, organic")
    page.get_by_role("option").first.click()
    page.keyboard.press("Escape")
    page.get_by_label("Begins").fill("2023-07-24T00:00")
    page.get_by_label("Ends").fill("2023-07-31T00:00")
    page.get_by_role("button", name="Look at it").click()
    page.get_by_text("margin floor").first.wait_for()
    page.set_viewport_size({"width": 1280, "height": 1200})
    page.evaluate("window.scrollTo(0, 0)")


def try_rule(page: Page) -> None:
    """Try a rule that shows coffee first, beside the slate as it is served."""
    page.get_by_role("button", name="Add a rule").click()
    form = page.get_by_role("dialog", name="New rule")
    form.get_by_label("Name of the rule").fill("coffee_first")
    form.get_by_label("Rank, from 1").fill("1")
    form.get_by_label("Items (title or id)").fill("Ground coffee")
    page.get_by_role("option").first.click()
    page.keyboard.press("Escape")
    form.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Try").click()
    page.get_by_role("heading", name="With this draft").wait_for()
    page.set_viewport_size({"width": 1280, "height": 1250})
    heading = page.get_by_role("heading", name="Change a set of rules")
    heading.evaluate("element => { element.scrollIntoView(); window.scrollBy(0, -64); }")


if __name__ == "__main__":
    main()
