"""A price desk for promotions over HTTP: five items at 1.00 with forecasts and responses."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import httpx
import numpy as np
import pyarrow as pa
import sqlalchemy as sa
import uvicorn
from fastapi import FastAPI

from configs.settings import Settings
from features.contracts.errors import Unavailable
from features.contracts.tables import TIMESTAMP
from features.database import transaction
from features.facts.facts import Facts
from features.facts.item_rules import ItemRules
from features.prices.ledger import Ledger
from models.demand.lookup import ForecastTable
from models.registry import Version
from serving.forecasts import api as forecasts
from serving.forecasts.service import ForecastService
from serving.http.dependencies import provide
from serving.http.errors import add_error_handlers
from serving.http.idempotency import IdempotencyService
from serving.keys.service import KeyService
from serving.price_desk import api as price_desk
from serving.price_desk.service import PriceDeskService
from serving.prices import api as prices
from serving.prices.service import PriceService
from serving.promotions import api as promotions
from serving.promotions.effect import PromotionEffectService
from serving.promotions.service import PromotionService
from serving.what_if import api as what_if
from serving.what_if.service import WhatIfService
from tests.shops.clocks import FixedClock, MovingClock
from tests.shops.event_tables import make_table
from tests.shops.fitted_responses import make_fitted_response
from tests.shops.price_desk import NOW, SYSTEM_NOW, make_opening_price

ITEMS = {
    "beer": "Drinks > Beer",
    "bread": "Food > Bakery",
    "butter": "Food > Dairy",
    "cheese": "Food > Dairy",
    "milk": "Food > Dairy",
}
WEEKLY_UNITS = 100.0
PEOPLE = {
    "anna": ("pricing.propose", "pricing.approve"),
    "ben": ("pricing.approve",),
    "carla": ("pricing.approve",),
    "reader": ("pricing.read",),
    "shop": ("storefront",),
}


class DeskModels:
    """Served models: every item sells WEEKLY_UNITS a week and answers to its price with -2."""

    def __init__(self, zones: Sequence[str]) -> None:
        self._zones = zones
        self.trained = True

    def forecasts(self) -> SimpleNamespace:
        if not self.trained:
            raise Unavailable("no demand model is champion yet")
        rows = [
            {
                "unique_id": item,
                "zone": zone,
                "ds": NOW + timedelta(weeks=week),
                "mean": WEEKLY_UNITS,
                "p10": 0.8 * WEEKLY_UNITS,
                "p50": WEEKLY_UNITS,
                "p90": 1.2 * WEEKLY_UNITS,
            }
            for item in ITEMS
            for zone in self._zones
            for week in range(13)
        ]
        numbers = [(name, pa.float64()) for name in ("mean", "p10", "p50", "p90")]
        schema = pa.schema(
            [("unique_id", pa.string()), ("zone", pa.string()), ("ds", TIMESTAMP), *numbers]
        )
        table = ForecastTable(pa.Table.from_pylist(rows, schema))
        return SimpleNamespace(table=table, version=Version("demand", "1", "run", (), 0.0))

    def pricing(self) -> SimpleNamespace:
        responses = np.full(len(ITEMS), -2.0)
        model = make_fitted_response(list(ITEMS), responses, zone=self._zones[0])
        return SimpleNamespace(model=model, version=Version("pricing", "1", "run", (), 0.0))

    def elasticity(self, _item_id: str, _zone: str) -> float:
        return -2.0


def make_price(item: str, offer: int, days: float = -1.0, zone: str = "default"):
    return replace(make_opening_price(item, offer, zone), valid_from=NOW + timedelta(days=days))


def write_catalogue(settings: Settings, unit_cost_minor: int | None = 60) -> None:
    items = [
        {"item_id": item, "title": item, "category": category, "unit_cost_minor": unit_cost_minor}
        for item, category in ITEMS.items()
    ]
    Facts(settings).write({"items": make_table("items", items)})


@contextmanager
def serve_desk(
    engine: sa.Engine, settings: Settings, zones: Sequence[str] = ("default",)
) -> Iterator[SimpleNamespace]:
    """Serve the desk; `move(days=...)` sets the business clock on, and the names of PEOPLE are
    their clients; `control.moved` is what unchanged items are said to show."""
    write_catalogue(settings)
    with transaction(engine) as connection:
        openings = [make_price(item, 100, -60, zone) for item in ITEMS for zone in zones]
        Ledger(connection).append(openings)
    clock, system_clock, models = MovingClock(NOW), FixedClock(SYSTEM_NOW), DeskModels(zones)
    rules = ItemRules(settings, clock, engine)
    looking = WhatIfService(settings, engine, clock, models)
    keys = KeyService(engine, system_clock)
    service = PromotionService(
        settings=settings,
        engine=engine,
        clock=clock,
        system_clock=system_clock,
        find_rules=rules,
        simulate=looking.simulate_promotion,
        freeze=lambda _connection, _zone: "forecasts_of_the_approval",
    )
    control = SimpleNamespace(moved=None, find=lambda *_which: control.moved)
    app = FastAPI()
    add_error_handlers(app)
    for module in (prices, price_desk, what_if, promotions, forecasts):
        app.include_router(module.router)
    app.include_router(price_desk.changes_router)
    provide(
        app,
        keys,
        PriceService(settings, engine, clock, rules),
        PriceDeskService(settings, engine, clock, system_clock, rules),
        looking,
        service,
        PromotionEffectService(settings, engine, clock, lambda *which: control.find(*which)),
        ForecastService(settings, engine, clock, models),
        IdempotencyService(engine, system_clock),
    )
    with _run_server(app) as address:
        clients = {name: _connect(keys, name, scopes, address) for name, scopes in PEOPLE.items()}
        yield SimpleNamespace(
            engine=engine,
            settings=settings,
            models=models,
            service=service,
            control=control,
            move=lambda **time: setattr(clock, "at", clock.at + timedelta(**time)),
            **clients,
        )
        for client in clients.values():
            client.close()


def _connect(keys: KeyService, name: str, scopes: Sequence[str], address: str) -> httpx.Client:
    key = keys.create(name, scopes).key
    headers: Mapping[str, str] = {"Authorization": f"Bearer {key}"}
    return httpx.Client(base_url=address, headers=headers, timeout=120)


class _Server(uvicorn.Server):
    """A server that stops at once: its clients are closed before."""

    async def main_loop(self) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        await self._stopped.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)


@contextmanager
def _run_server(app: FastAPI) -> Iterator[str]:
    """Run the application on a free port and yield its address."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off")
    running = _Server(config)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}"
    running.stop()
    thread.join(30)
    assert not thread.is_alive()
