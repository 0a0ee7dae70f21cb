"""Where texts still stand in a state folder and its database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow.parquet as pq
import sqlalchemy as sa


def list_traces(home: Path, engine: sa.Engine, texts: Sequence[str]) -> list[str]:
    """Return the files and tables that hold one of the texts: files as their bytes, Parquet also
    as it is read."""
    traces = [
        f"{path.relative_to(home)}: {text}"
        for path in sorted(home.rglob("*"))
        if path.is_file()
        for content in _read_contents(path)
        for text in texts
        if text.encode() in content
    ]
    tables = sa.inspect(engine).get_table_names()
    with engine.connect() as connection:
        for table in tables:
            rows = connection.execute(sa.text(f'SELECT * FROM "{table}"')).all()
            traces += [f"{table}: {text}" for text in texts if text in str(rows)]
    return traces


def _read_contents(path: Path) -> Iterator[bytes]:
    yield path.read_bytes()
    if path.suffix == ".parquet":
        for column in pq.read_table(path).columns:
            yield b"\n".join(
                value if isinstance(value, bytes) else str(value).encode()
                for value in column.to_pylist()
            )
