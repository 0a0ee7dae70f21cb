"""`shopwright demo`: every step on real data, from import to a served price."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from features.contracts.clock import feature_time
from features.contracts.errors import Unavailable
from models.registry import NAMES
from serving.cli import experiments, imports, prices, train
from serving.cli.evaluate import evaluation_document
from serving.cli.import_report import print_report
from serving.cli.keys import read_demo_key
from serving.cli.output import JsonOption, print_json, print_line, steps
from serving.cli.serve import check_port, start_process
from serving.cli.shop import Shop
from serving.cli.users import read_demo_people

if TYPE_CHECKING:
    from features.online.materialize import MaterializeReport
    from features.sources.report import ImportReport
    from serving.price_desk.suggest import SuggestReport
    from training.run import TrainingReport

_MARKER = "demo-built"
_N_CUSTOMERS = 5
_START_SECONDS = 600  # after which a server that runs and answers nothing is given up
_LOW_PRIORITY = 10  # of training beside a server


@dataclass(frozen=True)
class _Build:
    """The reports of a build."""

    import_report: ImportReport
    features: MaterializeReport
    trainings: list[TrainingReport]
    suggestions: list[SuggestReport]


@dataclass(frozen=True)
class _Addresses:
    """Where the demo listens."""

    host: str
    port: int
    console_port: int

    @property
    def service(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def console(self) -> str | None:
        return f"http://{self.host}:{self.console_port}" if self.console_port else None

    def check(self) -> None:
        """Raise BadInput for a port in use before anything is built."""
        check_port(self.host, self.port)
        if self.console_port:
            check_port(self.host, self.console_port, option="--console-port")


def demo(
    serve: Annotated[bool, typer.Option(help="Serve; --no-serve only builds")] = True,
    host: Annotated[str, typer.Option(help="Address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on")] = 8000,
    console_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the console; 0 starts none")
    ] = 8001,
    verbose: Annotated[bool, typer.Option("--verbose", help="Print every report in full")] = False,
    json: JsonOption = False,
) -> None:
    """Import a year of a grocer's sales, build features, and serve, with the console beside it;
    meanwhile train, evaluate, suggest prices and start an experiment.

    Until the models are trained one without rankers serves. A second start serves what the first
    one built.
    """
    started = time.monotonic()
    shop = Shop()
    marker = shop.settings.home / _MARKER
    addresses = _Addresses(host, port, console_port)
    build, server = None, None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the processes end with it
    if serve:
        addresses.check()
    with ExitStack() as processes:
        prepared = None if marker.exists() else _prepare_shop(shop, first_model=serve)
        if serve:
            server = _start_serving(shop, addresses, processes)
        if prepared is not None:
            if server is not None and not json:
                print_line(
                    f"Serving after {time.monotonic() - started:.0f} s, for now without rankers "
                    "and forecasts; the models are trained meanwhile."
                )
                _print_addresses(shop, addresses)
            build = _train_models(shop, *prepared, in_background=server is not None)
            marker.touch()
        seconds = time.monotonic() - started
        if json:
            document = {} if build is None else _build_document(build)
            print_json({"seconds": seconds, **_list_addresses(shop, addresses), **document})
        else:
            if build is not None:
                _print_summary(build, verbose=verbose)
            print_line(f"Ready after {seconds:.0f} s. State: {shop.settings.home.absolute()}")
            _print_addresses(shop, addresses)
        if server is not None:
            server.wait()


def _prepare_shop(shop: Shop, *, first_model: bool) -> tuple[ImportReport, MaterializeReport]:
    """Import, build features and, to serve at once, fit a first model.

    Each step can be repeated, so a build that was stopped begins again.
    """
    from features.online.materialize import materialize
    from training.recommendations.first_model import FirstModelTask

    with steps(2 + first_model) as progress:
        import_report = imports.import_demo_data(shop, progress)
        progress.done()
        progress.say("building and materializing features")
        features = materialize(shop.facts, shop.settings, feature_time(shop.now()), progress.say)
        progress.done()
        task = FirstModelTask()
        if first_model and shop.registry.find_champion(task.name) is None:
            train.train_one(shop, task.name, progress, task=task)
    return import_report, features


def _start_serving(
    shop: Shop, addresses: _Addresses, processes: ExitStack
) -> subprocess.Popen[bytes]:
    """Start the server and the console, and return the server once it answers."""
    # The server reads its settings from the environment; the screen is for the results.
    os.environ.setdefault("SHOPWRIGHT_STOREFRONT_USERS", ",".join(_list_customers(shop)))
    os.environ.setdefault("SHOPWRIGHT_LOG_LEVEL", "warning")
    server = processes.enter_context(start_process("serve", addresses.host, addresses.port))
    if addresses.console_port:
        processes.enter_context(start_process("console", addresses.host, addresses.console_port))
    _await_answer(server, f"{addresses.service}/healthz")
    return server


def _await_answer(server: subprocess.Popen[bytes], address: str) -> None:
    """Return once the server answers. Raises Unavailable where it ended, or answers nothing."""
    with steps(1) as progress:
        progress.say("starting the server")
        deadline = time.monotonic() + _START_SECONDS
        while not _is_alive(address):
            if server.poll() is not None:
                raise Unavailable(
                    "the server of the demo ended before it answered",
                    hint="Its own message stands above; `shopwright serve` shows more. "
                    "What was built is kept: run the command again",
                )
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"the server of the demo did not answer within {_START_SECONDS} s",
                    hint="What was built is kept: run the command again when the machine is "
                    "less busy",
                )
            time.sleep(0.2)
        progress.done()


def _is_alive(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2) as answer:  # noqa: S310 (our own server)
            return bool(answer.status == 200)
    except OSError:
        return False


def _train_models(
    shop: Shop, import_report: ImportReport, features: MaterializeReport, *, in_background: bool
) -> _Build:
    """Train every model, suggest prices, start the experiment; with low priority beside a
    server."""
    if in_background:
        os.nice(_LOW_PRIORITY)
    with steps(len(NAMES) + 1) as progress:
        trainings = [train.train_one(shop, name, progress) for name in NAMES]
        suggestions = list(prices.suggest_all(shop, progress).reports)
        progress.say(experiments.start_demo_experiment(shop))
        progress.done()
    return _Build(import_report, features, trainings, suggestions)


def _print_summary(build: _Build, *, verbose: bool) -> None:
    features = build.features
    if verbose:
        print_report(build.import_report)
    else:
        tables = build.import_report.tables.values()
        print_line(
            f"Imported {sum(table.rows_read for table in tables):,} rows of {len(tables)} tables: "
            f"{sum(table.excluded.total() for table in tables):,} excluded by rule, "
            f"{sum(table.n_bad for table in tables):,} quarantined"
        )
    print_line(
        f"Features as of {features.as_of:%Y-%m-%dT%H:%MZ}: {features.n_users:,} users, "
        f"{features.n_pairs:,} user × item pairs, {features.n_items:,} items in "
        f"{', '.join(features.zones)}; version {features.version}, {features.seconds:.0f} s"
    )
    for training in build.trainings:
        if verbose:
            print_line()
            train.print_training(training)
        else:
            _print_comparison(training)
    for report in build.suggestions:
        print_line()
        if verbose:
            prices.print_suggestions(report)
        else:
            prices.print_largest(report)
    print_line()


def _print_comparison(training: TrainingReport) -> None:
    """Print the first comparison of a model with its strongest baseline, and the verdict."""
    version = training.version
    measured = [comparison.describe() for comparison in training.evaluation.comparisons[:1]]
    state = "promoted" if training.verdict.promote else "not promoted"
    line = "; ".join([*measured, f"version {version.version} {state}, {training.seconds:.0f} s"])
    print_line(f"{version.name}: {line}")


def _print_addresses(shop: Shop, addresses: _Addresses) -> None:
    print_line(f"  the demo storefront         {addresses.service}/storefront")
    if addresses.console is not None:
        print_line(f"  the console                 {addresses.console}")
    _print_people(shop)
    print_line(f"  API and its documentation   {addresses.service}/docs")
    print_line(f"  health, readiness, metrics  {addresses.service}/healthz /readyz /metrics")
    print_line(f"  a key with every scope      {read_demo_key(shop)}")
    print_line()
    print_line("A recommendation:")
    print_line(f"  {_curl_command(shop, addresses)}")
    print_line()


def _print_people(shop: Shop) -> None:
    """Print who may sign in, and how: anna proposes prices, ben approves them."""
    for name, password in read_demo_people(shop).items():
        hint = f"another password was set; shopwright users reset {name}"
        print_line(f"    sign in as {name:<17}{f'password {password}' if password else hint}")


def _curl_command(shop: Shop, addresses: _Addresses) -> str:
    """Return a command that requests a recommendation and can be pasted into a shell."""
    user_id = _list_customers(shop)[0]
    body = f'{{"placement": "home", "user_id": "{user_id}", "count": 5}}'
    words = [
        "curl",
        "-s",
        f"{addresses.service}/v1/recommendations",
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


def _list_addresses(shop: Shop, addresses: _Addresses) -> dict[str, object]:
    return {
        "storefront": f"{addresses.service}/storefront",
        "console": addresses.console,
        "curl": _curl_command(shop, addresses),
        "people": read_demo_people(shop),
    }


def _build_document(build: _Build) -> dict[str, object]:
    return {
        "import": build.import_report.as_dict(),
        "features": vars(build.features),
        "evaluations": [evaluation_document(training.evaluation) for training in build.trainings],
        "suggestions": [prices.report_document(report) for report in build.suggestions],
    }
