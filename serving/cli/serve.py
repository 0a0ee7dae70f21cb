"""`shopwright serve`: the HTTP server."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Annotated

import typer

from serving.cli.output import print_line
from serving.cli.shop import Shop


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Server processes")] = 1,
) -> None:
    """Answer HTTP. SIGTERM drains: readiness goes first, requests in flight finish."""
    run_server(Shop(), host=host, port=port, workers=workers)


def run_server(shop: Shop, *, host: str, port: int, workers: int, announce: bool = True) -> None:
    """Runs uvicorn until it is told to stop; `announce` says on stdout where it listens."""
    import uvicorn

    if workers > 1:
        _count_together(shop.settings.home)
    if announce:
        print_line(f"Shopwright listens on http://{host}:{port} (docs at /docs)")
    uvicorn.run(
        "serving.app:create_app_from_environment",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        loop="uvloop",
        http="httptools",
        log_level=shop.settings.log_level,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=20,
    )


def _count_together(home: Path) -> None:
    """Lets the workers to come keep their counters in one empty folder, so that any of them tells of all."""
    from serving.api.metrics import SHARED_COUNTERS, shared_folder

    folder = shared_folder(home)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ[SHARED_COUNTERS] = str(folder)
