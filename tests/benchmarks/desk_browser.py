"""The queue in a browser, and the memory of the console process with ten people connected."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
from playwright.sync_api import Page

from configs.settings import Settings
from features.contracts.clock import SystemClock
from features.database import engine as open_engine
from serving.access import Area, Grant
from serving.people.service import NewPerson, PeopleService
from tests.benchmarks.targets import Target
from tests.shops.console_shop import PASSWORD, ConsoleShop, open_browser, sign_in
from tests.shops.people import QUICK
from tests.shops.price_desk import NOW
from tests.shops.shop_process import COLD_START, ShopProcess

_SECONDS = 1.0
_REPEATS = 5
_N_PEOPLE = 10
_FIRST_ROW = "[row-index='0'] [col-id=title]"
# By what they show, as the address of the page has them. The first items are approved by now.
_FILTERS: dict[str, dict[str, str]] = {
    "first page": {},
    "category": {"category": "Department 03"},
    "evidence": {"grade": "A,B"},
    "binding rule": {"rule": "ceiling"},
    "large changes": {"change": "10"},
    "large gains": {"gain": "45"},
    "new since yesterday": {"since": "yesterday"},
    "text in many titles": {"text": "blue"},
    "text in one title": {"text": "I020777"},
    "order by category": {"sort": "category"},
    "all together": {"category": "Department 03", "grade": "A", "change": "5", "text": "red"},
}


def measure_browser(home: Path) -> list[Target]:
    """Measure the console of a shop with a full queue on SQLite."""
    with _run_console(home) as shop, open_browser() as browser, ExitStack() as opened:
        alone = shop.process.read_memory_mib()
        people = [
            opened.enter_context(sign_in(browser, shop, f"person{number}", "/queue"))
            for number in range(_N_PEOPLE)
        ]
        for page in people:
            page.locator(_FIRST_ROW).wait_for()
        connected = shop.process.read_memory_mib()
        print(f"console process: {alone:.0f} MiB alone", flush=True)
        print(f"console process: {connected:.0f} MiB with {_N_PEOPLE} people", flush=True)
        slowest, slowest_label = 0.0, ""
        for label, parameters in _FILTERS.items():
            seconds = _time_p95(lambda p=parameters: _open(people[0], p))  # type: ignore[misc]
            print(f"browser: {label}: {seconds * 1_000:.0f} ms", flush=True)
            if seconds > slowest:
                slowest, slowest_label = seconds, label
        numbers = count(20_000)
        typed = _time_p95(lambda: _type(people[1], next(numbers)))
        print(f"browser: typed filter: {typed * 1_000:.0f} ms", flush=True)
    return [
        Target(
            f"browser: from the address to the rows, p95 of the slowest ({slowest_label}), "
            f"<= {_SECONDS:.0f} s",
            f"{slowest:.2f} s",
            slowest <= _SECONDS,
        ),
        Target(
            f"browser: from a typed filter to the rows, p95, <= {_SECONDS:.0f} s",
            f"{typed:.2f} s",
            typed <= _SECONDS,
        ),
    ]


@contextmanager
def _run_console(home: Path) -> Iterator[ConsoleShop]:
    settings = Settings(home=home)
    engine = open_engine(settings)
    people = PeopleService(engine, SystemClock(), QUICK)
    for number in range(_N_PEOPLE):
        grant = Grant("analyst", Area())
        people.create(NewPerson(f"person{number}", f"Person {number}", (grant,), PASSWORD))
    engine.dispose()
    environment = {"SHOPWRIGHT_CLOCK_START": NOW.isoformat(), "SHOPWRIGHT_CURRENCY": "EUR"}
    process = ShopProcess(home, environment, program=COLD_START)
    process.start(until="/healthz", verb="console")
    try:
        yield ConsoleShop(process, {})
    finally:
        process.stop()


def _open(page: Page, parameters: dict[str, str]) -> None:
    """Load the queue as an address shows it, and wait for its first row."""
    page.goto(f"/queue?{urlencode(parameters)}")
    page.locator(_FIRST_ROW).wait_for()


def _type(page: Page, number: int) -> None:
    """Type a filter into the queue and wait for its rows."""
    page.get_by_label("Item or title").fill(f"i{number:06}")
    page.locator(_FIRST_ROW).filter(has_text=f"article no. {number}").wait_for()


def _time_p95(work: Callable[[], None]) -> float:
    times = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return float(np.quantile(times, 0.95))
