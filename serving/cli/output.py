"""Output of the command line: tables and progress for people, one JSON document for machines."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from features.contracts.errors import BadInput

JsonOption = Annotated[
    bool, typer.Option("--json", help="One JSON document on stdout; progress goes to stderr")
]

_stderr = Console(stderr=True, highlight=False)


def print_json(document: object) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(json.dumps(document, indent=1, default=str) + "\n")


def print_line(text: str = "") -> None:
    """Print one line on stdout; long lines are not wrapped, so that commands can be copied."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table on stdout: text to the left, numbers to the right."""
    print_line(title)
    table = Table(header_style="bold", box=None, pad_edge=False)
    numeric = [
        all(isinstance(row[i], int | float) or row[i] is None for row in rows)
        for i in range(len(columns))
    ]
    for name, is_number in zip(columns, numeric, strict=True):
        table.add_column(name, justify="right" if is_number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(_format_cell(value) for value in row))
    # A pipe or a log has no width; a table cut at 80 columns would lose numbers there.
    Console(highlight=False, width=None if sys.stdout.isatty() else 160).print(table)


def _format_cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


class Steps:
    """Long work in steps: a bar on a terminal, plain lines elsewhere, always on stderr."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=total) if progress else None
        self._started = time.monotonic()

    def say(self, text: str) -> None:
        """Show what is being done right now."""
        if self._progress and self._task is not None:
            self._progress.update(self._task, description=text)
        else:
            _stderr.print(
                f"[{time.monotonic() - self._started:6.1f} s] {text}", markup=False, soft_wrap=True
            )

    def done(self) -> None:
        """Count one step as finished."""
        if self._progress and self._task is not None:
            self._progress.advance(self._task)


@contextmanager
def steps(total: int) -> Iterator[Steps]:
    """Yield the progress over `total` steps."""
    if not _stderr.is_terminal:
        yield Steps(None, total)
        return
    columns = (
        SpinnerColumn(),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=_stderr, transient=True) as progress:
        yield Steps(progress, total)


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """Yield a file to write, which replaces `out` in one rename.

    Raises BadInput where the folder of `out` does not exist.
    """
    if not out.parent.is_dir():
        raise BadInput(
            "there is no such folder",
            where=str(out.parent),
            hint="Make it first, or choose another --out",
        )
    staging = out.with_name(f".{out.name}.part")
    yield staging
    staging.replace(out)


def print_error(error: Exception, *, as_json: bool) -> None:
    """Print what happened, where, and what to try on stderr; with `as_json` on stdout too."""
    if as_json:
        fields = {name: getattr(error, name, None) for name in ("what", "where", "hint")}
        fields["what"] = fields["what"] or str(error)
        print_json({"error": fields})
    _stderr.print(f"Error: {error}", markup=False, soft_wrap=True)
