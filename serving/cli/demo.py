"""`shopwright demo`: every step on real data, from import to a served price."""

from __future__ import annotations

import os
import shlex
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from features.contracts.clock import feature_time
from models.registry import NAMES
from serving.cli import experiments, imports, prices, train
from serving.cli.console import start_console
from serving.cli.evaluate import evaluation_document
from serving.cli.import_report import print_report
from serving.cli.keys import read_demo_key
from serving.cli.output import JsonOption, print_json, print_line, steps
from serving.cli.serve import run_server
from serving.cli.shop import Shop
from serving.cli.users import read_demo_people

if TYPE_CHECKING:
    from features.online.materialize import MaterializeReport
    from features.sources.report import ImportReport
    from serving.price_desk.suggest import SuggestReport
    from training.run import TrainingReport

_MARKER = "demo-built"
_N_CUSTOMERS = 5


@dataclass(frozen=True)
class _Build:
    """The reports of a build."""

    import_report: ImportReport
    features: MaterializeReport
    trainings: list[TrainingReport]
    suggestions: list[SuggestReport]


def demo(
    serve: Annotated[bool, typer.Option(help="Serve at the end; --no-serve stops before")] = True,
    host: Annotated[str, typer.Option(help="Address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on")] = 8000,
    console_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the console; 0 starts none")
    ] = 8001,
    json: JsonOption = False,
) -> None:
    """Import a year of a grocer's sales, build features, train, evaluate, suggest prices,
    start an experiment, and serve, with the console beside it.

    A second start serves what the first one built.
    """
    started = time.monotonic()
    shop = Shop()
    marker = shop.settings.home / _MARKER
    build = None
    if not marker.exists():
        build = _build_shop(shop)
        marker.touch()
    customers = _list_customers(shop)
    command = _curl_command(shop, customers[0], host, port)
    # The server reads its settings from the environment.
    os.environ.setdefault("SHOPWRIGHT_STOREFRONT_USERS", ",".join(customers))
    storefront = f"http://{host}:{port}/storefront"
    console = f"http://{host}:{console_port}" if console_port else None
    seconds = time.monotonic() - started
    if json:
        document = {} if build is None else _build_document(build)
        people = read_demo_people(shop)
        addresses = {"storefront": storefront, "console": console, "curl": command}
        print_json({"seconds": seconds, **addresses, "people": people} | document)
    else:
        if build:
            _print_summary(build)
        _print_addresses(shop, command, f"http://{host}:{port}", console, seconds)
    if serve:
        with start_console(host, console_port) if console_port else nullcontext():
            run_server(shop, host=host, port=port, workers=1, announce=not json)


def _build_shop(shop: Shop) -> _Build:
    """Run every step up to the suggestions.

    Each step can be repeated, so a build that was stopped begins again.
    """
    from features.online.materialize import materialize

    with steps(len(NAMES) + 3) as progress:
        import_report = imports.import_demo_data(shop, progress)
        progress.done()
        progress.say("building and materializing features")
        features = materialize(shop.facts, shop.settings, feature_time(shop.now()), progress.say)
        progress.done()
        trainings = [train.train_one(shop, name, progress) for name in NAMES]
        suggestions = list(prices.suggest_all(shop, progress).reports)
        progress.say(experiments.start_demo_experiment(shop))
        progress.done()
    return _Build(import_report, features, trainings, suggestions)


def _print_summary(build: _Build) -> None:
    print_report(build.import_report)
    print_line()
    features = build.features
    print_line(
        f"Features as of {features.as_of:%Y-%m-%dT%H:%MZ}: {features.n_users:,} users, "
        f"{features.n_pairs:,} user × item pairs, {features.n_items:,} items in "
        f"{', '.join(features.zones)}; version {features.version}, {features.seconds:.0f} s"
    )
    print_line()
    for training in build.trainings:
        train.print_training(training)
        print_line()
    for report in build.suggestions:
        prices.print_suggestions(report)
        print_line()


def _print_addresses(
    shop: Shop, command: str, address: str, console: str | None, seconds: float
) -> None:
    print_line(f"Ready after {seconds:.0f} s. State: {shop.settings.home.absolute()}")
    print_line(f"  the demo storefront         {address}/storefront")
    if console is not None:
        print_line(f"  the console                 {console}")
    _print_people(shop)
    print_line(f"  API and its documentation   {address}/docs")
    print_line(f"  health, readiness, metrics  {address}/healthz /readyz /metrics")
    print_line(f"  a key with every scope      {read_demo_key(shop)}")
    print_line()
    print_line("A recommendation:")
    print_line(f"  {command}")


def _print_people(shop: Shop) -> None:
    """Print who may sign in, and how: anna proposes prices, ben approves them."""
    for name, password in read_demo_people(shop).items():
        hint = f"another password was set; shopwright users reset {name}"
        print_line(f"    sign in as {name:<17}{f'password {password}' if password else hint}")


def _curl_command(shop: Shop, user_id: str, host: str, port: int) -> str:
    """Return a command that requests a recommendation and can be pasted into a shell."""
    body = f'{{"placement": "home", "user_id": "{user_id}", "count": 5}}'
    words = [
        "curl",
        "-s",
        f"http://{host}:{port}/v1/recommendations",
        "-H",
        f"Authorization: Bearer {read_demo_key(shop)}",
        "-H",
        "Content-Type: application/json",
        "-d",
        body,
    ]
    return shlex.join(words)


def _list_customers(shop: Shop) -> list[str]:
    """Return the users with the smallest ids, so that every start shows the same ones."""
    users = shop.facts.read("users").order_by("user_id").limit(_N_CUSTOMERS)
    return [str(user_id) for user_id in users.user_id.to_pyarrow().to_pylist()]


def _build_document(build: _Build) -> dict[str, object]:
    return {
        "import": build.import_report.as_dict(),
        "features": vars(build.features),
        "evaluations": [evaluation_document(training.evaluation) for training in build.trainings],
        "suggestions": [prices.report_document(report) for report in build.suggestions],
    }
