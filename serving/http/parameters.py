"""Reads and checks parameters that several endpoints have: cursors, times, versions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from datetime import datetime

from fastapi import Request

from features.contracts.clock import parse_time
from features.contracts.errors import BadInput, UnknownName
from serving.field_types import check_storable


def check_text(request: Request) -> None:
    """A FastAPI dependency that refuses (422) a path or query that no database can keep."""
    for text in (
        *request.path_params.values(),
        *(value for _, value in request.query_params.multi_items()),
    ):
        try:
            check_storable(str(text))
        except ValueError as error:
            raise BadInput(str(error), where="path or query") from error


def allow_only(*names: str, many: Collection[str] = ()) -> Callable[[Request], None]:
    """Return a FastAPI dependency that refuses (422) every query parameter but these.

    Each may be given once, those of `many` more often: of two zones the last would win unnoticed.
    On the price path it keeps out whatever describes the visitor: a price is the same for
    everybody.
    """

    def refuse_others(request: Request) -> None:
        counts = Counter(name for name, _ in request.query_params.multi_items())
        for name, count in counts.items():
            if name not in names:
                raise UnknownName(name, names, kind="parameter", where="query")
            if count > 1 and name not in many:
                raise BadInput(f"{name} is given {count} times", where="query", hint="Give one")

    return refuse_others


def parse_cursor(text: str | None, *, where: str = "cursor") -> int:
    """Return the row number in a cursor; 0 without a cursor."""
    if text is None:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise BadInput(
            f"{text!r} is no cursor", where=where, hint="Send the next_cursor of the page before"
        )
    return int(text)


def parse_instant(text: str | None, default: datetime, *, where: str) -> datetime:
    """Return an RFC 3339 time, `default` without one.

    `+00:00` arrives as ` 00:00` when the plus was not escaped.
    """
    return default if text is None else parse_time(text.replace(" ", "+"), where=where)


def parse_if_match(if_match: str | None) -> int | None:
    """Return the version in `If-Match`; None for `*` or without the header."""
    if if_match is None or if_match.strip() == "*":
        return None
    text = if_match.strip().removeprefix("W/").strip('"')
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise BadInput(
            f"{if_match!r} is no version", where="If-Match", hint="Send the ETag of the suggestion"
        )
    return int(text)
