"""`shopwright evaluate recommendations|demand|pricing`: ours beside the baselines, same data, same run."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from configs.loading import parse_override
from features.contracts.clock import parse_time
from serving.cli.output import JsonOption, print_json, print_line, print_table, steps
from serving.cli.shop import Shop

if TYPE_CHECKING:
    from training.results import Evaluation


def evaluate(
    which: Annotated[str, typer.Argument(help="recommendations, demand or pricing")],
    until: Annotated[str | None, typer.Option(help="As if the data ended at this instant")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file with differences to the shipped config")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="One difference, a.b=1; may be repeated")] = None,
    json: JsonOption = False,
) -> None:
    """Fit at the cut and measure on what came after it, all baselines in the same run; also written to MLflow."""
    from training.train import evaluate as evaluate_model
    from training.train import task_config

    shop = Shop()
    overrides = dict(parse_override(text) for text in set_ or [])
    loaded = task_config(which, shop.settings, file=config, overrides=overrides)
    instant = None if until is None else parse_time(until, where="--until")
    with steps(1) as progress:
        evaluation = evaluate_model(
            which, shop.facts, shop.settings, shop.registry, loaded, until=instant, progress=progress.say
        )
    if json:
        print_json(as_document(evaluation))
    else:
        print_evaluation(evaluation)


def print_evaluation(evaluation: Evaluation) -> None:
    """One row a metric and method, ours first; then further figures and notes."""
    for comparison in evaluation.comparisons:
        rows: list[tuple[str, float, str]] = [
            ("Shopwright", comparison.ours, _against(comparison.p_value, comparison.strongest))
        ]
        worst_first = comparison.better == "higher"
        ordered = sorted(comparison.baselines.items(), key=lambda each: each[1], reverse=worst_first)
        rows += [(name, value, "") for name, value in ordered]
        cut = f"{evaluation.cut:%Y-%m-%dT%H:%MZ}"
        title = f"{evaluation.task}: {comparison.metric} ({comparison.better} is better), cut {cut}"
        print_table(title, ("method", comparison.metric, "paired test"), rows)
        print_line()
    if evaluation.metrics:
        print_line(", ".join(f"{name} {value:.4g}" for name, value in evaluation.metrics.items()))
    for note in evaluation.notes:
        print_line(f"Note: {note}")


def as_document(evaluation: Evaluation) -> dict[str, Any]:
    """The evaluation for machines."""
    return {
        "task": evaluation.task,
        "cut": evaluation.cut.isoformat(),
        "primary": evaluation.primary,
        "passed": evaluation.passed,
        "comparisons": [asdict(comparison) for comparison in evaluation.comparisons],
        "metrics": dict(evaluation.metrics),
        "notes": list(evaluation.notes),
    }


def _against(p_value: float | None, strongest: str) -> str:
    return "" if p_value is None else f"p = {p_value:.2g} against {strongest}"
