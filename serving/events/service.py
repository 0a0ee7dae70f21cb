"""Takes events in: each checked against the table `events`, all good ones committed before they are
acknowledged."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.clock import Clock, parse_time
from features.contracts.errors import BadInput
from features.contracts.money import minor_digits, to_minor
from features.contracts.tables import ATTRIBUTES, DEFAULT_ZONE, EVENTS, EventType, Kind
from features.database import transaction
from features.facts.event_ids import ImportedEvents
from features.facts.events import EventLog

MAX_EVENTS = 1_000
# How far a sender's clock may be ahead.
FUTURE = timedelta(minutes=5)
_MAX_TEXT = 1_000
_MAX_ATTRIBUTES = 10_000
_MAX_AMOUNT_MINOR = 10**15
_MAX_NUMBER = 1e12
_MAX_INTEGER = 2**31 - 1
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_COUNTED = (EventType.PURCHASE, EventType.REFUND)
_COLUMNS = {column.name: column for column in EVENTS.columns}


@dataclass(frozen=True)
class Rejected:
    """An event that was not taken: its place in the call, and why."""

    index: int
    reason: str


@dataclass(frozen=True)
class Ingested:
    """What became of a call's events."""

    accepted: int
    duplicates: int
    rejected: list[Rejected]


def ingest(
    engine: sa.Engine,
    settings: Settings,
    clock: Clock,
    system_clock: Clock,
    imported: ImportedEvents,
    sent: Sequence[Mapping[str, Any]],
) -> Ingested:
    """Keeps the good events, each once however often it is sent; returns after the commit.

    One that an import holds is a duplicate. It is kept all the same, since the server sees what is
    imported only after the next materialization; every reader counts it once.
    """
    latest = clock.now() + FUTURE
    rows: list[dict[str, Any]] = []
    rejected: list[Rejected] = []
    repeats: Counter[str] = Counter()
    for index, event in enumerate(sent):
        try:
            row = stored_event(event, settings, latest)
        except BadInput as error:
            reason = f"{error.where}: {error.what}" if error.where else error.what
            rejected.append(Rejected(index, reason))
            continue
        if row["event_id"] is None:
            content = _content(row)
            row["event_id"] = _derived_id(content, repeats[content])
            repeats[content] += 1
        rows.append(row)
    if not rows:
        return Ingested(0, 0, rejected)
    held = imported.known([row["event_id"] for row in rows])
    again = [row for row, known in zip(rows, held, strict=True) if known]
    new = [row for row, known in zip(rows, held, strict=True) if not known]
    with transaction(engine) as connection:
        log, now = EventLog(connection), system_clock.now()
        log.append(again, now)
        done = log.append(new, now)
    return Ingested(done.accepted, done.duplicates + len(again), rejected)


def stored_event(event: Mapping[str, Any], settings: Settings, latest: datetime) -> dict[str, Any]:
    """An event in stored schema; event_id stays None when it has none. Raises BadInput whose
    `where` is the column.

    Money comes in major units of the zone's currency; an amount that is not given follows from the
    other. Names that are no columns are kept as attributes.
    """
    zone = _text(event.get("zone"), "zone") or DEFAULT_ZONE
    currency = settings.zone(zone).currency
    row: dict[str, Any] = {}
    for column in EVENTS.columns:
        given = event.get(column.name)
        value = None if given is None else _READERS[column.kind](given, column.name, currency)
        if value is None:
            if column.required:
                raise BadInput("is missing", where=column.name)
            value = column.default
        elif column.minimum is not None and value < column.minimum:
            raise BadInput(f"is below {column.minimum:g}", where=column.name)
        row[column.stored_name] = value
    if row["event_type"] not in tuple(EventType):
        raise BadInput(f"{row['event_type']!r} is unknown", where="event_type")
    if row["occurred_at"] > latest:
        raise BadInput("lies in the future", where="occurred_at")
    if row["event_type"] in _COUNTED and row["quantity"] <= 0:
        raise BadInput("is not above 0", where="quantity")
    row[ATTRIBUTES] = _attributes(event)
    return _with_amounts(row)


