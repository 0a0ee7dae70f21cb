"""One list of texts, read as a file and as a request: the same instant, or no time."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest

from features.contracts.clock import parse_time
from features.contracts.errors import BadInput
from features.contracts.texts import clean_sql, clean_text
from features.contracts.times import has_offset, read_time, time_sql
from tests.shops.time_texts import BAD_TIMES, GOOD_TIMES

LOCAL = "2024-05-01 10:00:00"


def test_a_text_is_one_instant_at_both_doors_whatever_stands_before_it() -> None:
    # A row without an offset behind each: what a named zone would shift.
    texts = [text for case in (*BAD_TIMES, *GOOD_TIMES) for text in (case, LOCAL)]
    with duckdb.connect() as duck:
        duck.execute("SET TimeZone = 'UTC'")
        duck.register("given", pa.table({"text": texts, "row": range(len(texts))}))
        query = f"SELECT {time_sql('text')} AS at FROM (SELECT {clean_sql('text')} AS text, row "
        in_file = duck.sql(f"{query} FROM given) ORDER BY row").to_arrow_table()["at"].to_pylist()
    in_request = [read_time(clean_text(text) or "") for text in texts]
    expected = [{LOCAL: GOOD_TIMES[LOCAL], **GOOD_TIMES}.get(text) for text in texts]
    assert in_request == expected
    assert in_file == expected


@pytest.mark.parametrize(
    "text", [*BAD_TIMES, *(text for text in GOOD_TIMES if text.strip() != text)]
)
def test_commands_read_the_same_form(text: str) -> None:
    with pytest.raises(BadInput, match="is no time"):
        parse_time(text)


def test_commands_want_an_offset() -> None:
    for text, instant in GOOD_TIMES.items():
        if text != text.strip():
            continue
        if has_offset(text):
            assert parse_time(text) == instant
        else:
            with pytest.raises(BadInput, match="time zone"):
                parse_time(text)
