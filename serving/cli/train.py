"""`shopwright train` and `shopwright retrain`: fit, evaluate, register, promote."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from json import dumps
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from configs.loading import parse_override
from features.contracts.clock import feature_time, parse_time
from features.contracts.errors import BadInput, ShopwrightError, TooLittleData
from models.registry import NAMES, Version
from serving.cli.evaluate import evaluation_document, print_evaluation
from serving.cli.file_modes import share_output
from serving.cli.output import JsonOption, Steps, print_json, print_line, steps
from serving.cli.shop import Shop
from serving.database.audit_log import SYSTEM

if TYPE_CHECKING:
    from training.gate import MetricTest
    from training.recommendations.first_model import FirstModelTask
    from training.run import TrainingReport

REFUSED = 3  # exit code: everything was done, and the gate refused a model

# What serves where a model cannot be trained yet.
_MEANWHILE = {
    "recommendations": "Until then slates have no model",
    "demand": "Until then recommendations and prices serve, without forecasts and order lists",
    "pricing": "Until then prices serve as they are imported, without suggestions",
}
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

DataUntilOption = Annotated[
    str | None,
    typer.Option(
        "--data-until",
        help="Sales are complete until this time; later weeks are missing, not without sales",
    ),
]
AcceptDataOption = Annotated[
    bool, typer.Option("--accept-data", help="Train although days or rows are missing")
]
VerboseOption = Annotated[bool, typer.Option("--verbose", help="Print every report in full")]


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
    data_until: DataUntilOption = None,
    accept_data: AcceptDataOption = False,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Fit at the cut, evaluate beside the baselines, refit on all data, register, and promote what
    passes the gate. All models at once are reported in brief, one in full."""
    names = NAMES if which == "all" else (which,)
    if len(names) > 1 and (config or set_):
        raise BadInput(
            "--config and --set belong to one model",
            hint="Name it: shopwright train recommendations",
        )
    shop = Shop()
    set_data_until(shop, data_until)

    def train_model(name: str) -> TrainingReport:
        return train_one(
            shop,
            name,
            progress,
            until=parse_until(until),
            file=config,
            overrides=parse_overrides(set_),
            refit=refit,
            accept_data=accept_data,
        )

    with steps(len(names)) as progress:
        trainings = _train_each(names, train_model, progress)
    if slates is not None and trainings.reports:
        slates.write_text(dumps(dict(trainings.reports[0].evaluation.slates)), encoding="utf-8")
        share_output(slates)
    _print_trainings(trainings, in_full=verbose or len(names) == 1, json=json)


@dataclass(frozen=True)
class _Trainings:
    """The reports, why other models were not trained, by name, and what nobody foresaw."""

    reports: list[TrainingReport]
    untrained: Mapping[str, str]
    failures: Sequence[Exception] = ()


def _train_each(
    names: Sequence[str], train_model: Callable[[str], TrainingReport], progress: Steps
) -> _Trainings:
    """Train each model; one that has too little data does not stop the others, nor does one whose
    training fails for an unforeseen reason.

    Raises TooLittleData where it was the only one, and what concerns every model at once.
    """
    reports: list[TrainingReport] = []
    untrained: dict[str, str] = {}
    failures: list[Exception] = []
    for name in names:
        try:
            reports.append(train_model(name))
        except TooLittleData as error:
            if len(names) == 1:
                raise
            untrained[name] = str(error)
            progress.done()
        except ShopwrightError:
            raise
        except Exception as error:  # the others do not depend on it; it is raised behind them
            error.add_note(f"It ended the training of {name}; the other models were trained")
            failures.append(error)
            progress.done()
    return _Trainings(reports, untrained, failures)


def _print_trainings(trainings: _Trainings, *, in_full: bool, json: bool) -> None:
    """Print the reports; then raise the first failure that nobody foresaw."""
    if json:
        print_json(
            {
                "items": [_training_document(report) for report in trainings.reports],
                "untrained": dict(trainings.untrained),
            }
        )
    else:
        for report in trainings.reports:
            print_training(report, in_full=in_full)
        for name, reason in trainings.untrained.items():
            print_line(f"{name}: not trained yet: {reason}. {_MEANWHILE[name]}")
    for failure in trainings.failures:
        raise failure


def set_data_until(shop: Shop, data_until: str | None) -> None:
    """Set until when the sales of the shop are complete, where the option says it."""
    if data_until is not None:
        until = parse_time(data_until, where="--data-until")
        shop.settings = shop.settings.model_copy(update={"data_until": until})


def retrain(
    data_until: DataUntilOption = None,
    accept_data: AcceptDataOption = False,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Materialize features, train every model, pass the gate, promote: for cron.

    Old data, missing days and lost rows stop it with exit code 2. It ends with exit code 3 where
    the gate refused a model."""
    from features.online.materialize import materialize

    shop = Shop()
    set_data_until(shop, data_until)

    def train_model(name: str) -> TrainingReport:
        return train_one(shop, name, progress, accept_data=accept_data, now=shop.now())

    with steps(len(NAMES) + 1) as progress:
        materialize(shop.facts, shop.settings, feature_time(shop.now()), progress=progress.say)
        progress.done()
        trainings = _train_each(NAMES, train_model, progress)
    _print_trainings(trainings, in_full=verbose, json=json)
    if not all(report.verdict.promote for report in trainings.reports):
        raise typer.Exit(REFUSED)


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
    task: FirstModelTask | None = None,
) -> TrainingReport:
    """Train one model, as one step of the progress.

    until   None: the present of the shop
    now     events that are days older stop the training; None: they do not
    task    in place of that of the name
    """
    from training.run import TrainingRun, load_config, load_task

    before = shop.registry.find_champion(name)
    chosen = load_task(name) if task is None else task
    config = load_config(chosen, shop.settings, file=file, overrides=overrides)
    run = TrainingRun(
        shop.facts,
        shop.settings,
        shop.registry,
        until or shop.now(),
        progress.say,
        now=now,
        accept_data=accept_data,
    )
    report = run.train(chosen, config, refit=refit)
    if report.verdict.promote:
        _log_promotion(shop, report.version, before)
    progress.done()
    return report


def _log_promotion(shop: Shop, version: Version, before: Version | None) -> None:
    from features.database import transaction
    from serving.models.service import ModelService, Promotion

    service = ModelService(shop.registry, shop.system_clock, shop.engine)
    with transaction(shop.engine) as connection:
        service.record(connection, Promotion("promote", version, before), actor=SYSTEM)


def print_training(report: TrainingReport, *, in_full: bool = False) -> None:
    """Print the evaluation, then the verdict of the gate and what else it compared."""
    from training.gate import describe_test

    print_evaluation(report.evaluation, in_full=in_full)
    version, verdict = report.version, report.verdict
    state = "promoted to champion" if verdict.promote else "not promoted"
    print_line(
        f"{version.name} {version.version}: {state} ({verdict.reason}), {report.seconds:.0f} s"
    )
    for description in map(describe_test, verdict.tests):
        if description not in verdict.reason:
            print_line(f"  Also compared: {description}")


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
