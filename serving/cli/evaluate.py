"""`shopwright evaluate recommendations|demand|pricing`: a model beside its baselines in one run."""

from __future__ import annotations

from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from configs.loading import parse_override
from features.contracts.clock import parse_time
from features.contracts.errors import BadInput
from serving.cli.evaluation_data import open_data
from serving.cli.file_modes import share_output
from serving.cli.output import JsonOption, print_json, print_line, print_table, steps

if TYPE_CHECKING:
    from training.results import Cell, Comparison, Evaluation, MetricTable

_MOST_COLUMNS = 7  # of values, beside each other on a terminal


def evaluate(
    which: Annotated[str, typer.Argument(help="recommendations, demand or pricing")],
    until: Annotated[str | None, typer.Option(help="As if the data ended at this instant")] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML file with differences to the shipped config")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="One difference, a.b=1; may be repeated")
    ] = None,
    protocol: Annotated[
        str, typer.Option(help="What is held out: time (the last weeks) or leave-one-out")
    ] = "time",
    data: Annotated[
        Path | None, typer.Option(help="A folder of tables to evaluate on, in place of the shop's")
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format", help="What --data holds: canonical; or complete-journey, without --data"
        ),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="HTML file for tables and plots")] = None,
    json: JsonOption = False,
) -> None:
    """Fit at the cut, evaluate on what came after it with all baselines, and write it to MLflow.

    With --data or --format the shop's state folder is neither read nor written.
    """
    from training.report import render_html
    from training.run import TrainingRun, load_config, load_task

    if report is not None and not report.absolute().parent.is_dir():
        raise BadInput(
            "no such folder", where=str(report.parent), hint="Make it, or name another --report"
        )
    overrides = dict(parse_override(text) for text in set_ or [])
    instant = None if until is None else parse_time(until, where="--until")
    with steps(1) as progress, open_data(data, format_, progress.say) as shop:
        instant = instant or shop.now
        task = load_task(which)
        task_config = load_config(task, shop.settings, file=config, overrides=overrides)
        run = TrainingRun(shop.facts, shop.settings, shop.registry, instant, progress.say)
        evaluation = run.evaluate(task, task_config, split=protocol)
    if report is not None:
        report.write_text(render_html(evaluation), encoding="utf-8")
        share_output(report)
    if json:
        print_json(evaluation_document(evaluation))
    else:
        print_evaluation(evaluation, in_full=True)


def print_evaluation(evaluation: Evaluation, *, in_full: bool = False) -> None:
    """Print one row per metric and method, ours first, then data, further metrics and notes.

    With `in_full` all tables are printed too.
    """
    print_line(f"{evaluation.task}: {evaluation.describe_result()}")
    print_line()
    for comparison in evaluation.comparisons:
        _print_comparison(evaluation, comparison)
    for table in evaluation.tables if in_full else ():
        _print_metric_table(evaluation.task, table)
    if evaluation.tables and not in_full:
        print_line(f"{len(evaluation.tables)} more tables: shopwright evaluate {evaluation.task}")
    if evaluation.data:
        print_line(
            ", ".join(f"{name}: {_count_cell(value)}" for name, value in evaluation.data.items())
        )
    for name, choice in evaluation.choices.items():
        print_line(f"{name}: {choice}")
    if evaluation.metrics:
        print_line(", ".join(f"{name} {value:.4g}" for name, value in evaluation.metrics.items()))
    for note in evaluation.notes:
        print_line(f"Note: {note}")


def _print_comparison(evaluation: Evaluation, comparison: Comparison) -> None:
    against = ""
    if not comparison.p_values:
        against = _against_strongest(comparison.p_value, comparison.strongest)
    best_first = comparison.better == "higher"
    ordered = sorted(comparison.baselines.items(), key=lambda entry: entry[1], reverse=best_first)
    methods = [("Shopwright", comparison.ours, against)]
    methods += [(name, value, _p_value(comparison.p_values.get(name))) for name, value in ordered]
    columns: tuple[str, ...] = ("method", comparison.metric, "paired test")
    rows: list[tuple[str | float, ...]] = [*methods]
    if comparison.intervals:
        columns += ("95 % interval",)
        rows = [(*row, _interval(comparison, row[0])) for row in methods]
    cut = f"{evaluation.cut:%Y-%m-%dT%H:%MZ}"
    title = f"{evaluation.task}: {comparison.metric} ({comparison.better} is better), cut {cut}"
    print_table(title, columns, rows)
    print_line()


def _print_metric_table(task: str, table: MetricTable) -> None:
    """Print the values of each method, with intervals and tests, and what they were counted on.

    A method is a row; where that makes a table too wide for a terminal, a column.
    """
    columns: tuple[str, ...] = ("method", *table.columns)
    rows: list[tuple[object, ...]] = [
        (name, *(_describe_cell(cell) for cell in cells)) for name, cells in table.rows.items()
    ]
    rows.append((f"({table.counted})", *table.n_users))
    if len(table.columns) > _MOST_COLUMNS:
        columns = ("part", *(str(row[0]) for row in rows))
        rows = list(zip(table.columns, *(row[1:] for row in rows), strict=True))
    print_table(f"{task}: {table.title}", columns, rows)
    if table.note:
        print_line(f"  {table.note}")
    print_line()


def _describe_cell(cell: Cell) -> float | str | None:
    """Return the value of a cell; as a text where it has an interval or a test."""
    if isnan(cell.value):
        return None
    details = []
    if cell.low is not None and cell.high is not None:
        details.append(f"{cell.low:.4f} to {cell.high:.4f}")
    if cell.p_value is not None and not isnan(cell.p_value):
        details.append(_p_value(cell.p_value))
    return f"{cell.value:.4f} ({', '.join(details)})" if details else cell.value


def evaluation_document(evaluation: Evaluation) -> dict[str, object]:
    """Return the evaluation as JSON values."""
    return {
        "task": evaluation.task,
        "cut": evaluation.cut.isoformat(),
        "primary": evaluation.primary,
        "passed": evaluation.passed,
        "failed_bars": list(evaluation.failed_bars),
        "comparisons": [asdict(comparison) for comparison in evaluation.comparisons],
        "metrics": dict(evaluation.metrics),
        "tables": [_table_document(table) for table in evaluation.tables],
        "data": dict(evaluation.data),
        "choices": dict(evaluation.choices),
        "notes": list(evaluation.notes),
    }


def _table_document(table: MetricTable) -> dict[str, object]:
    return {
        "title": table.title,
        "columns": table.columns,
        "n_users": table.n_users,
        "rows": {name: [_cell_document(cell) for cell in row] for name, row in table.rows.items()},
        "note": table.note,
    }


def _cell_document(cell: Cell) -> dict[str, float | None]:
    """Return the cell with null for a value that does not exist: JSON has no NaN."""
    return {
        name: None if value is None or isnan(value) else value
        for name, value in asdict(cell).items()
    }


def _interval(comparison: Comparison, name: str) -> str:
    ends = comparison.intervals.get(name)
    return "" if ends is None else f"{ends[0]:.4f} to {ends[1]:.4f}"


def _p_value(value: float | None) -> str:
    if value is None:
        return ""
    return "p < 1e-12" if value < 1e-12 else f"p = {value:.2g}"


def _count_cell(value: str | int) -> str:
    return f"{value:,}" if isinstance(value, int) else value


def _against_strongest(p_value: float | None, strongest: str) -> str:
    return "" if p_value is None else f"p = {p_value:.2g} against {strongest}"
