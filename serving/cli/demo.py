"""`shopwright demo`: the main job on real data, from import to a served price."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.cli import imports, train
from serving.cli.evaluate import as_document, print_evaluation
from serving.cli.keys import demo_key
from serving.cli.output import JsonOption, Steps, print_json, print_line, print_table, steps
from serving.cli.prices import largest_gains, print_suggestions
from serving.cli.serve import run_server
from serving.cli.shop import Shop

if TYPE_CHECKING:
    from features.sources.report import ImportReport
    from features.store.materialize import MaterializeReport
    from training.train import TrainingReport

MODELS = ("recommendations", "demand", "pricing")


def demo(
    serve: Annotated[bool, typer.Option(help="Serve at the end; --no-serve stops before")] = True,
    host: Annotated[str, typer.Option(help="Address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on")] = 8000,
    json: JsonOption = False,
) -> None:
    """Import a year of a grocer's sales, build features, train, evaluate, suggest prices, and serve.

    What an earlier run finished is kept, so a second start serves at once.
    """
    started = time.monotonic()
    shop = Shop()
    if _finished(shop):
        print_line(f"The demo in {shop.settings.home} is built; serving it. (`make clean` begins anew.)")
        summary: dict[str, Any] = {"built": False}
    else:
        summary = _build(shop, json)
    summary["seconds"] = round(time.monotonic() - started, 1)
    summary["curl"] = curl(shop, host, port)
    if json:
        print_json(summary)
    else:
        _print_addresses(summary, host, port)
    if serve:
        run_server(shop, host=host, port=port, workers=1)
