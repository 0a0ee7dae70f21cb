"""A folder of files of the canonical tables: NAME.parquet, NAME.csv or NAME/*.parquet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from configs.settings import Settings
from features.contracts.errors import BadInput, TooManyBadRows
from features.contracts.near_names import find_near_names
from features.contracts.row_checks import CLOCK_SKEW, UNKNOWN_ZONE, ZoneRules
from features.contracts.tables import EVENTS, ITEMS, PRICE_HISTORY, TABLES, USERS, TableSchema
from features.sources.advice import advise, find_examples
from features.sources.doubtful_amounts import report_doubtful_amounts
from features.sources.duckdb_sessions import open_duck
from features.sources.named_people import mark_rows_of
from features.sources.newer_rows import keep_newer_rows
from features.sources.quarantine import write_quarantine
from features.sources.raw import BAD_ROWS, load_raw
from features.sources.report import (
    OF_ERASED,
    FactStore,
    ImportReport,
    TableReport,
    count_reasons,
)
from features.sources.stock_times import date_stock
from features.sources.unknown_items import check_items
from features.sources.user_statements import keep_later_statements
from features.sources.validation import Validated, validate

_REQUIRED = ("events", "items")
_SUFFIXES = (".csv", ".parquet")


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
    `settings.max_bad_share`, TooManyUnknownItems above `settings.max_unknown_items`.
    """
    paths_of = _find_files(folder, facts)
    ignored = _list_ignored(folder, paths_of)
    report = ImportReport(str(folder), ignored=ignored, near_tables=_find_near_tables(ignored))
    tables: dict[str, pa.Table] = {}
    unknown_zones: set[str] = set()
    zones = None
    # The price list first: its zones are known, others are not.
    for name in sorted(paths_of, key=lambda name: name != PRICE_HISTORY.name):
        progress(f"reading {name}")
        if zones is None and name != PRICE_HISTORY.name:
            zones = _find_zones(tables, facts)
        validated, report.tables[name] = _read_table(
            TABLES[name], paths_of[name], settings, facts, latest=now + CLOCK_SKEW, zones=zones
        )
        tables[name] = _keep_known_ids(validated, facts)
        if TABLES[name].has_money:
            unknown_zones |= validated.unknown_zones
    report.tables = {name: report.tables[name] for name in paths_of}
    if ITEMS.name in tables:
        items = date_stock(tables[ITEMS.name], facts, now)
        tables[ITEMS.name] = keep_newer_rows(items, facts, report.tables[ITEMS.name])
    if USERS.name in tables:
        users, users_report = tables[USERS.name], report.tables[USERS.name]
        tables[USERS.name] = keep_later_statements(users, facts, users_report, now)
    _refuse_many_bad_rows(report, settings, now)
    check_items(tables, facts, report, settings)
    report_doubtful_amounts(tables, facts, report, settings)
    report.count_zones(tables, settings)
    progress("writing tables")
    report.count_written(facts.write(tables, unknown_zones))
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
        advice = _advise_on_missing(missing, _list_ignored(folder, paths_of))
        raise BadInput(
            f"the folder has no {' and no '.join(missing) or 'canonical table'}",
            where=str(folder),
            hint=(
                f"It holds {contents}; files are called NAME.csv or NAME.parquet for "
                f"{', '.join(TABLES)}.{advice}"
            ),
        )
    return paths_of


def _advise_on_missing(missing: Sequence[str], ignored: Sequence[str]) -> str:
    """Return what may have been meant by the files that are no table, and the least that is
    needed."""
    parts: dict[str, list[str]] = {}
    for file in ignored:
        for name in missing:
            if Path(file).stem.lower().startswith(name) and Path(file).suffix in _SUFFIXES:
                parts.setdefault(name, []).append(file)
    advice = [
        f" Are {', '.join(files)} parts of {name}? Join them into one file, put them as Parquet "
        f"into a folder {name}, or import each from a folder of its own: what repeats counts once."
        for name, files in parts.items()
        if len(files) > 1
    ]
    joined = {file for files in parts.values() if len(files) > 1 for file in files}
    near = _find_near_tables([file for file in ignored if file not in joined])
    advice += [f" Is {file} meant to be {names[0]}?" for file, names in near.items()]
    if ITEMS.name in missing:
        advice.append(f" {ITEMS.name}.csv needs no column but item_id.")
    return "".join(advice)


def _find_zones(tables: Mapping[str, pa.Table], facts: FactStore) -> ZoneRules:
    """Return the zones that rows may name, with those of the price list among `tables`."""
    listed = tables.get(PRICE_HISTORY.name)
    return facts.find_zone_rules([] if listed is None else listed["zone"].unique().to_pylist())


