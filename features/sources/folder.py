"""A folder of Parquet or CSV files, one per canonical table: NAME.parquet, NAME.csv or
NAME/*.parquet."""

from __future__ import annotations

import difflib
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from configs.settings import Settings
from features.contracts.errors import BadInput, TooManyBadRows
from features.contracts.tables import TABLES, TableSchema
from features.sources.raw import BAD_ROWS, literal, load_raw
from features.sources.report import FactStore, ImportReport, TableReport
from features.sources.validation import summarise, validate

_REQUIRED = ("events", "items")
# Clocks of shop systems differ; an event this far ahead is still now.
_CLOCK_SKEW = timedelta(minutes=5)
_MEMORY_LIMIT = "3GB"


def import_folder(
    folder: Path,
    facts: FactStore,
    settings: Settings,
    *,
    now: datetime,
    progress: Callable[[str], None],
) -> ImportReport:
    """Imports every canonical table found in `folder`; all of them are written in one step, or
    none.

    Rows that fail validation go to `quarantine/` in the state folder with file, row, reasons and
    raw values. Raises BadInput for a file that cannot be read as its table, TooManyBadRows above
    `settings.max_bad_share`.
    """
    found = _find(folder, facts)
    report = ImportReport(str(folder), ignored=_ignored(folder, found))
    tables: dict[str, pa.Table] = {}
    for name, paths in found.items():
        progress(f"reading {name}")
        tables[name], report.tables[name] = _read(
            TABLES[name], paths, settings, now=now + _CLOCK_SKEW
        )
    _judge(report, settings, now)
    _note_unknown_items(tables, report)
    progress("writing tables")
    for name, count in facts.write(tables).items():
        report.tables[name].written = count
    return report


def _find(folder: Path, facts: FactStore) -> dict[str, list[Path]]:
    """The files of each table in the folder."""
    if not folder.is_dir():
        raise BadInput(
            "no such folder",
            where=str(folder),
            hint="Name a folder that holds events.csv and items.csv",
        )
    found: dict[str, list[Path]] = {}
    for name in TABLES:
        single = [
            path for path in (folder / f"{name}.parquet", folder / f"{name}.csv") if path.exists()
        ]
        parts = sorted((folder / name).glob("*.parquet"))
        if len(single) + bool(parts) > 1:
            raise BadInput(
                f"more than one source for {name}",
                where=str(folder),
                hint="Keep one of Parquet and CSV",
            )
        if single or parts:
            found[name] = single or parts
    missing = [name for name in _REQUIRED if name not in found and facts.is_empty(name)]
    if missing or not found:
        held = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
        raise BadInput(
            f"the folder has no {' and no '.join(missing) or 'canonical table'}",
            where=str(folder),
            hint=f"It holds {held}; files are called NAME.csv or NAME.parquet for {', '.join(TABLES)}",
        )
    return found


def _read(
    schema: TableSchema, paths: list[Path], settings: Settings, *, now: datetime
) -> tuple[pa.Table, TableReport]:
    """The valid rows of one table, and what became of the others."""
    with _open(settings) as duck:
        present, rejected = load_raw(duck, schema, paths)
        _refuse_missing_columns(schema, present, paths)
        validated = validate(duck, schema, present, settings, now=now)
        n_raw = duck.sql("SELECT count(*) FROM raw").fetchone()
    report = TableReport(duplicates=validated.duplicates, attributes=validated.attributes)
    report.rows_read = int(n_raw[0]) + rejected.num_rows if n_raw else 0
    bad = pa.concat_tables([rejected, validated.bad.cast(BAD_ROWS)])
    if bad.num_rows:
        report.n_bad = bad.num_rows
        report.quarantined = Counter(summarise(bad["reasons"].to_pylist()))
        report.quarantine_file = _quarantine(schema.name, bad, settings)
    return validated.good, report


@contextmanager
def _open(settings: Settings) -> Iterator[Any]:
    """DuckDB in memory, which spills into the state folder what does not fit."""
    spill = settings.home / "spill"
    with duckdb.connect() as duck:
        duck.execute("SET TimeZone = 'UTC'")
        duck.execute(f"SET memory_limit = '{_MEMORY_LIMIT}'")
        duck.execute(f"SET temp_directory = {literal(str(spill))}")
        yield duck


def _judge(report: ImportReport, settings: Settings, now: datetime) -> None:
    """Raises TooManyBadRows for an import above its share of bad rows, or with a table of which no
    row is good."""
    lost = [
        name
        for name, table in report.tables.items()
        if table.n_bad and table.n_bad == table.rows_read
    ]
    if settings.max_bad_share == 1 or (report.share_bad <= settings.max_bad_share and not lost):
        return
    if report.share_bad > settings.max_bad_share:
        what = f"{report.share_bad:.1%} of the rows are bad, {settings.max_bad_share:.1%} may be"
    else:
        what = f"no row of {' and '.join(lost)} is good"
    reasons = sum((table.quarantined for table in report.tables.values()), Counter[str]())
    most = "; ".join(f"{reason}: {n:,}" for reason, n in reasons.most_common(3))
    clock = (
        f" The shop's clock says {now.isoformat()}."
        if any("future" in reason for reason in reasons)
        else ""
    )
    raise TooManyBadRows(
        f"{what}; nothing was imported. Most often: {most}",
        where=", ".join(
            str(table.quarantine_file) for table in report.tables.values() if table.quarantine_file
        ),
        hint=f"Look at the rows there, mend the source, or allow more with --max-bad-share.{clock}",
    )


def _note_unknown_items(tables: Mapping[str, pa.Table], report: ImportReport) -> None:
    """Rows of items that are not among the items given with them are kept, and said aloud."""
    if "items" not in tables:
        return
    for name, rows in tables.items():
        if "item_id" in rows.column_names:
            known = pc.is_in(rows["item_id"], value_set=tables["items"]["item_id"])
            report.tables[name].n_unknown_items = rows.num_rows - int(pc.sum(known).as_py() or 0)


def _ignored(folder: Path, found: Mapping[str, list[Path]]) -> list[str]:
    """Files that look like tables and are none; a misspelt name shows up here."""
    used = {path for paths in found.values() for path in paths}
    return sorted(
        path.name
        for path in folder.iterdir()
        if path.suffix in (".csv", ".parquet") and path not in used
    )


def _refuse_missing_columns(schema: TableSchema, present: list[str], paths: list[Path]) -> None:
    missing = [
        column.name for column in schema.columns if column.required and column.name not in present
    ]
    if not missing:
        return
    nearest = {name: difflib.get_close_matches(name, present, n=1) for name in missing}
    guesses = [f"is {guess[0]!r} meant to be {name!r}?" for name, guess in nearest.items() if guess]
    hint = " ".join(guesses) or f"It has {', '.join(present)}"
    if len(present) == 1 and any(mark in present[0] for mark in ";\t|"):
        hint = f"its first line is {present[0]!r}: separate the values with commas"
    raise BadInput(
        f"{schema.name} lacks {', '.join(missing)}",
        where=str(paths[0]),
        hint=hint[0].upper() + hint[1:],
    )


def _quarantine(name: str, bad: pa.Table, settings: Settings) -> Path:
    """Writes bad rows to a file named by its content, so that the same import writes the same
    file."""
    folder = settings.home / "quarantine"
    folder.mkdir(parents=True, exist_ok=True)
    staging = folder / f".{name}.csv"
    pa_csv.write_csv(bad, staging)
    path = folder / f"{name}-{hashlib.sha256(staging.read_bytes()).hexdigest()[:12]}.csv"
    staging.replace(path)
    return path
