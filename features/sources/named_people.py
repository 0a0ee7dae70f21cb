"""The ids of people in rows that failed validation, which are kept as they were written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pyarrow as pa

from features.contracts.person_ids import ID_COLUMNS, ID_KINDS, USER
from features.contracts.texts import clean_text

# Says of the kind of an id (user, visitor, session) and of an id whether it is somebody's.
IsPerson = Callable[[str, str], bool]
_WHOLE = re.compile(r"(-?[0-9]+)\.0")  # as `id_columns` reads it


def mark_rows_of(bad: pa.Table, is_person: IsPerson) -> list[bool]:
    """Return which of these rows name a person: by a column of ids, or as a value of a line that
    could not be divided into columns."""
    return [_names_person(text, is_person) for text in bad["raw"].to_pylist()]


def _names_person(text: str, is_person: IsPerson) -> bool:
    raw = json.loads(text)
    if raw.keys() == {"line"}:
        values = re.split(r"[,;\t|]", str(raw["line"]))
        return any(_is_id(kind, value, is_person) for value in values for kind in ID_KINDS)
    if _is_id(USER, raw.get("user_id"), is_person):
        return True
    if raw.get("user_id"):
        return False
    return any(_is_id(kind, raw.get(name), is_person) for name, kind in ID_COLUMNS.items())


def _is_id(kind: str, value: object, is_person: IsPerson) -> bool:
    text = clean_text(value.strip('"')) if isinstance(value, str) else None
    if text is None:
        return False
    whole = _WHOLE.fullmatch(text)
    return is_person(kind, text) or (whole is not None and is_person(kind, whole[1]))
