"""`shopwright experiments list|start|stop|report`: experiments and their results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from experiments.definition import Status
from serving.cli.output import JsonOption, print_json, print_line, print_table
from serving.cli.shop import Shop
from serving.database.audit_log import OPERATOR

if TYPE_CHECKING:
    from serving.experiments.documents import NonInferiorityResponse, ResultsResponse
    from serving.experiments.service import ExperimentService

app = typer.Typer(help="Experiments and their results", no_args_is_help=True)

KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="As `experiments list` shows it")]


@app.command("list")
def list_experiments(json: JsonOption = False) -> None:
    """List every experiment and its status."""
    current = _open_service(Shop()).current
    rows = [
        (
            experiment.key,
            experiment.status,
            ", ".join(experiment.placements),
            ", ".join(variant.name for variant in experiment.variants),
            experiment.hypothesis,
        )
        for _, experiment in sorted(current.items())
    ]
    columns = ("key", "status", "placements", "variants", "hypothesis")
    if json:
        print_json({"items": [dict(zip(columns, row, strict=True)) for row in rows]})
        return
    print_table("Experiments", columns, rows)


@app.command()
def start(key: KeyArgument) -> None:
    """Start an experiment; running servers follow within seconds."""
    _switch(key, "running")


@app.command()
def stop(key: KeyArgument) -> None:
    """Stop an experiment; its purchases count on for its attribution_days."""
    _switch(key, "stopped")


@app.command()
def report(key: KeyArgument, json: JsonOption = False) -> None:
    """Print the results of an experiment and its verdict."""
    from serving.experiments.documents import describe_report

    service = _open_service(Shop())
    document = describe_report(service.report(key), service.currency)
    if json:
        print_json(document.model_dump())
    else:
        _print_report(document)


def _open_service(shop: Shop) -> ExperimentService:
    from serving.experiments.service import ExperimentService

    service = ExperimentService(shop.settings, shop.engine, shop.clock, shop.system_clock)
    service.refresh()
    return service


def _switch(key: str, status: Status) -> None:
    from features.database import transaction

    shop = Shop()
    service = _open_service(shop)
    with transaction(shop.engine) as connection:
        experiment = service.switch(connection, key, status, actor=OPERATOR)
    print_line(f"{experiment.key} is {experiment.status}")


def _print_report(document: ResultsResponse) -> None:
    """Print one row per variant, the hypothesis of the margin, and the verdict."""
    rows = []
    for variant in document.variants:
        conversion, revenue = variant.metrics.purchase_conversion, variant.metrics.revenue_per_unit
        difference = conversion.difference
        rows.append(
            (
                variant.name,
                f"{variant.n:,}",
                "-" if conversion.mean is None else f"{conversion.mean:.2%}",
                "-"
                if difference is None
                else f"{difference.value:+.2%} ({difference.low:+.2%} to {difference.high:+.2%})",
                revenue.mean or "-",
                "-" if revenue.difference is None else revenue.difference.value,
            )
        )
    title = (
        f"Experiment {document.experiment}, {document.status}: purchases until "
        f"{document.counted_until}"
    )
    columns = ("variant", "units", "conversion", "difference", "revenue each", "difference")
    print_table(title, columns, rows)
    if document.non_inferiority is not None:
        _print_margins(document.non_inferiority)
    print_line(f"Verdict: {document.verdict}")


def _print_margins(hypothesis: NonInferiorityResponse) -> None:
    for variant in hypothesis.variants:
        if variant.change is None or variant.low is None:
            print_line(f"{variant.variant}: no test of the margin is possible yet")
            continue
        print_line(
            f"{variant.variant}: {variant.change:+.1%} of {hypothesis.metric}, surely above "
            f"{variant.low:+.1%}; a loss of {hypothesis.margin:.1%} is "
            f"{'ruled out' if variant.shown else 'not ruled out'}"
        )
