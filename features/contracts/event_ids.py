"""The id of an event that brings none: a hash of its content and its ordinal.

The content is every stored column but event_id and exclude (a mark comes and goes), as text, after
the defaults and before an amount is worked out from the other, with the zone as it was given; then
the attributes, as compact JSON of texts in the order of their names. Values are typed, not the text
of a file: `1.50`, `1.5` and the number of a JSON document are one. The ordinal counts equal
contents within one import or one request, from 1. So the same line has one id however often and by
whichever door it comes, and two equal lines of one file are two events.

The rule is written twice: as SQL over the rows of a file (DuckDB, session time zone UTC), and as
Python for the events of a request.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence

from features.contracts.tables import ATTRIBUTES, EVENTS
from features.contracts.texts import clean_text, sql_name

_SEPARATOR = chr(31)
_ID = EVENTS.key[0]
NO_CONTENT = (_ID, "exclude", ATTRIBUTES)
# The escapes of the JSON that DuckDB writes.
_ESCAPES = str.maketrans(
    {chr(code): f"\\u{code:04X}" for code in range(0x20)}
    | {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
)


def derive_event_ids(contents: Sequence[tuple[str, ...]]) -> list[str]:
    """Return the ids of the events of one request that bring none, from their contents.

    >>> first, second, other = derive_event_ids([("a", "b"), ("a", "b"), ("a|b", "")])
    >>> len({first, second, other}), len(first)
    (3, 64)
    """
    ordinals: Counter[tuple[str, ...]] = Counter()
    event_ids = []
    for content in contents:
        ordinals[content] += 1
        text = _SEPARATOR.join((*content, str(ordinals[content])))
        event_ids.append(hashlib.sha256(text.encode()).hexdigest())
    return event_ids


def list_differences(given: Mapping[str, object], stored: Mapping[str, object]) -> list[str]:
    """Return the columns in which an event says something else than the stored one of its id.

    What it leaves out is no difference, nor is the mark `exclude`; attributes count as in the id.

    >>> list_differences({"rank": 2, "zone": "x", "user_id": None}, {"rank": 3, "user_id": "u"})
    ['rank', 'zone']
    """
    differences = [
        name
        for name, value in given.items()
        if name not in NO_CONTENT and value is not None and value != stored.get(name)
    ]
    attributes = [json.loads(str(row.get(ATTRIBUTES) or "{}")) for row in (given, stored)]
    if attributes[0] and attributes_content(attributes[0]) != attributes_content(attributes[1]):
        differences.append(ATTRIBUTES)
    return differences


def event_id_sql(attributes: str, order: str, zone: str = "zone") -> str:
    """SQL for the id of a row without one; a window function over the rows of one import.

    `attributes` is the SQL of its attributes as `attributes_content` writes them, `order` that of
    its place in the import, `zone` that of the zone as it was given, with the default.
    """
    columns = [name for name in EVENTS.arrow.names if name not in NO_CONTENT]
    values = [zone if name == "zone" else sql_name(name) for name in columns] + [attributes]
    content = ", ".join(f"coalesce({value}::VARCHAR, '')" for value in values)
    ordinal = f"row_number() OVER (PARTITION BY {_ID}, {content} ORDER BY {order})"
    return f"sha256(concat_ws(chr({ord(_SEPARATOR)}), {content}, {ordinal}))"


def attributes_content(attributes: Mapping[str, object]) -> str:
    """Return the attributes as the id counts them: compact JSON of texts, in the order of names.

    Numbers, flags and structures count as the text that a file would hold. Raises ValueError for
    a number that JSON does not know.

    >>> attributes_content({"store": 9, "colour": " red", "note": ""})
    '{"colour":"red","store":"9"}'
    """
    texts = {name: clean_text(_as_text(attributes[name])) for name in sorted(attributes)}
    pairs = [f"{_quote(name)}:{_quote(text)}" for name, text in texts.items() if text is not None]
    return f"{{{','.join(pairs)}}}" if pairs else ""


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _quote(text: str) -> str:
    return f'"{text.translate(_ESCAPES)}"'