def _read_table(
    schema: TableSchema,
    paths: list[Path],
    settings: Settings,
    facts: FactStore,
    *,
    latest: datetime,
    zones: ZoneRules | None,
) -> tuple[Validated, TableReport]:
    """Return the rows of one table after the checks, and the report of them."""
    with open_duck(settings.home / "spill") as duck:
        raw = load_raw(duck, schema, paths)
        _refuse_missing_columns(schema, raw.names, paths)
        validated = validate(duck, schema, raw.names, settings, latest=latest, zones=zones)
        n_raw = duck.sql("SELECT count(*) FROM raw").fetchone()
    report = TableReport(
        duplicates=validated.duplicates,
        attributes=validated.attributes,
        near_columns=_find_near_columns(schema, raw.names),
        rounded=dict(validated.rounded),
        decimal_ids=raw.decimal_ids,
        n_unknown_zones=validated.n_unknown_zones,
    )
    report.rows_read = int(n_raw[0]) + raw.rejected.num_rows if n_raw else 0
    bad = pa.concat_tables([raw.rejected, validated.bad.cast(BAD_ROWS)])
    if schema in (EVENTS, USERS):
        bad = _leave_out_erased(bad, facts, report)
    if bad.num_rows:
        report.n_bad = bad.num_rows
        report.quarantined = Counter(count_reasons(bad["reasons"].to_pylist()))
        names = [column.name for column in schema.columns]
        report.examples = find_examples(bad, names)
        report.quarantine_file = write_quarantine(schema.name, bad, settings)
    return validated, report


def _leave_out_erased(bad: pa.Table, facts: FactStore, report: TableReport) -> pa.Table:
    """Return the bad rows without those that name somebody who was erased; counts these."""
    is_erased = mark_rows_of(bad, facts.is_erased)
    if any(is_erased):
        report.excluded[OF_ERASED] += sum(is_erased)
    return bad.filter(pa.array([not erased for erased in is_erased], pa.bool_()))


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
    examples = {
        reason: example
        for table in report.tables.values()
        for reason, example in table.examples.items()
    }
    often = reasons.most_common(3)
    most = "; ".join(f"{reason}: {n:,} ({examples[reason]})" for reason, n in often)
    advice = dict.fromkeys(filter(None, (advise(reason) for reason, _ in often)))
    clock = zones = ""
    if any("future" in reason for reason in reasons):
        clock = f" The shop's clock says {now.isoformat()}."
    if UNKNOWN_ZONE in reasons:
        zones = (
            " Zones are those of SHOPWRIGHT_ZONES and of price_history; SHOPWRIGHT_UNKNOWN_ZONES="
            "default makes others default."
        )
    raise TooManyBadRows(
        f"{what}; nothing was imported. Most often: {most}",
        where=", ".join(
            str(table.quarantine_file) for table in report.tables.values() if table.quarantine_file
        ),
        hint=" ".join([*advice, "Look at the rows there, mend the source, or allow more with "])
        + f"--max-bad-share.{clock}{zones}",
    )


def _list_ignored(folder: Path, paths_of: Mapping[str, list[Path]]) -> list[str]:
    """Return what lies in the folder and is no table; a misspelt name shows up here."""
    used = {path for paths in paths_of.values() for path in paths}
    parts = [path.parent for path in used if path.parent != folder]
    unused = [
        path
        for directory in (folder, *dict.fromkeys(parts))
        for path in directory.iterdir()
        if path not in used and path not in parts and not path.name.startswith(".")
    ]
    return sorted(f"{path.relative_to(folder).as_posix()}{'/' * path.is_dir()}" for path in unused)


def _find_near_tables(ignored: Sequence[str]) -> dict[str, list[str]]:
    """Return the tables that ignored files may have been meant to be."""
    near = {file: find_near_names(Path(file).name.partition(".")[0], TABLES) for file in ignored}
    return {file: names for file, names in near.items() if names}


def _find_near_columns(schema: TableSchema, present: Sequence[str]) -> dict[str, list[str]]:
    """Return the columns that columns which nothing reads may have been meant to be."""
    known = {column.name for column in schema.columns} | set(schema.used_attributes)
    near = {
        name: find_near_names(name, known.difference(present))
        for name in present
        if name not in known
    }
    return {name: names for name, names in near.items() if names}


def _refuse_missing_columns(schema: TableSchema, present: list[str], paths: list[Path]) -> None:
    missing = [
        column.name for column in schema.columns if column.required and column.name not in present
    ]
    if not missing:
        return
    nearest = {name: find_near_names(name, present) for name in missing}
    guesses = [f"is {guess[0]!r} meant to be {name!r}?" for name, guess in nearest.items() if guess]
    hint = " ".join(guesses) or f"It has {', '.join(present)}"
    if len(present) == 1 and any(mark in present[0] for mark in ";\t|"):
        hint = f"its first line is {present[0]!r}: separate the values with commas"
    raise BadInput(
        f"{schema.name} lacks {', '.join(missing)}",
        where=str(paths[0]),
        hint=hint[0].upper() + hint[1:],
    )
