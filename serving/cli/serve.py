"""`shopwright serve`: the HTTP server."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path
from typing import Annotated

import typer

from features.contracts.errors import BadInput
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

    _refuse_taken(host, port)
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


def _refuse_taken(host: str, port: int) -> None:
    """Says so at once, not after the models are loaded."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise BadInput(
                f"cannot listen on {host}:{port}: {error.strerror}", hint="Try another --port"
            ) from error


def _count_together(home: Path) -> None:
    """Lets the workers to come keep their counters in one empty folder, so that any of them tells
    of all."""
    from serving.http.metrics import SHARED_COUNTERS, counters_folder

    folder = counters_folder(home)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ[SHARED_COUNTERS] = str(folder)
