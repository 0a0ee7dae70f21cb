"""`shopwright serve`: the HTTP server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from features.contracts.errors import BadInput
from serving.cli.output import print_line, steps
from serving.cli.shop import Shop


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Server processes")] = 1,
) -> None:
    """Serve HTTP. After SIGTERM the server is not ready any more, and requests in flight finish."""
    run_server(Shop(), host=host, port=port, workers=workers)


def run_server(shop: Shop, *, host: str, port: int, workers: int) -> None:
    """Run uvicorn until it is stopped."""
    import uvicorn

    check_port(host, port)
    make_features(shop)
    shop.check_currencies()
    if workers > 1:
        _share_counters(shop.settings.home)
    print_line(f"Shopwright listens on http://{host}:{port} (docs at /docs)")
    uvicorn.run(
        "serving.app:create_app_from_environment",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        loop="uvloop",
        http="serving.http.connections:TimedProtocol",
        log_level=shop.settings.log_level,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=20,
    )


@contextmanager
def start_process(verb: str, host: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a verb that listens (serve, console) in a process of its own until the block ends. What
    it prints on stdout is not shown."""
    command = [sys.executable, "-m", "serving.cli.main", verb, "--host", host, "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def make_features(shop: Shop) -> None:
    """Materialize the features where that was never done: a new shop imports, trains, serves."""
    from features.online.snapshots import current_version

    if current_version(shop.settings) is not None or shop.facts.is_empty("events"):
        return
    from features.contracts.clock import feature_time
    from features.online.materialize import materialize

    with steps(1) as progress:
        progress.say("the features were never materialized: doing it now")
        materialize(shop.facts, shop.settings, feature_time(shop.now()), progress.say)
        progress.done()


def check_port(host: str, port: int, *, option: str = "--port") -> None:
    """Raise BadInput for a port in use at once, not after the models are loaded; `option` sets
    another one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise BadInput(
                f"cannot listen on {host}:{port}: {error.strerror}", hint=f"Try another {option}"
            ) from error


def _share_counters(home: Path) -> None:
    """Make the workers keep their counters in one empty folder, so that each reports all."""
    from serving.http.metrics import SHARED_COUNTERS, counters_folder

    folder = counters_folder(home)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ[SHARED_COUNTERS] = str(folder)
