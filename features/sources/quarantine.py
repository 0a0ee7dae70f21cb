"""The quarantine of an import: rows that failed validation, in files beside the tables.

People open these files in spreadsheets to find out what to mend at the source; nothing imports
them. So no cell begins like a formula: reasons are words, and the values of a row are one JSON
document, exact, which begins with a brace. Only the path of a file may begin like one.
"""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv

from configs.settings import Settings
from features.contracts.files import hold_lock
from features.contracts.texts import defuse_cell
from features.sources.named_people import IsPerson, mark_rows_of
from features.sources.raw import BAD_ROWS


def write_quarantine(name: str, bad: pa.Table, settings: Settings) -> Path:
    """Write bad rows to a file named by its content; the same import writes the same file."""
    folder = quarantine_folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    paths = pa.array([defuse_cell(path) for path in bad["file"].to_pylist()], pa.string())
    with hold_lock(folder / ".lock"):
        return _write_rows(folder, name, bad.set_column(0, "file", paths))


def read_quarantine(settings: Settings) -> Iterator[tuple[Path, pa.Table]]:
    """Yield the files with their rows; files that are no quarantine are left out."""
    for path in sorted(quarantine_folder(settings).glob("[!.]*-*.csv")):
        try:
            rows = pa_csv.read_csv(
                path,
                parse_options=pa_csv.ParseOptions(newlines_in_values=True),
                convert_options=pa_csv.ConvertOptions(column_types=BAD_ROWS),
            )
        except pa.ArrowInvalid:
            continue
        if rows.column_names == BAD_ROWS.names:
            yield path, rows


def erase_from_quarantine(settings: Settings, is_person: IsPerson) -> int:
    """Remove the rows that name a person, and return how many there were."""
    folder, n_removed = quarantine_folder(settings), 0
    if not folder.is_dir():
        return 0
    with hold_lock(folder / ".lock"):
        for path in folder.glob(".*.csv"):  # of an import that was killed
            path.unlink()
        for path, rows in read_quarantine(settings):
            is_named = mark_rows_of(rows, is_person)
            if not any(is_named):
                continue
            rest = rows.filter(pa.array([not named for named in is_named]))
            if rest.num_rows:
                _write_rows(path.parent, path.name.rpartition("-")[0], rest)
            path.unlink()
            n_removed += sum(is_named)
    return n_removed


def quarantine_folder(settings: Settings) -> Path:
    """Return the folder of these files."""
    return settings.home / "quarantine"


def _write_rows(folder: Path, name: str, rows: pa.Table) -> Path:
    staging = folder / f".{name}.csv"
    with staging.open("wb") as file:
        file.write(codecs.BOM_UTF8)  # or a spreadsheet misreads every umlaut
        pa_csv.write_csv(rows, file)
    path = folder / f"{name}-{hashlib.sha256(staging.read_bytes()).hexdigest()[:12]}.csv"
    staging.replace(path)
    return path
