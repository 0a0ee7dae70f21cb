"""A folder of files of the canonical tables: NAME.parquet, NAME.csv or NAME/*.parquet."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from configs.settings import Settings
from features.contracts.errors import BadInput, TooManyBadRows
from features.contracts.row_checks import CLOCK_SKEW
from features.contracts.tables import EVENTS, TABLES, TableSchema
from features.contracts.texts import sql_literal
from features.sources.quarantine import write_quarantine
from features.sources.raw import BAD_ROWS, load_raw
from features.sources.report import FactStore, ImportReport, TableReport, count_reasons
from features.sources.validation import Validated, validate

_REQUIRED = ("events", "items")
_MEMORY_LIMIT = "3GB"


def import_folder(
    folder: Path,
    facts: FactStore,
    settings: Settings,
    *,
    now: datetime,
    progress: Callable[[str], None],
) -> ImportReport:
    """Import every canonical table of `folder`; all of them are written in one step, or none.

    Rows that fail validation go to `quarantine/` in the state folder with file, row, reasons and
    raw values. Raises BadInput for a file that cannot be read as its table, TooManyBadRows above
    `settings.max_bad_share`.
    """
    paths_of = _find_files(folder, facts)
    report = ImportReport(str(folder), ignored=_list_ignored(folder, paths_of))
    tables: dict[str, pa.Table] = {}
    for name, paths in paths_of.items():
        progress(f"reading {name}")
        validated, report.tables[name] = _read_table(
            TABLES[name], paths, settings, latest=now + CLOCK_SKEW
        )
        tables[name] = _keep_known_ids(validated, facts)
    _refuse_many_bad_rows(report, settings, now)
    _note_unknown_items(tables, report)
    progress("writing tables")
    for name, count in facts.write(tables).items():
        report.tables[name].written = count
    return report


def _find_files(folder: Path, facts: FactStore) -> dict[str, list[Path]]:
    """Return the files of each table in the folder."""
    if not folder.is_dir():
        raise BadInput(
            "no such folder",
            where=str(folder),
            hint="Name a folder that holds events.csv and items.csv",
        )
    paths_of: dict[str, list[Path]] = {}
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
            paths_of[name] = single or parts
    missing = [name for name in _REQUIRED if name not in paths_of and facts.is_empty(name)]
    if missing or not paths_of:
        contents = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
        raise BadInput(
            f"the folder has no {' and no '.join(missing) or 'canonical table'}",
            where=str(folder),
            hint=(
                f"It holds {contents}; files are called NAME.csv or NAME.parquet for "
                f"{', '.join(TABLES)}"
            ),
        )
    return paths_of


def _read_table(
    schema: TableSchema, paths: list[Path], settings: Settings, *, latest: datetime
) -> tuple[Validated, TableReport]:
    """Return the rows of one table after the checks, and the report of them."""
    with _open_duck(settings) as duck:
        present, rejected = load_raw(duck, schema, paths)
        _refuse_missing_columns(schema, present, paths)
        validated = validate(duck, schema, present, settings, latest=latest)
        n_raw = duck.sql("SELECT count(*) FROM raw").fetchone()
    report = TableReport(duplicates=validated.duplicates, attributes=validated.attributes)
    report.rows_read = int(n_raw[0]) + rejected.num_rows if n_raw else 0
    bad = pa.concat_tables([rejected, validated.bad.cast(BAD_ROWS)])
    if bad.num_rows:
        report.n_bad = bad.num_rows
        report.quarantined = Counter(count_reasons(bad["reasons"].to_pylist()))
        report.quarantine_file = write_quarantine(schema.name, bad, settings)
    return validated, report


def _keep_known_ids(validated: Validated, facts: FactStore) -> pa.Table:
    """Return the good rows; an event known under the id of an earlier rule keeps that id.

    So the import of a file that was imported before the attributes of an id were sorted changes
    nothing.
    """
    rows, earlier = validated.good, validated.earlier_ids
    if earlier is None:
        return rows
    known = pa.array(facts.knows_events(earlier.to_pylist()), pa.bool_())
    event_ids = pc.if_else(known, earlier, rows[EVENTS.key[0]])
    return rows.set_column(
        rows.schema.get_field_index(EVENTS.key[0]), rows.schema.field(EVENTS.key[0]), event_ids
    )


@contextmanager
def _open_duck(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open DuckDB in memory; what does not fit spills into the state folder."""
    spill = settings.home / "spill"
    with duckdb.connect() as duck:
        duck.execute("SET TimeZone = 'UTC'")
        duck.execute("SET enable_progress_bar = false")
        duck.execute(f"SET memory_limit = '{_MEMORY_LIMIT}'")
        duck.execute(f"SET temp_directory = {sql_literal(str(spill))}")
        yield duck


def _refuse_many_bad_rows(report: ImportReport, settings: Settings, now: datetime) -> None:
    """Raise TooManyBadRows for an import above its share of bad rows, or a table without a good
    row."""
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
    """Count the rows of items that are not among the items given with them; they are kept."""
    if "items" not in tables:
        return
    for name, rows in tables.items():
        if "item_id" in rows.column_names:
            known = pc.is_in(rows["item_id"], value_set=tables["items"]["item_id"])
            report.tables[name].n_unknown_items = rows.num_rows - int(pc.sum(known).as_py() or 0)


def _list_ignored(folder: Path, paths_of: Mapping[str, list[Path]]) -> list[str]:
    """Return files that look like tables and are none; a misspelt name shows up here."""
    used = {path for paths in paths_of.values() for path in paths}
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
