"""`shopwright train` and `shopwright retrain`: fit, evaluate, register, promote."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from json import dumps
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from configs.loading import parse_override
from features.contracts.clock import feature_time, parse_time
from features.contracts.errors import BadInput
from models.registry import NAMES, Version
from serving.cli.evaluate import evaluation_document, print_evaluation
from serving.cli.output import JsonOption, Steps, print_json, print_line, steps
from serving.cli.shop import Shop
from serving.database.audit_log import SYSTEM

if TYPE_CHECKING:
    from training.gate import MetricTest
    from training.run import TrainingReport

WhichArgument = Annotated[str, typer.Argument(help="recommendations, demand, pricing or all")]
UntilOption = Annotated[
    str | None, typer.Option(help="As if the data ended at this instant, 2017-12-04T05:00Z")
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="YAML file with differences to the shipped config")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="One difference, a.b=1; may be repeated")
]

AcceptDataOption = Annotated[
    bool, typer.Option("--accept-data", help="Train although days or rows are missing")
]


def train(
    which: WhichArgument,
    until: UntilOption = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    refit: Annotated[
        bool,
        typer.Option(help="Refit on all data after the evaluation; else serve the one at the cut"),
    ] = True,
    slates: Annotated[
        Path | None, typer.Option(help="JSON file for the evaluated slates, by task and user")
    ] = None,
    accept_data: AcceptDataOption = False,
    json: JsonOption = False,
) -> None:
    """Fit at the cut, evaluate beside the baselines, refit on all data, register, and promote what
    passes the gate."""
    names = NAMES if which == "all" else (which,)
    if len(names) > 1 and (config or set_):
        raise BadInput(
            "--config and --set belong to one model",
            hint="Name it: shopwright train recommendations",
        )
    shop = Shop()
    with steps(len(names)) as progress:
        reports = [
            train_one(
                shop,
                name,
                progress,
                until=parse_until(until),
                file=config,
                overrides=parse_overrides(set_),
                refit=refit,
                accept_data=accept_data,
            )
            for name in names
        ]
    if slates is not None:
        slates.write_text(dumps(dict(reports[0].evaluation.slates)), encoding="utf-8")
    if json:
        print_json({"items": [_training_document(report) for report in reports]})
        return
    for report in reports:
        print_training(report)


def retrain(accept_data: AcceptDataOption = False, json: JsonOption = False) -> None:
    """Materialize features, train every model, pass the gate, promote: for cron.

    Old data, missing days and lost rows stop it with exit code 2."""
    from features.online.materialize import materialize

    shop = Shop()
    with steps(len(NAMES) + 1) as progress:
        materialize(shop.facts, shop.settings, feature_time(shop.now()), progress=progress.say)
        progress.done()
        reports = [
            train_one(shop, name, progress, accept_data=accept_data, now=shop.now())
            for name in NAMES
        ]
    if json:
        print_json({"items": [_training_document(report) for report in reports]})
        return
    for report in reports:
        print_training(report)


def train_one(
    shop: Shop,
    name: str,
    progress: Steps,
    *,
    until: datetime | None = None,
    file: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    refit: bool = True,
    accept_data: bool = False,
    now: datetime | None = None,
) -> TrainingReport:
    """Train one model, as one step of the progress; `now`: events older than days stop it."""
    from training.run import TrainingRun, load_config, load_task

    before = shop.registry.find_champion(name)
    task = load_task(name)
    config = load_config(task, shop.settings, file=file, overrides=overrides)
    run = TrainingRun(
        shop.facts,
        shop.settings,
        shop.registry,
        until,
        progress.say,
        now=now,
        accept_data=accept_data,
    )
    report = run.train(task, config, refit=refit)
    if report.verdict.promote:
        _log_promotion(shop, report.version, before)
    progress.done()
    return report


def _log_promotion(shop: Shop, version: Version, before: Version | None) -> None:
    from features.database import transaction
    from serving.models.service import ModelService

    with transaction(shop.engine) as connection:
        service = ModelService(shop.registry, shop.system_clock)
        service.record_promotion(connection, version, before, actor=SYSTEM)


def print_training(report: TrainingReport) -> None:
    """Print the evaluation table, then the verdict of the gate."""
    print_evaluation(report.evaluation)
    version = report.version
    state = "promoted to champion" if report.verdict.promote else "not promoted"
    print_line(
        f"{version.name} {version.version}: {state} ({report.verdict.reason}), "
        f"{report.seconds:.0f} s"
    )


def parse_until(until: str | None) -> datetime | None:
    """Return the value of --until."""
    return None if until is None else parse_time(until, where="--until")


def parse_overrides(settings: list[str] | None) -> dict[str, object]:
    """Return the values of --set."""
    return dict(parse_override(text) for text in settings or [])


def _training_document(report: TrainingReport) -> dict[str, object]:
    return {
        "name": report.version.name,
        "version": report.version.version,
        "promoted": report.verdict.promote,
        "reason": report.verdict.reason,
        "comparisons": [_comparison_document(test) for test in report.verdict.tests],
        "seconds": report.seconds,
        "evaluation": evaluation_document(report.evaluation),
    }


def _comparison_document(test: MetricTest) -> dict[str, object]:
    """Return one metric beside one version; a bound that is not known is null."""
    paired = test.paired
    low, high = paired.bound_below(test.level), paired.bound_above(test.level)
    return {
        "metric": paired.metric,
        "version": test.version,
        "candidate": paired.candidate,
        "reference": paired.reference,
        "loss": paired.loss,
        "low": low if isfinite(low) else None,
        "high": high if isfinite(high) else None,
        "level": test.level,
        "allowed": test.allowed,
        "passed": test.passed,
        paired.unit: paired.n_units,
    }
