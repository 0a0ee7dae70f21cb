"""A folder of Parquet or CSV files, one per canonical table: NAME.parquet, NAME.csv or NAME/*.parquet."""

from __future__ import annotations

import difflib
import hashlib
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.csv as pa_csv

from configs.settings import Settings
from features.contracts.errors import BadInput, TooManyBadRows
from features.contracts.tables import TABLES, TableSchema
from features.sources.report import FactStore, ImportReport, TableReport
from features.sources.validation import FILE, ROW, raw_line, summarise, validate

_REQUIRED = ("events", "items")
# Clocks of shop systems differ; an event this far ahead is still now.
_CLOCK_SKEW = timedelta(minutes=5)
_BAD_SCHEMA = pa.schema([("file", pa.string()), ("row", pa.int64()), ("reasons", pa.string()), ("raw", pa.string())])


def import_folder(
    folder: Path, facts: FactStore, settings: Settings, *, now: datetime, progress: Callable[[str], None]
) -> ImportReport:
    """Imports every canonical table found in `folder`; all of them are written in one step, or none.

    Rows that fail validation go to `quarantine/` in the state folder with file, row, reasons and raw values. Raises
    BadInput for a file that cannot be read as its table, TooManyBadRows above `settings.max_bad_share`.
    """
    found = _find(folder, facts)
    report = ImportReport(str(folder))
    tables: dict[str, pa.Table] = {}
    for name, paths in found.items():
        progress(f"reading {name}")
        tables[name], report.tables[name] = _read(TABLES[name], paths, settings, now=now + _CLOCK_SKEW)
    if report.share_bad > settings.max_bad_share:
        raise TooManyBadRows(
            f"{report.share_bad:.1%} of the rows are bad, {settings.max_bad_share:.1%} may be; nothing was imported",
            where=", ".join(str(t.quarantine_file) for t in report.tables.values() if t.quarantine_file),
            hint="Look at the reasons there, mend the source, or allow more with --max-bad-share",
        )
    progress("writing tables")
    for name, count in facts.write(tables).items():
        report.tables[name].written = count
    return report


def _find(folder: Path, facts: FactStore) -> dict[str, list[Path]]:
    """The files of each table in the folder."""
    if not folder.is_dir():
        raise BadInput("no such folder", where=str(folder), hint="Name a folder that holds events.csv and items.csv")
    found: dict[str, list[Path]] = {}
    for name in TABLES:
        single = [path for path in (folder / f"{name}.parquet", folder / f"{name}.csv") if path.exists()]
        parts = sorted((folder / name).glob("*.parquet"))
        if len(single) + bool(parts) > 1:
            raise BadInput(f"more than one source for {name}", where=str(folder), hint="Keep one of Parquet and CSV")
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


def _read(schema: TableSchema, paths: list[Path], settings: Settings, *, now: datetime) -> tuple[pa.Table, TableReport]:
    """The valid rows of one table, and what became of the others."""
    duck = duckdb.connect()
    duck.execute("SET TimeZone = 'UTC'")
    rejected = _load_raw(duck, paths)
    present = [row[0] for row in duck.sql("DESCRIBE raw").fetchall() if row[0] not in (FILE, ROW)]
    _refuse_missing_columns(schema, present, paths)
    validated = validate(duck, schema, present, settings, now=now)
    report = TableReport(duplicates=validated.duplicates)
    n_raw = duck.sql("SELECT count(*) FROM raw").fetchone()
    report.rows_read = int(n_raw[0]) + rejected.num_rows if n_raw else 0
    bad = pa.concat_tables([rejected, validated.bad.cast(_BAD_SCHEMA)])
    if bad.num_rows:
        report.n_bad = bad.num_rows
        report.quarantined = Counter(summarise(bad["reasons"].to_pylist()))
        report.quarantine_file = _quarantine(schema.name, bad, settings)
    return validated.good, report


def _load_raw(duck: Any, paths: list[Path]) -> pa.Table:
    """Makes the table `raw`, all text; returns the lines that are no rows (bad encoding, too few or many values)."""
    if paths[0].suffix == ".csv":
        return _load_csv(duck, paths[0])
    sources = ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths)
    try:
        duck.execute(
            f"CREATE TEMP TABLE raw AS SELECT COLUMNS(*)::VARCHAR FROM (SELECT * EXCLUDE (filename, file_row_number), "
            f"filename AS {FILE}, file_row_number + 1 AS {ROW} FROM read_parquet([{sources}], union_by_name = true, "
            "filename = true, file_row_number = true))"
        )
    except duckdb.Error as error:
        raise BadInput("no readable Parquet file", where=str(paths[0]), hint=str(error).splitlines()[0]) from error
    duck.execute(f"ALTER TABLE raw ALTER {ROW} TYPE BIGINT")
    return _BAD_SCHEMA.empty_table()


def _load_csv(duck: Any, path: Path) -> pa.Table:
    if path.stat().st_size == 0:
        raise BadInput("the file is empty", where=str(path), hint="A CSV file starts with a line of column names")
    options = "all_varchar = true, header = true, delim = ',', quote = '\"', escape = '\"', store_rejects = true"
    place = str(path).replace("'", "''")
    try:
        duck.execute(
            f"CREATE TEMP TABLE raw AS SELECT *, '{place}' AS {FILE}, row_number() OVER () AS {ROW} "
            f"FROM read_csv('{place}', {options}, rejects_limit = 0)"
        )
    except duckdb.Error as error:
        raise BadInput("no readable CSV file", where=str(path), hint=str(error).splitlines()[0]) from error
    rejected = duck.sql(
        "SELECT line, lower(replace(error_type, '_', ' ')) AS fault, csv_line FROM reject_errors ORDER BY line"
    ).fetchall()
    rows = [
        {"file": str(path), "row": line - 1, "reasons": f"the line has {fault}", "raw": raw_line(text or "")}
        for line, fault, text in rejected
    ]
    return pa.Table.from_pylist(rows, _BAD_SCHEMA)


def _refuse_missing_columns(schema: TableSchema, present: list[str], paths: list[Path]) -> None:
    missing = [column.name for column in schema.columns if column.required and column.name not in present]
    if not missing:
        return
    nearest = {name: difflib.get_close_matches(name, present, n=1) for name in missing}
    guesses = [f"is {guess[0]!r} meant to be {name!r}?" for name, guess in nearest.items() if guess]
    hint = " ".join(guesses) or f"It has {', '.join(present)}"
    raise BadInput(f"{schema.name} lacks {', '.join(missing)}", where=str(paths[0]), hint=hint[0].upper() + hint[1:])


def _quarantine(name: str, bad: pa.Table, settings: Settings) -> Path:
    """Writes bad rows to a file named by its content, so that the same import writes the same file."""
    folder = settings.home / "quarantine"
    folder.mkdir(parents=True, exist_ok=True)
    staging = folder / f".{name}.csv"
    pa_csv.write_csv(bad, staging)
    path = folder / f"{name}-{hashlib.sha256(staging.read_bytes()).hexdigest()[:12]}.csv"
    staging.replace(path)
    return path
