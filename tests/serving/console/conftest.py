"""A console of the tiny shop and a browser, for the tests of one file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.shops.console_shop import ConsoleShop, open_browser, run_console, sign_in
from tests.shops.served_shop import copy_shop


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The machine's Chromium; for one file, since `asyncio.run` fails beside an open Playwright."""
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def console(
    browser: Browser, tiny_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ConsoleShop]:
    """A running console with a queue of six suggestions and four people."""
    home = tmp_path_factory.mktemp("console") / "home"
    copy_shop(tiny_home, home)
    with run_console(home) as shop:
        yield shop


@pytest.fixture
def visit(browser: Browser, console: ConsoleShop) -> Callable[..., AbstractContextManager[Page]]:
    """Opens a page as somebody: `with visit("anna", "/queue") as page`."""
    return partial(sign_in, browser, console)
