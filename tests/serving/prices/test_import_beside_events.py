"""A price list is imported into a running shop on SQLite: events and look-ups of keys go on."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from features.contracts.clock import SystemClock
from features.database import engine as open_engine
from serving.access import SCOPES
from serving.database.migrate import upgrade
from serving.keys.service import KeyService
from tests.shops.served_shop import NOW, copy_shop, make_settings
from tests.shops.shop_process import ShopProcess

pytestmark = [pytest.mark.timeout(900), pytest.mark.slow]

# No write of the import may keep others waiting for longer.
MOST_SECONDS = 1.0
N_KEYS = 40
FULL_SIZE = 60_000


@dataclass
class Waits:
    """How long each of many requests took, in seconds."""

    seconds: list[float] = field(default_factory=list)

    def repeat(self, request: Callable[[int], httpx.Response], until: threading.Event) -> None:
        """Send requests one after the other until the import has ended."""
        while not until.is_set():
            started = time.monotonic()
            answer = request(len(self.seconds))
            self.seconds.append(time.monotonic() - started)
            assert answer.status_code in (200, 202), answer.text
            time.sleep(0.02)


@pytest.fixture
def shop(tiny_home: Path, tmp_path: Path) -> Iterator[ShopProcess]:
    """A running shop, whose first key is in use."""
    copy_shop(tiny_home, tmp_path / "home")
    database = open_engine(make_settings(tmp_path / "home"))
    upgrade(database)
    process = ShopProcess(
        tmp_path / "home",
        {"SHOPWRIGHT_CLOCK_START": NOW.isoformat(), "SHOPWRIGHT_CURRENCY": "EUR"},
    )
    process.key = KeyService(database, SystemClock()).create("tests", SCOPES).key
    database.dispose()
    with process:
        yield process


@pytest.mark.parametrize("n_prices", [6_000, FULL_SIZE])
def test_events_and_keys_do_not_wait_for_an_import_of_prices(
    shop: ShopProcess, tmp_path: Path, n_prices: int
) -> None:
    database = open_engine(make_settings(shop.home))
    keys = KeyService(database, SystemClock())
    others = [keys.create(f"key {n}", ["storefront"]).key for n in range(N_KEYS)]
    database.dispose()
    prices = tmp_path / "tables" / "price_history.csv"
    prices.parent.mkdir()
    write_prices(prices, n_prices, "10.00")
    events, lookups, lock = import_meanwhile(shop, others, "imported", n_prices)
    # Two digits too many in all of them: as many wait on the price desk.
    write_prices(prices, n_prices, "1000.00")
    more_events, more_lookups, more_lock = import_meanwhile(shop, others, "held", n_prices)
    for name, waits in (
        ("events", [*events, *more_events]),
        ("look-ups of keys", [*lookups, *more_lookups]),
        ("the write lock", [*lock, *more_lock]),
    ):
        print(f"{n_prices:,} prices, {name}: {len(waits):,} times, longest {max(waits):.2f} s")
    assert max(lock + more_lock) < MOST_SECONDS
    assert max(events + more_events) < 2 * MOST_SECONDS
    assert max(lookups + more_lookups) < MOST_SECONDS


def write_prices(path: Path, n_prices: int, price: str) -> None:
    rows = [f"p{n},2017-11-01,{price},{price}" for n in range(n_prices)]
    path.write_text("\n".join(["item_id,valid_from,list_price,offer_price", *rows]))


def import_meanwhile(
    shop: ShopProcess, keys: list[str], outcome: str, n_prices: int
) -> tuple[list[float], list[float], list[float]]:
    """Import the prices, and return how long events, look-ups and the write lock took meanwhile."""
    ended = threading.Event()
    events, lookups, lock = Waits(), Waits(), Waits()
    with shop.client() as client, ThreadPoolExecutor(3) as threads:

        def send_event(number: int) -> httpx.Response:
            event = {
                "event_id": f"{outcome} {number}",
                "event_type": "view_item",
                "occurred_at": NOW.isoformat(),
                "visitor_id": "v",
                "item_id": "wine",
            }
            return client.post("/v1/events", json={"events": [event]})

        def look_up(number: int) -> httpx.Response:
            headers = {"Authorization": f"Bearer {keys[number % len(keys)]}"}
            return client.get("/v1/prices?item_id=wine", headers=headers)

        running = [
            threads.submit(events.repeat, send_event, ended),
            threads.submit(lookups.repeat, look_up, ended),
            threads.submit(try_lock, shop.home / "shopwright.db", lock, ended),
        ]
        try:
            folder = shop.home.parent / "tables"
            report = shop.run_json("import", str(folder), "--max-unknown-items", "1")
        finally:
            ended.set()
        for thread in running:
            thread.result()
    entered = report["prices_entered"]["imported"] if outcome == "imported" else report["held"]
    assert entered == n_prices
    return events.seconds, lookups.seconds, lock.seconds


def try_lock(path: Path, waits: Waits, until: threading.Event) -> None:
    """Take the write lock of SQLite again and again, as any other process may."""
    with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as connection:
        while not until.is_set():
            started = time.monotonic()
            connection.execute("BEGIN IMMEDIATE")
            waits.seconds.append(time.monotonic() - started)
            connection.execute("ROLLBACK")
            time.sleep(0.05)
