"""`shopwright console`: the web console of the shop's people."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from serving.cli.output import print_line
from serving.cli.serve import check_port
from serving.cli.shop import Shop


def console(
    host: Annotated[str, typer.Option(help="Address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on")] = 8001,
) -> None:
    """Serve the console, where people decide on prices and see how the shop does.

    Create the people who sign in with `shopwright users create`.
    """
    run_console(Shop(), host=host, port=port)


@contextmanager
def start_console(host: str, port: int) -> Iterator[None]:
    """Run the console in a process of its own until the block ends."""
    check_port(host, port)
    command = [sys.executable, "-m", "serving.cli.main", "console"]
    process = subprocess.Popen([*command, "--host", host, "--port", str(port)])  # noqa: S603
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def run_console(shop: Shop, *, host: str, port: int, announce: bool = True) -> None:
    """Run the console until it is stopped; with `announce`, print its address on stdout."""
    import uvicorn

    check_port(host, port)
    shop.check_currencies()
    if announce:
        print_line(f"The console listens on http://{host}:{port}")
    uvicorn.run(
        "serving.console.app:create_console_from_environment",
        factory=True,
        host=host,
        port=port,
        loop="uvloop",
        log_level=shop.settings.log_level,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
