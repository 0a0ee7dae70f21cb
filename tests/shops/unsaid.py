"""What a JSON document says and the text beside it does not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]*")


def list_unsaid(document: Any, text: str, *, shown: int = 20) -> list[str]:
    """Return the values of `document` that `text` does not say, as "path: value".

    Empty values, zeros and flags need no words. Keys count where they are data, as reasons are. Of
    a list the first `shown` entries count. A number may be rounded, an instant may be its day or
    minute, and neither case nor line breaks matter.
    """
    words = " ".join(text.casefold().split())
    return [
        f"{path}: {value}"
        for path, value in _list_leaves(document, "", shown)
        if not any(_is_said(form.casefold(), words) for form in _list_forms(value))
        and not any(day in words for day in _list_days(value))
    ]


def _is_said(form: str, words: str) -> bool:
    """Return whether a text holds the form, and not as a part of a longer number or word."""
    return re.search(rf"(?<![\w.,]){re.escape(form)}(?!\w|[.,]\d)", words) is not None


def _list_leaves(value: Any, path: str, shown: int) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if not _IDENTIFIER.fullmatch(key):
                yield path, key
            yield from _list_leaves(inner, f"{path}.{key}", shown)
    elif isinstance(value, list):
        for number, inner in enumerate(value[:shown]):
            yield from _list_leaves(inner, f"{path}[{number}]", shown)
    elif value and not isinstance(value, bool):
        yield path, value


def _list_forms(value: Any) -> list[str]:
    """Return the texts that say a value."""
    if isinstance(value, int):
        return [f"{value:,}"]
    if isinstance(value, float):
        roundings = [f"{value:,.{digits}f}" for digits in range(5)]
        percents = [f"{value:.{digits}%}" for digits in range(3)]
        return [
            *roundings,
            *percents,
            *(text.replace("%", " %") for text in percents),
            f"{value:.3g}",
        ]
    return [" ".join(value.split())]


def _list_days(value: Any) -> list[str]:
    """Return the day of an instant."""
    try:
        return [f"{datetime.fromisoformat(value):%Y-%m-%d}"]
    except (TypeError, ValueError):
        return []
