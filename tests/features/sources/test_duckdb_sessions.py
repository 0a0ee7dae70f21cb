from concurrent.futures import ThreadPoolExecutor

import duckdb
import pytest

from features.sources.duckdb_sessions import open_duck


@pytest.fixture
def opened(monkeypatch):
    """The databases that were opened."""
    databases = []
    connect = duckdb.connect

    def connect_and_note(*arguments):
        databases.append(connect(*arguments))
        return databases[-1]

    monkeypatch.setattr(duckdb, "connect", connect_and_note)
    return databases


def read_lines(spill, path):
    """The good rows and the rejected lines of a file, as an import reads it."""
    with open_duck(spill) as duck:
        duck.execute(
            f"CREATE TEMP TABLE raw AS SELECT * FROM read_csv('{path}', header = true, "
            "columns = {'a': 'BIGINT'}, store_rejects = true, rejects_limit = 0)"
        )
        rejected = duck.sql("SELECT csv_line FROM reject_errors ORDER BY line").fetchall()
        return duck.sql("SELECT a FROM raw ORDER BY a").fetchall(), rejected


def test_sessions_share_a_database_and_see_nothing_of_each_other(opened, tmp_path):
    for n in range(4):
        (tmp_path / f"{n}.csv").write_text(f"a\n{n}\nx{n}\n")
    paths = [tmp_path / f"{n % 4}.csv" for n in range(16)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda path: read_lines(tmp_path, path), paths))
    assert results == [([(n % 4,)], [(f"x{n % 4}",)]) for n in range(16)]
    # Threads that come at once may each open one, of which one is kept.
    assert 1 <= len(opened) <= 4
    n_opened = len(opened)
    read_lines(tmp_path, paths[0])
    assert len(opened) == n_opened


def test_a_session_reads_times_in_utc_and_prints_no_progress(tmp_path):
    with open_duck(tmp_path) as duck:
        names = ("TimeZone", "enable_progress_bar", "temp_directory")
        values = [duck.sql(f"SELECT current_setting('{name}')").fetchone()[0] for name in names]
    assert values == ["UTC", False, str(tmp_path)]
