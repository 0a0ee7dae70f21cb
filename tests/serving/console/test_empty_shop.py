"""The console of a shop that has nothing yet: every page says how to begin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from features.contracts.clock import SystemClock
from features.database import engine as open_engine
from serving.access import Grant
from serving.database.migrate import upgrade
from serving.people.service import NewPerson, PeopleService
from tests.shops.console_shop import PASSWORD, ConsoleShop, sign_in
from tests.shops.people import QUICK
from tests.shops.served_shop import make_settings
from tests.shops.shop_process import ShopProcess

pytestmark = pytest.mark.browser

COMMANDS = {
    "/queue": "shopwright prices suggest",
    "/slates": "shopwright train recommendations",
    "/demand": "shopwright train demand",
    "/stock": "shopwright train demand",
    "/models?model=pricing": "shopwright train pricing",
    "/keys": "shopwright keys create",
}


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleShop]:
    """The console of an empty state folder with one admin."""
    home: Path = tmp_path_factory.mktemp("empty") / "home"
    home.mkdir()
    opened = open_engine(make_settings(home))
    upgrade(opened)
    people = PeopleService(opened, SystemClock(), QUICK)
    people.create(NewPerson("ada", "Ada", (Grant("admin"),), PASSWORD))
    opened.dispose()
    process = ShopProcess(home, {})
    process.start(until="/healthz", verb="console")
    try:
        yield ConsoleShop(process, {})
    finally:
        process.stop()


def test_every_page_names_the_command_that_fills_it(browser, empty):
    with sign_in(browser, empty, "ada", "/health") as page:
        page.get_by_role("cell", name="Database", exact=True).wait_for()
        page.get_by_role("cell", name="Last import", exact=True).wait_for()
        for path, command in COMMANDS.items():
            page.goto(path)
            page.get_by_text(command).first.wait_for()
            assert page.locator(".problem").count() == 0, path


def test_one_admin_alone_is_warned_that_nobody_may_approve_what_they_propose(browser, empty):
    with sign_in(browser, empty, "ada", "/people") as page:
        page.get_by_text("Only Ada may approve prices").wait_for()
        page.get_by_text("Only Ada may manage people").wait_for()