def _with_amounts(row: dict[str, Any]) -> dict[str, Any]:
    line, unit, quantity = row["line_amount_minor"], row["unit_price_minor"], row["quantity"]
    if line is None and unit is not None:
        line = round(unit * quantity)
        if line > _MAX_AMOUNT_MINOR:
            raise BadInput("quantity times unit_price is too large", where="unit_price")
    elif unit is None and line is not None and quantity > 0:
        unit = line / quantity
    return {**row, "line_amount_minor": line, "unit_price_minor": unit}


def _text(value: Any, name: str, _currency: str = "") -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise BadInput("is no text", where=name)
    text = value.strip()
    if len(text) > _MAX_TEXT:
        raise BadInput(f"is longer than {_MAX_TEXT} characters", where=name)
    if not _storable(text):
        raise BadInput("holds a character that cannot be kept", where=name)
    return text or None


def _storable(text: str) -> bool:
    """No database keeps NUL in text, and half a surrogate pair is no character."""
    return "\x00" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def _time(value: Any, name: str, _currency: str) -> datetime:
    if not isinstance(value, str):
        raise BadInput("is no time", where=name)
    moment = parse_time(value.strip(), where=name)
    if moment < _EARLIEST:
        raise BadInput("lies before 1970", where=name)
    return moment


def _number(value: Any, name: str, _currency: str = "") -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise BadInput("is no number", where=name)
    try:
        number = float(value)
    except (ValueError, OverflowError) as error:
        raise BadInput("is no number", where=name) from error
    if not math.isfinite(number) or abs(number) > _MAX_NUMBER:
        raise BadInput("is no number in range", where=name)
    return number


def _integer(value: Any, name: str, _currency: str) -> int:
    number = _number(value, name)
    if number != int(number) or abs(number) > _MAX_INTEGER:
        raise BadInput("is no whole number in range", where=name)
    return int(number)


def _money(value: Any, name: str, currency: str) -> int:
    minor = to_minor(_decimal(value, name), currency)
    if abs(minor) > _MAX_AMOUNT_MINOR:
        raise BadInput("is no amount in range", where=name)
    return minor


def _unit_money(value: Any, name: str, currency: str) -> float:
    return float(_decimal(value, name).scaleb(minor_digits(currency)))


def _decimal(value: Any, name: str) -> Decimal:
    """The decimal as it was written: 0.1 is a tenth."""
    _number(value, name)
    try:
        return Decimal(str(value))
    except InvalidOperation as error:
        raise BadInput("is no amount of money", where=name) from error


_READERS: dict[Kind, Callable[[Any, str, str], Any]] = {
    Kind.TEXT: _text,
    Kind.TIME: _time,
    Kind.NUMBER: _number,
    Kind.INTEGER: _integer,
    Kind.MONEY: _money,
    Kind.UNIT_MONEY: _unit_money,
}


def _attributes(event: Mapping[str, Any]) -> str | None:
    extra = {
        name: value for name, value in event.items() if name not in _COLUMNS and value is not None
    }
    if not extra:
        return None
    try:
        text = json.dumps(extra, ensure_ascii=False, allow_nan=False, sort_keys=True)
    except ValueError as error:
        raise BadInput("hold a number that is none", where=ATTRIBUTES) from error
    if len(text) > _MAX_ATTRIBUTES:
        raise BadInput(f"are longer than {_MAX_ATTRIBUTES} characters", where=ATTRIBUTES)
    if not _storable(text) or "\\u0000" in text:
        raise BadInput("hold a character that cannot be kept", where=ATTRIBUTES)
    return text


def _content(row: Mapping[str, Any]) -> str:
    return json.dumps(
        {name: value for name, value in row.items() if value is not None},
        sort_keys=True,
        default=str,
    )


def _derived_id(content: str, ordinal: int) -> str:
    """Named after what it says and its ordinal among equal events of the call: sending it again
    keeps it once."""
    return hashlib.sha256(f"{content}|{ordinal}".encode()).hexdigest()
