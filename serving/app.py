"""The HTTP server of one shop: `create_app(settings)`."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import re
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from types import FrameType

from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI
from fastapi.routing import APIRoute
from threadpoolctl import threadpool_limits

from configs.settings import Settings
from serving.audit import api as audit
from serving.browser import api as browser
from serving.catalogue import api as catalogue
from serving.effects import api as effects
from serving.events import api as events
from serving.experiments import api as experiments
from serving.forecasts import api as forecasts
from serving.http import health, metrics
from serving.http.connections import REQUEST_SECONDS
from serving.http.cross_origin import CrossOrigin
from serving.http.dependencies import provide
from serving.http.documentation import add_documentation
from serving.http.errors import PROBLEMS, add_error_handlers
from serving.http.escaped_slashes import EscapedSlashes
from serving.http.limits import Limits
from serving.http.metrics import Metrics
from serving.inventory import api as inventory
from serving.merchandising import api as merchandising
from serving.models import api as models
from serving.people import api as people
from serving.price_desk import api as price_desk
from serving.price_desk import comments_api as price_comments
from serving.price_desk import controls_api as price_desk_controls
from serving.price_desk import decisions_api as price_decisions
from serving.price_desk import locks_api as price_locks
from serving.price_desk import price_tests_api as price_tests
from serving.price_desk import proposals_api as price_proposals
from serving.price_desk import runs_api as pricing_runs
from serving.price_desk import scenarios_api as price_scenarios
from serving.prices import api as prices
from serving.pricing_rules import api as pricing_rules
from serving.privacy import api as privacy
from serving.promotions import api as promotions
from serving.recommendations import api as recommendations
from serving.server import Refresher, Server
from serving.server_opening import open_server, open_storefront
from serving.storefront.api import add_storefront
from serving.webhooks import api as webhooks
from serving.what_if import api as what_if

# How long a stopping server still answers, so that a balancer sees /readyz fail before connections
# do.
DRAIN_SECONDS = 1.0
ROUTERS = (
    recommendations.router,
    merchandising.router,
    merchandising.placements_router,
    events.router,
    catalogue.router,
    browser.router,
    prices.router,
    what_if.router,
    promotions.router,
    price_desk.router,
    price_desk.changes_router,
    price_proposals.router,
    price_comments.router,
    price_decisions.router,
    price_locks.router,
    price_desk_controls.router,
    pricing_runs.router,
    price_scenarios.router,
    price_tests.router,
    effects.router,
    forecasts.router,
    inventory.router,
    experiments.router,
    models.router,
    people.sessions_router,
    people.people_router,
    privacy.router,
    webhooks.router,
    pricing_rules.router,
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
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, float]]:
        server = await asyncio.to_thread(open_server, settings, counters)
        provide(app, *server.services())
        if settings.storefront_users:
            provide(app, open_storefront(server))
        app.state.server = server
        server.exposures.start()
        refresher = Refresher(server)
        refresher.start()
        if settings.webhook_targets:
            server.deliverer.start()
        # A request in flight never waits for a thread: the number of places is the only limit.
        current_default_thread_limiter().total_tokens = settings.max_inflight
        # One slate is too small to divide: threads of the linear algebra would spend their time on
        # waiting.
        with threadpool_limits(1), _drain_on_sigterm(server):
            yield {REQUEST_SECONDS: settings.request_seconds}
        server.readiness.draining = True
        refresher.stop()
        await asyncio.to_thread(server.close)

    app = FastAPI(
        title="Shopwright",
        version="1",
        description=(
            "Recommendations, demand forecasts and prices for an online store, kept by experiment."
        ),
        lifespan=lifespan,
        responses=PROBLEMS,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=_name_operation,
    )
    for router in ROUTERS:
        app.include_router(router)
    if settings.storefront_users:
        add_storefront(app)
    add_documentation(app)
    add_error_handlers(app)
    app.add_middleware(EscapedSlashes)
    app.add_middleware(
        Limits,
        max_inflight=settings.max_inflight,
        request_seconds=settings.request_seconds,
        metrics=counters,
    )
    if settings.cors_origins:
        # The outermost: a preflight carries no key.
        app.add_middleware(CrossOrigin, origins=settings.cors_origins)
    return app


def _name_operation(route: APIRoute) -> str:
    """Return the method and the address of a route as a name, which functions of generated clients
    have: `post_recommendations`."""
    words = re.findall(r"\w+", route.path.removeprefix("/v1"))
    return "_".join([*sorted(route.methods or ()), *words]).lower()


def create_app_from_environment() -> FastAPI:
    """Return the application of the shop that the environment names."""
    os.umask(0o077)  # the state folder is of this user alone
    # A registry that hangs would hold its callers for a quarter of an hour.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    settings = Settings()
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    for name in ("alembic", "mlflow", "feast"):
        logging.getLogger(name).setLevel(logging.WARNING)
    app = create_app(settings)
    # A full collection would look at all that was imported, and every answer would wait for it.
    gc.freeze()
    return app


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
