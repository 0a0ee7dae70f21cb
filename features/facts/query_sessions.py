"""DuckDB sessions over imported facts: one in-memory database per process, a session per reader.

To open a database takes as long as a query of a small shop; sessions are free, share its memory
limit, and see nothing of each other's temporary tables.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from features.contracts.texts import sql_literal

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

_MEMORY_LIMIT = "4GB"


def open_session(spill: Path) -> Backend:
    """Return a new session whose time zone is UTC; what does not fit in memory goes to `spill`."""
    session = _open_database(spill, os.getpid()).cursor()
    # Standard output is for answers: `--json` is read by programs.
    session.execute("SET enable_progress_bar = false")
    from features.facts.compiled_queries import CompiledQueries

    backend: Backend = CompiledQueries.from_connection(session)  # sets the time zone
    return backend


@lru_cache(maxsize=2)
def _open_database(spill: Path, _process_id: int) -> duckdb.DuckDBPyConnection:
    """Return the database of a process: one that was forked does not have the parent's threads."""
    database = duckdb.connect()
    database.execute(f"SET memory_limit = '{_MEMORY_LIMIT}'")
    database.execute(f"SET temp_directory = {sql_literal(str(spill))}")
    return database
