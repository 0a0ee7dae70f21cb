"""Sessions of one DuckDB database in memory per process, for imports and for reading the facts.

To open a database takes as long as a query of a small shop; sessions are free, share its memory
limit, and see nothing of each other's temporary tables.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import duckdb

from features.contracts.texts import sql_literal

_MEMORY_LIMIT = "4GB"


def open_duck(spill: Path) -> duckdb.DuckDBPyConnection:
    """Return a new session whose time zone is UTC; what does not fit in memory goes to `spill`."""
    session = _open_database(spill, os.getpid()).cursor()
    session.execute("SET TimeZone = 'UTC'")
    # Standard output is for answers: `--json` is read by programs.
    session.execute("SET enable_progress_bar = false")
    return session


@lru_cache(maxsize=2)
def _open_database(spill: Path, _process_id: int) -> duckdb.DuckDBPyConnection:
    """Return the database of a process: one that was forked does not have the parent's threads."""
    database = duckdb.connect()
    database.execute(f"SET memory_limit = '{_MEMORY_LIMIT}'")
    database.execute(f"SET temp_directory = {sql_literal(str(spill))}")
    return database
