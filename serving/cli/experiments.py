"""`shopwright experiments`: define, start, stop, report and decide experiments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.definition import Status
from features.contracts.errors import BadInput
from serving.cli.off_policy import off_policy
from serving.cli.output import JsonOption, print_json, print_line, print_remark, print_table
from serving.cli.shop import Shop
from serving.database.audit_log import OPERATOR, SYSTEM

if TYPE_CHECKING:
    from serving.experiments.documents import (
        ControlDifferenceResponse,
        MoneyDifferenceResponse,
        NonInferiorityResponse,
        ResultsResponse,
    )
    from serving.experiments.planning import PowerPlan
    from serving.experiments.service import ExperimentService

DEMO_EXPERIMENT = "home_ranker"

app = typer.Typer(help="Experiments and their results", no_args_is_help=True)
app.command("off-policy")(off_policy)

KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="As `experiments list` shows it")]


@app.command("list")
def list_experiments(json: JsonOption = False) -> None:
    """List every experiment and its status."""
    current = open_service(Shop()).current
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
def create(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="YAML, as in configs/experiments")],
    comment: Annotated[str, typer.Option(help="Why, for the audit log")] = "",
) -> None:
    """Define an experiment, or change one, by a file; a new one is a draft until it is started."""
    from contextlib import suppress

    from configs.loading import parse_yaml
    from features.database import transaction
    from serving.experiments.definitions import STATE_KEYS
    from serving.versioned_rules import NewVersion

    shop = Shop()
    service = open_service(shop)
    values = parse_yaml(_read_text(file), where=str(file))
    key = str(values.get("key") or file.stem)
    for name in STATE_KEYS:
        if values.pop(name, None) is not None:
            print_remark(f"{name} is left out: it is started and stopped by hand")
    with transaction(shop.engine) as connection:
        new = NewVersion(key, values, comment, service.numbers.get(key, 0))
        experiment, version = service.save(connection, new, actor=OPERATOR)
    print_line(f"{key} is {experiment.status}, version {version.number} of its definition")
    if experiment.status == "draft":
        service.refresh()
        with suppress(BadInput):  # nothing is known to plan by
            _print_plan(service.plan(experiment))
        print_line(f"Start it: shopwright experiments start {key}")


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
        open_service(shop).refuse_worse_arms(key)
    print_line(_switch(shop, key, "running", actor=OPERATOR))


@app.command()
def stop(key: KeyArgument) -> None:
    """Stop an experiment; its purchases count on for its attribution_days."""
    print_line(_switch(Shop(), key, "stopped", actor=OPERATOR))


@app.command()
def decide(
    key: KeyArgument,
    variant: Annotated[str, typer.Argument(help="The variant that stays")],
    ship: Annotated[
        bool,
        typer.Option("--ship", help="Promote its model, or save its placement as the shop's own"),
    ] = False,
    comment: Annotated[str, typer.Option(help="Why, for the record")] = "",
) -> None:
    """Record what was decided about a stopped experiment, and ship the variant."""
    from features.database import transaction
    from serving.access import SCOPES, Caller
    from serving.cli.slates import open_placements
    from serving.experiments.final_decisions import DecisionService
    from serving.models.service import ModelService

    shop = Shop()
    service = open_service(shop)
    decisions = DecisionService(
        service,
        ModelService(shop.registry, shop.system_clock, shop.engine),
        open_placements(shop),
    )
    caller = Caller(OPERATOR, OPERATOR, frozenset(SCOPES))
    plan = decisions.prepare(key, variant, caller, ship=ship)
    with transaction(shop.engine) as connection:
        _, state = decisions.record(connection, plan, comment, caller)
    decisions.ship_model(plan, caller)
    decision = state.decision or {}
    print_line(f"{key} is decided: {variant}. {decision.get('verdict')}")
    if decision.get("shipped"):
        print_line(f"Serving from now on: {decision['shipped']}")


@app.command()
def power(key: KeyArgument, json: JsonOption = False) -> None:
    """Print how many units and days an experiment needs at the present traffic."""
    from dataclasses import asdict

    service = open_service(Shop())
    plan = service.plan(service.get(key))
    if json:
        print_json(asdict(plan))
        return
    _print_plan(plan)


@app.command()
def override(
    key: KeyArgument,
    variant: Annotated[str, typer.Argument(help="The variant to look at")],
    days: Annotated[float, typer.Option(min=0.01, max=90)] = 7.0,
) -> None:
    """Print a token: requests of slates with it as `override` get the variant, and count
    nowhere."""
    print_line(open_service(Shop()).make_override(key, variant, days, actor=OPERATOR))


@app.command()
def report(key: KeyArgument, json: JsonOption = False) -> None:
    """Print the results of an experiment and its verdict."""
    from serving.experiments.documents import describe_report

    service = open_service(Shop())
    document = describe_report(service.report(key), service.currency)
    if json:
        print_json(document.model_dump())
    else:
        _print_report(document)


def _print_plan(plan: PowerPlan) -> None:
    """Print units, days and what shorter runs can show."""
    print_line(
        f"{plan.metric} is {plan.baseline:.4g}; a change of {plan.minimum_effect:.1%} takes "
        f"{plan.units:,} units"
    )
    days = "for ever: nobody comes" if plan.days is None else f"{plan.days:,} days"
    print_line(f"{plan.units_per_day:,.0f} units a day take part: {days}")
    if plan.explained_share > 0.01:
        print_line(f"What units did before explains {plan.explained_share:.0%} of the variance")
    for n_days, change in plan.detectable.items():
        print_line(f"{n_days} days show {'nothing' if change is None else f'{change:.1%}'} or more")


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read it: {error}", where=str(file)) from error


def open_service(shop: Shop) -> ExperimentService:
    """Return the experiments of a shop."""
    from serving.experiments.service import ExperimentService, ModelVersions
    from serving.merchandising.present_placements import read_placements

    service = ExperimentService(
        shop.settings,
        shop.engine,
        shop.clock,
        shop.system_clock,
        ModelVersions.of(shop.registry),
        lambda: read_placements(shop.settings, shop.engine),
    )
    service.refresh()
    return service


def start_demo_experiment(shop: Shop) -> str:
    """Start the experiment of the demo, and return what was done."""
    return _switch(shop, DEMO_EXPERIMENT, "running", actor=SYSTEM)


def _switch(shop: Shop, key: str, status: Status, *, actor: str) -> str:
    """Start or stop an experiment, and return what was done."""
    from features.database import transaction

    service = open_service(shop)
    versions = service.find_versions(key) if status == "running" else {}
    with transaction(shop.engine) as connection:
        experiment = service.switch(connection, key, status, actor=actor, versions=versions)
    return f"{experiment.key} is {experiment.status}"


def _print_report(document: ResultsResponse) -> None:
    """Print one row per metric and variant, what was counted, and the verdict."""
    names = list(document.variants[0].metrics)
    rows = []
    for name in names:
        for variant in document.variants:
            metric = variant.metrics[name]
            difference, relative = metric.difference, metric.relative
            change = ""
            if relative is not None:
                change = f"{relative.value:+.1%} ({relative.low:+.1%} to {relative.high:+.1%})"
            rows.append(
                (
                    f"{name}: {metric.quantity}, {metric.better} is better",
                    variant.name,
                    f"{variant.n:,}",
                    _write_value(metric.mean, metric.quantity, document.currency),
                    "-" if difference is None else _write_difference(difference, metric.quantity),
                    change or "-",
                )
            )
    title = (
        f"Experiment {document.experiment}, {document.status}: events until "
        f"{document.counted_until}"
    )
    columns = ("metric", "variant", "units", "value", "difference", "change")
    print_table(title, columns, rows)
    _print_counted(document)
    if document.non_inferiority is not None:
        _print_margins(document.non_inferiority)
    for rail in document.guardrails:
        known = "too few units" if rail.change is None else f"{rail.change:+.1%}"
        state = "harmful" if rail.must_stop else "not shown to be harmful"
        print_line(
            f"Guardrail {rail.metric}, {rail.variant}: {known}; a loss beyond {rail.margin:.1%} is "
            f"{state}"
        )
    print_line(f"Verdict: {document.verdict}")


def _write_value(value: float | str | None, quantity: str, currency: str) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return f"{value} {currency}"
    return {"share": f"{value:.2%}", "milliseconds": f"{value:.1f} ms"}.get(
        quantity, f"{value:.3f}"
    )


def _write_difference(
    difference: ControlDifferenceResponse | MoneyDifferenceResponse, quantity: str
) -> str:
    ends = (difference.value, difference.low, difference.high)
    if quantity == "share":
        texts = [f"{end:+.2%}" for end in ends]
    else:
        texts = [end if isinstance(end, str) else f"{end:+.3f}" for end in ends]
    return f"{texts[0]} ({texts[1]} to {texts[2]}), p = {difference.p_value:.2g}"


def _print_counted(document: ResultsResponse) -> None:
    """Print what the rows are counted from, and what was left out."""
    print_line(f"As of {document.as_of}, against {document.control}, by {document.primary_metric}")
    print_line(f"Analysis: {document.analysis}; money in {document.currency}")
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
