"""The console of one shop: `create_console(settings)`, a process of its own."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module

from fastapi import FastAPI
from fastapi.middleware.gzip import GZipMiddleware
from nicegui import ui

from configs.settings import Settings
from serving.console import grid_data, sign_in
from serving.console.frame import Console, share_static_files
from serving.console.notices import CountService
from serving.console.security import PageHeaders, SessionGate
from serving.console.unchanging_files import UnchangingFiles
from serving.http.dependencies import provide
from serving.http.errors import add_error_handlers
from serving.http.metrics import Metrics
from serving.people import api as people
from serving.server import Refresher
from serving.server_opening import open_server

# One module per page (or per few that belong together), each with `add_pages(console)`.
PAGES = (
    "today",
    "queue",
    "live",
    "prices",
    "propose",
    "promotion_form",
    "promotions",
    "rules",
    "runs",
    "price_tests",
    "scenarios",
    "slates",
    "demand",
    "stock",
    "experiment_form",
    "experiments",
    "models",
    "people",
    "keys",
    "audit",
    "health",
)
# A page that lost its connection for longer starts anew; what is typed in it is lost.
_RECONNECT_SECONDS = 60.0


def create_console(settings: Settings) -> FastAPI:
    """Return the console of a shop as an application of its own."""
    server = open_server(settings, Metrics(settings.home))

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        refresher = Refresher(server)
        refresher.start()
        yield
        refresher.stop()
        await asyncio.to_thread(server.close)

    app = FastAPI(title="Shopwright console", lifespan=lifespan, openapi_url=None)
    provide(app, *server.services())
    app.include_router(sign_in.router)
    app.include_router(grid_data.router)
    app.include_router(people.sessions_router)
    add_error_handlers(app)
    console = Console(server, CountService(server))
    for name in PAGES:
        import_module(f"serving.console.pages.{name}").add_pages(console)
    share_static_files()
    ui.run_with(
        app,
        title="Shopwright",
        dark=None,
        gzip_middleware_factory=None,
        show_welcome_message=False,
        reconnect_timeout=_RECONNECT_SECONDS,
        tailwind=False,
    )
    app.add_middleware(UnchangingFiles)
    app.add_middleware(SessionGate, sessions=server.sessions, cookie=server.cookie)
    app.add_middleware(PageHeaders)
    app.add_middleware(GZipMiddleware, minimum_size=1_000)
    return app


def create_console_from_environment() -> FastAPI:
    """Return the console of the shop that the environment names."""
    os.umask(0o077)  # the state folder is of this user alone
    settings = Settings()
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    for name in ("alembic", "mlflow", "feast"):
        logging.getLogger(name).setLevel(logging.WARNING)
    app = create_console(settings)
    # A full collection would look at all that was imported: pages would wait half a second for it.
    gc.freeze()
    return app
