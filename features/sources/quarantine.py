"""The quarantine of an import: rows that failed validation, in files beside the tables."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv

from configs.settings import Settings


def write_quarantine(name: str, bad: pa.Table, settings: Settings) -> Path:
    """Write bad rows to a file named by its content; the same import writes the same file."""
    folder = settings.home / "quarantine"
    folder.mkdir(parents=True, exist_ok=True)
    staging = folder / f".{name}.csv"
    pa_csv.write_csv(bad, staging)
    path = folder / f"{name}-{hashlib.sha256(staging.read_bytes()).hexdigest()[:12]}.csv"
    staging.replace(path)
    return path
