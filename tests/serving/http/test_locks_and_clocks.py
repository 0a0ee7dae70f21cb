"""The real server on SQLite while another process holds the write lock, and while clocks are
wrong."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from features.contracts.clock import SystemClock
from features.database import engine as open_engine
from features.database import reading
from serving.access import SCOPES
from serving.database.migrate import upgrade
from serving.keys.service import KeyService
from tests.shops.price_desk import make_suggestion, store_suggestions
from tests.shops.served_shop import NOW, copy_shop, make_settings
from tests.shops.shop_process import ShopProcess

pytestmark = pytest.mark.timeout(420)

# Runs the command line on a machine whose clock is ahead by the seconds in a file.
PROGRAM = """
import os
from datetime import timedelta
from pathlib import Path
from features.contracts import clock
read_right_time, ahead = clock.read_wall_time, Path(os.environ["SECONDS_AHEAD"])
clock.read_wall_time = lambda: read_right_time() + timedelta(seconds=float(ahead.read_text()))
from serving.cli.main import main
main()
"""
HELD_SECONDS = 3.0
N_SENDERS = 40


@dataclass(frozen=True)
class ClockedShop:
    """A running server, the file that sets its clock, and a suggestion that waits."""

    process: ShopProcess
    client: httpx.Client
    seconds_ahead: Path
    database: sa.Engine
    suggestion_id: str

    def set_clock(self, ahead: timedelta) -> None:
        """Set the clock of the server's machine."""
        staging = self.seconds_ahead.with_suffix(".staging")
        staging.write_text(str(ahead.total_seconds()))
        staging.replace(self.seconds_ahead)

    def read_status(self) -> str:
        """Return the status of the suggestion."""
        answer = self.client.get(f"/v1/price-suggestions/{self.suggestion_id}")
        status: str = answer.json()["status"]
        return status

    def reject(self) -> httpx.Response:
        """Reject the suggestion."""
        url = f"/v1/price-suggestions/{self.suggestion_id}/reject"
        return self.client.post(url, json={"reason": "too high"})


def make_view(event_id: str, occurred_at: datetime = NOW) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "event_type": "view_item",
        "occurred_at": occurred_at.isoformat(),
        "visitor_id": "v",
        "item_id": "wine",
    }


@pytest.fixture(scope="module")
def shop(tiny_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClockedShop]:
    root = tmp_path_factory.mktemp("clocked")
    copy_shop(tiny_home, root / "home")
    database = open_engine(make_settings(root / "home"))
    upgrade(database)
    expires_at = NOW + timedelta(days=14)
    (suggestion_id,) = store_suggestions(database, make_suggestion("milk", expires_at=expires_at))
    seconds_ahead = root / "seconds_ahead"
    seconds_ahead.write_text("0")
    process = ShopProcess(
        root / "home",
        {
            "SHOPWRIGHT_CLOCK_START": NOW.isoformat(),
            "SHOPWRIGHT_CURRENCY": "EUR",
            "SECONDS_AHEAD": str(seconds_ahead),
        },
        program=("-c", PROGRAM),
    )
    process.key = KeyService(database, SystemClock()).create("tests", SCOPES).key
    with process, process.client() as client:
        yield ClockedShop(process, client, seconds_ahead, database, suggestion_id)
    database.dispose()


def test_senders_of_events_who_wait_for_a_lock_keep_nobody_else_waiting(shop: ClockedShop) -> None:
    keys = KeyService(shop.database, SystemClock())
    new_keys = [keys.create(f"new {n}", ["storefront"]).key for n in range(6)]

    def send(number: int) -> httpx.Response:
        return shop.client.post("/v1/events", json={"events": [make_view(f"held {number}")]})

    def ask(key: str) -> float:
        """Return the seconds of a slate."""
        started = time.monotonic()
        headers = {"Authorization": f"Bearer {key}"}
        slate = shop.client.get("/v1/recommendations?placement=home", headers=headers)
        assert slate.status_code == 200
        return time.monotonic() - started

    # What a slate takes on this machine while as many send and nobody holds the lock.
    with ThreadPoolExecutor(N_SENDERS) as senders:
        for number in range(N_SENDERS):
            senders.submit(send, -1 - number)
        usual = max(ask(key) for key in new_keys[:3])
    with (
        ThreadPoolExecutor(N_SENDERS) as senders,
        closing(
            sqlite3.connect(shop.process.home / "shopwright.db", isolation_level=None)
        ) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        until = time.monotonic() + HELD_SECONDS
        answers = [senders.submit(send, number) for number in range(N_SENDERS)]
        n_served = 0
        while time.monotonic() < until:
            for key in new_keys[3:]:
                assert ask(key) < usual + 1.0
                n_served += 1
        other.execute("ROLLBACK")
        responses = [answer.result() for answer in answers]
    assert n_served >= 3
    stored = [response for response in responses if response.status_code == 202]
    refused = [response for response in responses if response.status_code == 503]
    # Half of the 64 places are for events; a sender beyond them is told at once to try again.
    assert len(stored) == 32
    assert [response.headers["Retry-After"] for response in refused] == ["1"] * 8
    assert shop.client.post("/v1/events", json={"events": [make_view("after")]}).json() == {
        "accepted": 1,
        "duplicates": 0,
        "rejected": [],
    }


def test_events_are_kept_by_a_server_whose_clock_is_behind(shop: ClockedShop) -> None:
    shop.set_clock(timedelta(minutes=-10))
    try:
        sent = make_view("sent in time", shop.process.now())
        answer = shop.client.post("/v1/events", json={"events": [sent]}).json()
    finally:
        shop.set_clock(timedelta(0))
    assert answer == {"accepted": 1, "duplicates": 0, "rejected": [], "from_the_future": 1}
    with reading(shop.database) as connection:
        query = sa.text("SELECT attributes FROM events WHERE event_id = 'sent in time'")
        assert sent["occurred_at"][:19] in connection.execute(query).scalar_one()


def test_nothing_is_decided_by_a_clock_that_jumped(shop: ClockedShop) -> None:
    assert shop.read_status() == "submitted"
    shop.set_clock(timedelta(days=400))
    try:
        assert "400 days" in shop.client.get("/readyz").json()["degraded"]["clock"]
        assert shop.read_status() == "submitted"
        refused = shop.reject()
        assert (refused.status_code, refused.json()["where"]) == (503, "clock")
        assert shop.client.get("/v1/recommendations?placement=home").status_code == 200
    finally:
        shop.set_clock(timedelta(0))
    assert "degraded" not in shop.client.get("/readyz").json()
    assert shop.reject().json()["status"] == "rejected"
