"""Output of the command line: tables and progress for people, one JSON document for machines."""

from __future__ import annotations

import json
import os
import sys
import time
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from features.contracts.errors import BadInput
from serving.cli.file_modes import share_output

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

JsonOption = Annotated[
    bool, typer.Option("--json", help="One JSON document on stdout; progress goes to stderr")
]


_UNLIMITED = 100_000


@cache
def _stderr() -> Console:
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def print_json(document: object) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(json.dumps(document, indent=1, default=str) + "\n")


def print_line(text: str = "") -> None:
    """Print one line on stdout; long lines are not wrapped, so that commands can be copied."""
    sys.stdout.write("\n".join(map(_show_controls, text.split("\n"))) + "\n")
    sys.stdout.flush()


def print_remark(text: str) -> None:
    """Print one line on stderr: for people, beside the output that a script reads."""
    sys.stderr.write(f"{_show_controls(text)}\n")


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table on stdout: text to the left, numbers to the right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    print_line(title)
    table = Table(header_style="bold", box=None, pad_edge=False)
    numeric = [
        all(isinstance(row[i], int | float) or row[i] is None for row in rows)
        for i in range(len(columns))
    ]
    for name, is_number in zip(columns, numeric, strict=True):
        # On a narrow terminal texts wrap, so that nothing is cut off.
        justify: Literal["left", "right"] = "right" if is_number else "left"
        table.add_column(Text(name), justify=justify, no_wrap=is_number, overflow="fold")
    for row in rows:
        # As text: square brackets of a title are no markup.
        table.add_row(*(Text(_show_controls(_format_cell(value))) for value in row))
    # A pipe or a log has no width.
    Console(highlight=False, width=None if sys.stdout.isatty() else _UNLIMITED).print(table)


def _show_controls(text: str) -> str:
    """Return the text with control characters as escapes: a terminal would obey them."""
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) == "Cc" else char
        for char in text
    )


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
            _stderr().print(
                f"[{time.monotonic() - self._started:6.1f} s] {text}", markup=False, soft_wrap=True
            )

    def done(self) -> None:
        """Count one step as finished."""
        if self._progress and self._task is not None:
            self._progress.advance(self._task)


@contextmanager
def steps(total: int) -> Iterator[Steps]:
    """Yield the progress over `total` steps."""
    if not _stderr().is_terminal:
        yield Steps(None, total)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (
        SpinnerColumn(),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=_stderr(), transient=True) as progress:
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
    share_output(staging)
    staging.replace(out)


def write_secret(path: Path, text: str) -> None:
    """Write a file that only this user may read."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text + "\n")


def print_error(error: Exception, *, as_json: bool) -> None:
    """Print what happened, where, and what to try on stderr; with `as_json` on stdout too."""
    if as_json:
        fields = {name: getattr(error, name, None) for name in ("what", "where", "hint")}
        fields["what"] = fields["what"] or str(error)
        print_json({"error": fields})
    _stderr().print(f"Error: {error}", markup=False, soft_wrap=True)
