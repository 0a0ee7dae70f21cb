"""Sessions over imported facts as Ibis knows them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from features.sources.duckdb_sessions import open_duck

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend


def open_session(spill: Path) -> Backend:
    """Return a new session whose time zone is UTC; what does not fit in memory goes to `spill`."""
    from features.facts.compiled_queries import CompiledQueries

    backend: Backend = CompiledQueries.from_connection(open_duck(spill))
    return backend
