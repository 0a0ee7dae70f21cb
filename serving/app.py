"""The HTTP server of one shop: `create_app(settings)`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from types import FrameType

from fastapi import FastAPI
from threadpoolctl import threadpool_limits

from configs.settings import Settings
from serving.audit import api as audit
from serving.events import api as events
from serving.experiments import api as experiments
from serving.forecasts import api as forecasts
from serving.http import health, metrics
from serving.http.dependencies import provide
from serving.http.errors import PROBLEMS, add_error_handlers
from serving.http.limits import Limits
from serving.http.metrics import Metrics
from serving.inventory import api as inventory
from serving.models import api as models
from serving.price_desk import api as price_desk
from serving.prices import api as prices
from serving.recommendations import api as recommendations
from serving.server import Server, open_server
from serving.what_if import api as what_if

log = logging.getLogger(__name__)

POLL_SECONDS = 2.0
# How long a stopping server still answers, so that a balancer sees /readyz fail before connections
# do.
DRAIN_SECONDS = 1.0
ROUTERS = (
    recommendations.router,
    events.router,
    prices.router,
    what_if.router,
    price_desk.router,
    price_desk.changes_router,
    forecasts.router,
    inventory.router,
    experiments.router,
    models.router,
    audit.router,
    health.router,
    metrics.router,
)
# The values that `signal.getsignal` returns.
SignalHandler = Callable[[int, FrameType | None], object] | int | signal.Handlers | None


def create_app(settings: Settings) -> FastAPI:
    """Return the application of one shop. It starts without models or features too: /readyz then
    names what is missing."""
    counters = Metrics(settings.home)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        server = await asyncio.to_thread(open_server, settings, counters)
        provide(app, *server.services())
        app.state.server = server
        server.exposures.start()
        poller = asyncio.create_task(_poll(server))
        # One slate is too small to divide: threads of the linear algebra would spend their time on
        # waiting.
        with threadpool_limits(1), _drain_on_sigterm(server):
            yield
        server.readiness.draining = True
        poller.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await poller
        await asyncio.to_thread(server.close)

    app = FastAPI(
        title="Shopwright",
        version="1",
        description=(
            "Recommendations, demand forecasts and prices for an online store, kept by experiment."
        ),
        lifespan=lifespan,
        responses=PROBLEMS,
    )
    for router in ROUTERS:
        app.include_router(router)
    add_error_handlers(app)
    app.add_middleware(Limits, max_inflight=settings.max_inflight, metrics=counters)
    return app


def create_app_from_environment() -> FastAPI:
    """Return the application of the shop that the environment names."""
    settings = Settings()
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    for name in ("alembic", "mlflow", "feast"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return create_app(settings)


async def _poll(server: Server) -> None:
    """Refresh the server every POLL_SECONDS."""
    while True:
        await asyncio.sleep(POLL_SECONDS)
        try:
            await asyncio.to_thread(server.refresh)
        except Exception as error:  # the next round may succeed
            log.warning("cannot read what other processes changed: %s", error)


@contextlib.contextmanager
def _drain_on_sigterm(server: Server) -> Iterator[None]:
    """On SIGTERM the server stops being ready; DRAIN_SECONDS later the handler of before runs."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    previous = signal.getsignal(signal.SIGTERM)

    def drain(number: int, frame: FrameType | None) -> None:
        if server.readiness.draining or not callable(previous):
            _call_handler(previous, number, frame)
            return
        server.readiness.draining = True
        loop.call_soon_threadsafe(loop.call_later, DRAIN_SECONDS, previous, number, frame)

    signal.signal(signal.SIGTERM, drain)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _call_handler(handler: SignalHandler, number: int, frame: FrameType | None) -> None:
    if callable(handler):
        handler(number, frame)
    elif handler == signal.SIG_DFL:
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
