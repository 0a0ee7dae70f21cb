"""`shopwright console`: the web console of the shop's people."""

from __future__ import annotations

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


def run_console(shop: Shop, *, host: str, port: int) -> None:
    """Run the console until it is stopped."""
    import uvicorn

    check_port(host, port)
    shop.check_currencies()
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
