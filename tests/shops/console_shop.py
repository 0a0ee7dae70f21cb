"""A console in a process of its own, and the browsers of people who signed in to it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from playwright.sync_api import TimeoutError as NotShown

from configs.settings import Settings
from features.contracts.clock import SystemClock
from features.database import engine as open_engine
from features.database import transaction
from features.prices.ledger import Ledger
from serving.access import Area, Grant
from serving.database.migrate import upgrade
from serving.http.session_cookie import SessionCookie
from serving.people.service import NewPerson, PeopleService
from serving.people.sessions import Credentials, SessionLimits, SessionService
from serving.price_desk.repository import NewSuggestion, Suggestions
from tests.shops.people import HERE, QUICK
from tests.shops.price_desk import make_opening_price, make_suggestion
from tests.shops.served_shop import ITEMS, NOW, add_price_response, make_settings
from tests.shops.shop_process import ShopProcess

CHROMIUM = Path("/usr/bin/chromium")
PATIENCE_MS = 30_000  # for what a page shows, on a busy machine
LIST_TRIES = 4
expect.set_options(timeout=PATIENCE_MS)
# The browser's address bar draws its list in two pages of its own, anew for each window: four times
# the cost of the window. A spare renderer is started for the next window, which has its own. The
# others are those that Playwright names: the last flag counts alone.
UNUSED_FEATURES = (
    "WebUIOmniboxPopup",
    "WebUIOmniboxAimPopup",
    "AimEnabled",
    "AvoidCorsURLLoaderRestartOnRedirect",
    "AvoidUnnecessaryBeforeUnloadCheckSync",
    "DestroyProfileOnBrowserClose",
    "HttpsFirstBalancedModeAutoEnable",
    "HttpsUpgrades",
    "LensOverlay",
    "MediaRouter",
    "NetworkTimeServiceQuerying",
    "OptimizationHints",
    "PaintHolding",
    "PreconnectToSearch",
    "SpareRendererForSitePerProcess",
    "ThirdPartyStoragePartitioning",
)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--disable-features={','.join(UNUSED_FEATURES)}",
]
# A page takes what is done to it once its socket is open; what is done before may arrive in another
# order. A person sees the page earlier and needs longer, a test does not.
HIDE_UNTIL_CONNECTED = """
document.addEventListener("DOMContentLoaded", () => {
  const style = document.documentElement.style;
  const wait = () => {
    style.visibility = window.did_handshake ? "" : "hidden";
    if (!window.did_handshake) setTimeout(wait, 10);
  };
  if (document.getElementById("app")) wait();
});
"""
# Everybody's password, as long as they are asked for.
PASSWORD = "nine patient copper kettles"
ROLES = {"anna": "analyst", "ben": "approver", "mia": "manager", "ada": "admin"}
TITLES = {
    "beer": "Beer, 6 bottles",
    "bread": "Rye bread with a title that is longer than any column of a table of prices is wide",
    "butter": "Butter 250 g",
    "cheese": "奶酪 200 克",
    "milk": "Milk 1 l",
    "wine": "<b>Wine</b> & more",
}


def make_queue() -> list[NewSuggestion]:
    """Return a suggestion of each item of the tiny shop: 1.00 becomes 1.05, 1.06 and so on."""
    suggestions = []
    for place, item in enumerate(ITEMS):
        price = 105 + place
        gain = 100.0 * (place + 1)
        expected = {
            name: {
                "p10": 5.0 * scale,
                "p50": 10.0 * scale,
                "p90": 20.0 * scale,
                "against_keeping": {"p10": gain / 2, "p50": gain, "p90": 2 * gain},
            }
            for name, scale in (("units", 1), ("revenue", 100), ("profit", 30))
        }
        suggestions.append(
            make_suggestion(
                item,
                price,
                title=TITLES[item],
                category=ITEMS[item][0],
                expected=expected,
                gain_minor=gain,
                evidence_grade="ABC"[place % 3],
                binding_rule="ceiling" if place % 2 else None,
                details={"horizon_weeks": 4, "unit_cost_minor": 70.0, "cost_source": "given"},
            )
        )
    return suggestions


def furnish(home: Path) -> list[str]:
    """Give a copy of the tiny shop people, a price response, prices and a queue; return the ids of
    the suggestions in the order of ITEMS."""
    settings = make_settings(home)
    add_price_response(settings, **dict.fromkeys(ITEMS, -2.0))
    engine = open_engine(settings)
    upgrade(engine)
    people = PeopleService(engine, SystemClock(), QUICK)
    for name, role in ROLES.items():
        people.create(NewPerson(name, name.title(), (Grant(role, Area()),), PASSWORD))
    with transaction(engine) as connection:
        Ledger(connection).append([make_opening_price(item) for item in ITEMS])
        ids = Suggestions(connection).add(make_queue())
    engine.dispose()
    return ids


@dataclass
class ConsoleShop:
    """A running console, and what it was furnished with."""

    process: ShopProcess
    ids: dict[str, str]


@contextmanager
def run_console(home: Path, **settings: str) -> Iterator[ConsoleShop]:
    """Run the console of a furnished copy of the tiny shop."""
    ids = dict(zip(ITEMS, furnish(home), strict=True))
    environment = {
        "SHOPWRIGHT_CLOCK_START": NOW.isoformat(),
        "SHOPWRIGHT_CURRENCY": "EUR",
        **settings,
    }
    process = ShopProcess(home, environment)
    process.start(until="/healthz", verb="console")
    try:
        yield ConsoleShop(process, ids)
    finally:
        process.stop()


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Open the machine's Chromium; a missing one fails in CI and skips elsewhere."""
    if not CHROMIUM.exists():
        message = f"no browser at {CHROMIUM}; try: apt-get install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        warnings.warn(message, stacklevel=1)
        pytest.skip(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


@dataclass
class Watched:
    """A page of the browser, and what went wrong in it."""

    page: Page
    problems: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def watch(self) -> None:
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("console", self._on_message)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))

    def _on_message(self, message: Any) -> None:
        if message.type == "error":
            self.problems.append(message.text)


