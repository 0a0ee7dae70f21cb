"""`shopwright experiments list|start|stop|report|off-policy`: experiments and their results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from experiments.definition import Status
from models.registry import NAMES
from serving.cli.off_policy import off_policy
from serving.cli.output import JsonOption, print_json, print_line, print_table
from serving.cli.shop import Shop
from serving.database.audit_log import OPERATOR, SYSTEM

if TYPE_CHECKING:
    from serving.experiments.documents import (
        MoneyDifferenceResponse,
        NonInferiorityResponse,
        ResultsResponse,
    )
    from serving.experiments.service import ExperimentService

DEMO_EXPERIMENT = "home_ranker"

app = typer.Typer(help="Experiments and their results", no_args_is_help=True)
app.command("off-policy")(off_policy)

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
def start(
    key: KeyArgument,
    accept_worse: Annotated[
        bool,
        typer.Option("--accept-worse", help="Although training measured an arm as clearly worse"),
    ] = False,
) -> None:
    """Start an experiment; running servers follow within seconds.

    An arm that lost clearly in the champion's training is refused."""
    shop = Shop()
    if not accept_worse:
        _open_service(shop).refuse_worse_arms(key)
    print_line(_switch(shop, key, "running", actor=OPERATOR))


@app.command()
def stop(key: KeyArgument) -> None:
    """Stop an experiment; its purchases count on for its attribution_days."""
    print_line(_switch(Shop(), key, "stopped", actor=OPERATOR))


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

    service = ExperimentService(
        shop.settings,
        shop.engine,
        shop.clock,
        shop.system_clock,
        lambda: shop.registry.find_champion(NAMES[0]),
    )
    service.refresh()
    return service


def start_demo_experiment(shop: Shop) -> str:
    """Start the experiment of the demo, and return what was done."""
    return _switch(shop, DEMO_EXPERIMENT, "running", actor=SYSTEM)


def _switch(shop: Shop, key: str, status: Status, *, actor: str) -> str:
    """Start or stop an experiment, and return what was done."""
    from features.database import transaction

    service = _open_service(shop)
    with transaction(shop.engine) as connection:
        experiment = service.switch(connection, key, status, actor=actor)
    return f"{experiment.key} is {experiment.status}"


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
                else f"{difference.value:+.2%} ({difference.low:+.2%} to {difference.high:+.2%}), "
                f"p = {difference.p_value:.2g}",
                revenue.mean or "-",
                "-" if revenue.difference is None else _describe_money(revenue.difference),
            )
        )
    title = (
        f"Experiment {document.experiment}, {document.status}: purchases until "
        f"{document.counted_until}"
    )
    revenue_column = f"revenue each {document.currency}"
    columns = ("variant", "units", "conversion", "difference", revenue_column, "difference")
    print_table(title, columns, rows)
    _print_counted(document)
    if document.non_inferiority is not None:
        _print_margins(document.non_inferiority)
    print_line(f"Verdict: {document.verdict}")


def _describe_money(difference: MoneyDifferenceResponse) -> str:
    return (
        f"{difference.value} ({difference.low} to {difference.high}), p = {difference.p_value:.2g}"
    )


def _print_counted(document: ResultsResponse) -> None:
    """Print what the rows are counted from, and what was left out."""
    print_line(f"As of {document.as_of}, against {document.control}, by {document.primary_metric}")
    if document.stopped_at is not None:
        print_line(f"Stopped at {document.stopped_at}: exposures after it do not count")
    if document.sample_ratio_p_value is not None:
        print_line(f"A split as uneven as this one has p = {document.sample_ratio_p_value:.2g}")
    if document.n_mixed:
        print_line(f"Left out: {document.n_mixed:,} units that met several variants")
    if document.n_unknown:
        print_line(f"Left out: {document.n_unknown:,} units of variants that are not defined")
    if document.other_currency:
        zones = ", ".join(document.other_currency)
        print_line(f"No revenue is counted from zones with another currency: {zones}")


def _print_margins(hypothesis: NonInferiorityResponse) -> None:
    for variant in hypothesis.variants:
        if variant.change is None or variant.low is None:
            print_line(f"{variant.variant}: no test of the margin is possible yet")
            continue
        print_line(
            f"{variant.variant}: {variant.change:+.1%} of {hypothesis.metric}, surely above "
            f"{variant.low:+.1%}; a loss of {hypothesis.margin:.1%} is "
            f"{'ruled out' if variant.shown else 'not ruled out'} (p = {variant.p_value:.2g})"
        )
