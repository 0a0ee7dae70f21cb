"""The HTTP server, put together: `create_app(settings)`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

from fastapi import FastAPI
from threadpoolctl import threadpool_limits

from configs.settings import Settings
from features.contracts.clock import SystemClock
from features.database import engine as open_engine
from features.facts.known_events import ImportedEvents
from features.online.online_store import OnlineHistories
from models.registry import Registry
from serving.audit import api as audit
from serving.database.migrate import upgrade
from serving.events import api as events
from serving.experiments import api as experiments
from serving.experiments.service import ExperimentDesk
from serving.forecasts import api as forecasts
from serving.http import health, metrics
from serving.http.errors import PROBLEMS, add_error_handlers
from serving.http.limits import Limits
from serving.http.metrics import Metrics
from serving.inventory import api as inventory
from serving.inventory.service import InventoryDesk
from serving.models import api as models
from serving.models.served_models import Champions
from serving.price_desk import api as suggestions
from serving.prices import api as prices
from serving.recommendations import api as recommendations
from serving.recommendations.exposure_writer import ExposureWriter
from serving.recommendations.service import RecommendService
from serving.server import Server
from serving.what_if import api as simulations

log = logging.getLogger(__name__)

POLL_SECONDS = 2.0
# How long a stopping server still answers, so that a balancer sees /readyz fail before connections
# do.
DRAIN_SECONDS = 1.0
# Slates are made a few at a time: more threads would only take the interpreter from each other.
_SLATE_THREADS = 2
_ROUTERS = (
    recommendations,
    events,
    prices,
    simulations,
    suggestions,
    forecasts,
    inventory,
    experiments,
    models,
    audit,
    health,
    metrics,
)


def create_app(settings: Settings) -> FastAPI:
    """The application of one shop. It starts without models or features too: /readyz then says what
    is missing."""
    counted = Metrics(settings.home)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        server = await asyncio.to_thread(_open, settings, counted)
        app.state.server = server
        # Where the dependencies of serving.api look.
        app.state.settings = settings
        app.state.engine, app.state.clock, app.state.system_clock = (
            server.engine,
            server.clock,
            server.system_clock,
        )
        server.exposures.start()
        poller = asyncio.create_task(_poll(server))
        # One slate is too small to share out: threads of the linear algebra would spend their time
        # on waiting.
        with threadpool_limits(1), _draining_on_sigterm(server):
            yield
        server.draining = True
        poller.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await poller
        await asyncio.to_thread(_close, server)

    app = FastAPI(
        title="Shopwright",
        version="1",
        description="Recommendations, demand forecasts and prices for an online store, kept by experiment.",
        lifespan=lifespan,
        responses=PROBLEMS,
    )
    for module in _ROUTERS:
        app.include_router(module.router)
    add_error_handlers(app)
    app.add_middleware(Limits, max_inflight=settings.max_inflight, metrics=counted)
    return app


def create_app_from_environment() -> FastAPI:
    """The application of the shop that the environment names."""
    settings = Settings()
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    for chatty in ("alembic", "mlflow", "feast"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    return create_app(settings)


def _open(settings: Settings, counted: Metrics) -> Server:
    engine = open_engine(settings)
    upgrade(engine)
    clock, system_clock = settings.business_clock(), SystemClock()
    registry = Registry(settings.mlflow_url, settings.home)
    histories = OnlineHistories(settings, engine)
    exposures = ExposureWriter(engine)
    server = Server(
        settings=settings,
        engine=engine,
        clock=clock,
        system_clock=system_clock,
        imported=ImportedEvents(settings),
        registry=registry,
        champions=Champions(settings, registry),
        experiments=ExperimentDesk(settings, engine),
        recommend=RecommendService(engine, settings, clock, system_clock, histories, exposures.add),
        inventory=InventoryDesk(settings, engine),
        exposures=exposures,
        metrics=counted,
        workers=ThreadPoolExecutor(_SLATE_THREADS, thread_name_prefix="slates"),
    )
    _refresh(server)
    try:
        histories.warm()
    except Exception as error:  # the first read says it again
        log.warning("online features are not open: %s", error)
    return server


def _refresh(server: Server) -> None:
    server.champions.refresh()
    server.experiments.refresh()
    server.metrics.observe(server)


async def _poll(server: Server) -> None:
    """Sees what other processes promoted, materialized, started or stopped."""
    while True:
        await asyncio.sleep(POLL_SECONDS)
        try:
            await asyncio.to_thread(_refresh, server)
        except Exception as error:  # the next round may do better
            log.warning("cannot look for news: %s", error)


def _close(server: Server) -> None:
    server.workers.shutdown()
    server.exposures.close()
    server.metrics.close()
    server.engine.dispose()


@contextlib.contextmanager
def _draining_on_sigterm(server: Server) -> Any:
    """On SIGTERM readiness goes first; a moment later the signal does what it did before."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = signal.getsignal(signal.SIGTERM)

    def drain(number: int, frame: FrameType | None) -> None:
        if server.draining or not callable(before):
            _pass_on(before, number, frame)
            return
        server.draining = True
        loop.call_soon_threadsafe(loop.call_later, DRAIN_SECONDS, before, number, frame)

    signal.signal(signal.SIGTERM, drain)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _pass_on(handler: Any, number: int, frame: FrameType | None) -> None:
    if callable(handler):
        handler(number, frame)
    elif handler == signal.SIG_DFL:
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