def _begin_session(shop: ConsoleShop, name: str) -> str:
    """Begin a session of somebody and return its token.

    Where the form of the console does so, it keeps the quick password of a test as a slow one.
    """
    engine = open_engine(Settings(home=shop.process.home))
    limits = SessionLimits(idle=timedelta(hours=1), absolute=timedelta(hours=1))
    sessions = SessionService(engine, SystemClock(), QUICK, limits)
    token = sessions.sign_in(Credentials(name, PASSWORD), HERE).token
    engine.dispose()
    return token


@contextmanager
def sign_in(
    browser: Browser, shop: ConsoleShop, name: str, path: str = "/", **context: Any
) -> Iterator[Page]:
    """Open a page as somebody; afterwards nothing may have failed, nor come from another host."""
    opened = browser.new_context(
        base_url=shop.process.url,
        **{"viewport": {"width": 1280, "height": 800}, "locale": "en-GB", **context},
    )
    opened.add_init_script(HIDE_UNTIL_CONNECTED)
    watched = Watched(opened.new_page())
    watched.watch()
    page = watched.page
    token = _begin_session(shop, name)
    cookie = SessionCookie(None).name
    opened.add_cookies([{"name": cookie, "value": token, "url": shop.process.url}])
    page.goto(path)
    page.wait_for_selector("main")
    yield page
    opened.close()
    assert watched.problems == [], watched.problems
    assert {host for host in watched.hosts if host} == {urlsplit(shop.process.url).netloc}


def choose_options(page: Page, field: Locator, *names: str, typed: str | None = None) -> None:
    """Choose options of a field, those that `typed` leaves where it searches.

    A list that a scroll of the page closed is opened again. At the end the list is gone: while one
    closes, the keyboard's focus goes back to its field, also from the next one.
    """
    options = [page.get_by_role("option", name=name, exact=True) for name in names]
    for _ in range(LIST_TRIES):
        if typed is None:
            field.click()
        else:
            field.fill(typed)
        with suppress(NotShown):
            options[0].wait_for(timeout=5_000)
            break
    lists = page.get_by_role("listbox")
    takes_several = lists.first.get_attribute("aria-multiselectable") == "true"
    for option in options:
        was_chosen = option.get_attribute("aria-selected")
        option.click()
        # The next one is added to what the server knows; the page may be built anew by then.
        unchanged = page.locator(f"[role=option][aria-selected={was_chosen}]").and_(option)
        expect(unchanged).to_have_count(0)
    if takes_several and lists.count():
        page.keyboard.press("Escape")
    expect(lists).to_have_count(0)
