"""The quarantine of an import: rows that failed validation, in files beside the tables.

People open these files in spreadsheets to find out what to mend at the source; nothing imports
them. So no cell begins like a formula: reasons are words, and the values of a row are one JSON
document, exact, which begins with a brace. Only the path of a file may begin like one.
"""

from __future__ import annotations

import codecs
import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv

from configs.settings import Settings
from features.contracts.texts import defuse_cell


def write_quarantine(name: str, bad: pa.Table, settings: Settings) -> Path:
    """Write bad rows to a file named by its content; the same import writes the same file."""
    folder = settings.home / "quarantine"
    folder.mkdir(parents=True, exist_ok=True)
    staging = folder / f".{name}.csv"
    paths = pa.array([defuse_cell(path) for path in bad["file"].to_pylist()], pa.string())
    with staging.open("wb") as file:
        file.write(codecs.BOM_UTF8)  # or a spreadsheet misreads every umlaut
        pa_csv.write_csv(bad.set_column(0, "file", paths), file)
    path = folder / f"{name}-{hashlib.sha256(staging.read_bytes()).hexdigest()[:12]}.csv"
    staging.replace(path)
    return path
