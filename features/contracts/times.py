"""Times as texts: one form at every door, checked before anything is converted.

`2024-05-01`, `2024-05-01T10:00`, with seconds and a fraction of up to nine digits, a blank for the
`T`, and `Z` or an offset `±hh`, `±hh:mm` or `±hhmm`. A time without an offset is UTC, a date alone
its midnight. Names of zones (`PST`), weeks, numbers and words are no times: a converter that knows
them reads more than was meant, and that of DuckDB reads the rows behind a named zone in that zone.

The rule is written twice: as SQL over a text column (DuckDB, session time zone UTC), and as Python.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

# The syntax that Python and RE2 share.
_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_MINUTE = "[T ](?:[01][0-9]|2[0-3]):[0-5][0-9]"
_SECOND = "(?::[0-5][0-9](?:[.][0-9]{1,9})?)"
_OFFSET = "(?:Z|[+-](?:0[0-9]|1[0-4])(?::?[0-5][0-9])?)"
_FORM = f"{_DATE}(?:{_MINUTE}{_SECOND}?{_OFFSET}?)?"
_WITHOUT_SECONDS = f"({_DATE}{_MINUTE})({_OFFSET}?)"
_FORM_PATTERN = re.compile(_FORM)

# Times beyond these are slips of a keyboard; an open end may be written as the year 9999.
_FIRST = datetime(1900, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 12, 31, 12, tzinfo=UTC)


def read_time(text: str) -> datetime | None:
    """Return the instant in UTC, None where the text has another form or is no date.

    >>> [str(read_time(text)) for text in ("2024-05-01 10:00:00+02", "2024-05-01 10:00:00 PST")]
    ['2024-05-01 08:00:00+00:00', 'None']
    """
    if _FORM_PATTERN.fullmatch(text) is None:
        return None
    try:
        time = datetime.fromisoformat(text)
        moment = time.replace(tzinfo=time.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment if _FIRST <= moment < _LAST else None


def has_offset(text: str) -> bool:
    """Return whether a text of the form says its offset.

    >>> has_offset("2024-05-01T10:00Z"), has_offset("2024-05-01T10:00"), has_offset("2024-05-01")
    (True, False, False)
    """
    return re.search(f"[T ].*{_OFFSET}$", text) is not None


def time_sql(text: str) -> str:
    """SQL for the instant of a text, null where it has another form. The twin of `read_time`."""
    # DuckDB reads no offset behind minutes.
    complete = f"regexp_replace({text}, '^{_WITHOUT_SECONDS}$', '\\1:00\\2')"
    checked = f"CASE WHEN regexp_full_match({text}, '{_FORM}') THEN {complete} END"
    time = f"TRY_CAST({checked} AS TIMESTAMPTZ)"
    return f"CASE WHEN {time} >= '{_FIRST}' AND {time} < '{_LAST}' THEN {time} END"
