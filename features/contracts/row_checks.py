"""The checks of one row of a canonical table, for both doors: files and HTTP.

A file has millions of rows and a request a few, so most checks are written twice, side by side:
as SQL over the text columns of a file (DuckDB), and as Python for one event of a request. Both
read a value alike to the last bit and name the same faults in the same order; a test sends the
same rows through both. What differs, because the formats do:

- HTTP takes JSON: a text column wants a JSON string. Files are text throughout.
- Files match column names without regard to case and blanks around them; HTTP does not.
- Files count numbers that JSON does not know (NaN) as text of an unknown column; HTTP refuses them.
- A file quarantines an event whose time has not come; HTTP stores it as occurring now, and marked:
  nobody sends it again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from features.contracts.event_ids import NO_CONTENT, attributes_content
from features.contracts.tables import (
    ATTRIBUTES,
    DEFAULT_ZONE,
    EVENTS,
    NO_ITEM,
    Column,
    EventType,
    Kind,
    TableSchema,
)
from features.contracts.texts import clean_text, sql_literal, sql_name
from features.contracts.values import Value, as_sql_text, raw_column, read_value

# How far the clock of a sender or of a shop system may be ahead.
CLOCK_SKEW = timedelta(minutes=5)
# Longer texts are slips. An index of PostgreSQL takes 2,700 bytes, which may be two ids.
_MAX_ID_BYTES = 1_200
MAX_ATTRIBUTES = 10_000
EARLIEST_EVENT = datetime(1970, 1, 1, tzinfo=UTC)
MAX_LINE_AMOUNT_MINOR = 10**15
UNKNOWN_ZONE = "zone is unknown"

_KIND_NAMES = {
    Kind.TEXT: "text",
    Kind.TIME: "time",
    Kind.NUMBER: "number",
    Kind.INTEGER: "whole number",
    Kind.FLAG: "true or false",
    Kind.MONEY: "amount of money",
    Kind.UNIT_MONEY: "amount of money",
}
# When something was seen to be; plans (promotions, prices) may lie ahead.
_OBSERVED_AT = {
    "events": "occurred_at",
    "stock": "at",
    "competitor_prices": "observed_at",
    "users": "updated_at",
}
# Pairs of times of which the first must lie before the second.
_SPANS = (
    ("starts_at", "ends_at"),
    ("valid_from", "valid_to"),
    ("available_from", "available_to"),
)
_COUNTED = (EventType.PURCHASE, EventType.REFUND)
_EVENT_COLUMNS = frozenset(column.name for column in EVENTS.columns)

EventRow = dict[str, Value | None]


@dataclass(frozen=True)
class Fault:
    """Why a row is refused: a column and what is wrong with it; `given` where showing it helps."""

    column: str
    problem: str
    given: str | None = None

    @property
    def reason(self) -> str:
        """The fault without the value, as imports count it."""
        return f"{self.column} {self.problem}"

    def message(self) -> str:
        """The fault with the value, as HTTP answers it."""
        shown = "" if self.given is None else f"{self.given!r} "
        return f"{self.column}: {shown}{self.problem}"


@dataclass(frozen=True)
class ZoneRules:
    """The zones that rows may name, and whether a row of another one is of the default zone."""

    known: frozenset[str]
    unknown_become_default: bool = False

    def settle(self, zone: str | None) -> str | None:
        """Return the zone as it is stored. The twin of `settle_zone_sql`."""
        if zone is None or zone in self.known or not self.unknown_become_default:
            return zone
        return DEFAULT_ZONE


@dataclass(frozen=True)
class EventRules:
    """What the checks of an event depend on.

    minor_units_of   minor units in one major unit of a zone's currency
    latest           the latest time at which an event may have occurred
    zones            None where every zone is known
    """

    minor_units_of: Callable[[str], int]
    latest: datetime
    zones: ZoneRules | None = None


@dataclass(frozen=True)
class CheckedEvent:
    """One event of a request after the checks.

    row          the stored columns with defaults and both amounts; of use without faults only
    content      what its id is made of when it has none, see event_ids
    """

    row: EventRow
    content: tuple[str, ...]
    faults: tuple[Fault, ...]


def check_event(event: Mapping[str, object], rules: EventRules) -> CheckedEvent:
    """Check one event of a request and turn it into a row of the table `events`.

    Money comes in major units of the zone's currency. Names that are no columns are kept as
    attributes.
    """
    faults: list[Fault] = []
    zone, given_zone = event.get("zone"), DEFAULT_ZONE
    if isinstance(zone, str):
        zone = clean_text(zone)
        given_zone = zone or DEFAULT_ZONE
        zone = zone if rules.zones is None else rules.zones.settle(zone)
    scale = rules.minor_units_of((zone if isinstance(zone, str) else None) or DEFAULT_ZONE)
    row: EventRow = {}
    for column in EVENTS.columns:
        given = zone if column.name == "zone" else event.get(column.name)
        if isinstance(given, str):
            given = clean_text(given)
        if given is None and column.name == "item_id" and row["event_type"] == EventType.SEARCH:
            given = NO_ITEM
        value = None if given is None else read_value(column.kind, given, scale)
        row[column.stored_name] = value
        faults += _find_value_faults(column, given, value)
    attributes = {
        name: value
        for name, value in event.items()
        if name not in _EVENT_COLUMNS and value is not None
    }
    faults += find_attribute_faults(attributes)
    faults += _find_event_faults(row, rules)
    if faults:
        return CheckedEvent(row, (), tuple(faults))
    for column in EVENTS.columns:
        if row[column.stored_name] is None:
            row[column.stored_name] = column.default
    sent: EventRow = {**row, "zone": given_zone}
    values = [value for name, value in sent.items() if name not in NO_CONTENT]
    content = (*map(as_sql_text, values), attributes_content(attributes))
    row[ATTRIBUTES] = _dump_attributes(attributes)
    _complete_amounts(row)
    return CheckedEvent(row, content, ())


def settle_item_sql() -> str:
    """SQL for the item of an event as it is stored: a search has none."""
    is_search = f"event_type = {sql_literal(EventType.SEARCH)}"
    return f"CASE WHEN item_id IS NULL AND {is_search} THEN {sql_literal(NO_ITEM)} ELSE item_id END"


def settle_zone_sql(zones: ZoneRules) -> str:
    """SQL for the zone of a row as it is stored, null without one. The twin of `ZoneRules.settle`.

    It reads the cleaned text of the column `zone`.
    """
    if not zones.unknown_become_default:
        return "zone"
    default = sql_literal(DEFAULT_ZONE)
    return f"CASE WHEN zone IS NULL OR {_is_known_zone(zones)} THEN zone ELSE {default} END"


def _is_known_zone(zones: ZoneRules) -> str:
    return f"zone IN ({', '.join(map(sql_literal, sorted(zones.known)))})"


def fault_conditions(
    schema: TableSchema,
    present: Collection[str],
    latest: datetime,
    zones: ZoneRules | None = None,
) -> list[tuple[str, str]]:
    """Conditions in SQL that make a row bad, each with its reason.

    `latest` and `zones` as in EventRules. The conditions read typed values under the stored names,
    the texts under `raw_column`, and `attributes`, for the columns named in `present`. Their order
    is that of the faults of `check_event`.
    """
    faults: list[tuple[str, str]] = []
    for column in schema.columns:
        if column.name in present:
            faults += _value_conditions(column)
            if column.kind is Kind.MONEY and schema is not EVENTS:
                faults.append((_rounds_to_nothing(column), f"{column.name} rounds to nothing"))
    faults += [
        (f"length({ATTRIBUTES}) > {MAX_ATTRIBUTES}", _attributes_too_long().reason),
        (f"contains({ATTRIBUTES}, '\\u0000')", _attributes_not_storable().reason),
    ]
    if zones is not None and "zone" in present:
        faults.append((f"NOT {_is_known_zone(zones)}", UNKNOWN_ZONE))
    for first, last in _SPANS:
        if first in present and last in present:
            faults.append((f"{last} <= {first}", f"{last} is not after {first}"))
    seen_at = _OBSERVED_AT.get(schema.name)
    if schema is EVENTS:
        faults.append((f"occurred_at < '{EARLIEST_EVENT}'", "occurred_at lies before 1970"))
    if seen_at is not None and seen_at in present:
        faults.append((f"{sql_name(seen_at)} > '{latest}'", f"{seen_at} lies in the future"))
    if schema is EVENTS:
        faults += _event_conditions(present)
    return faults


def _value_conditions(column: Column) -> list[tuple[str, str]]:
    """The conditions of one column, in the order of `_find_value_faults`."""
    stored, given = sql_name(column.stored_name), sql_name(raw_column(column.name))
    faults: list[tuple[str, str]] = []
    if column.required:
        faults.append((f"{given} IS NULL", f"{column.name} is missing"))
    if column.kind is not Kind.TEXT:
        not_of_kind = f"{given} IS NOT NULL AND {stored} IS NULL"
        faults.append((not_of_kind, f"{column.name} is no {_KIND_NAMES[column.kind]}"))
    else:
        is_long = f"length({stored}) > {column.max_length}"
        faults.append((is_long, _text_too_long(column).reason))
        if column.is_id:
            many_bytes = f"NOT {is_long} AND strlen({stored}) > {_MAX_ID_BYTES}"
            faults.append((many_bytes, _id_too_long(column).reason))
        faults.append((f"contains({stored}, chr(0))", text_not_storable(column).reason))
    if column.choices:
        texts = ", ".join(sql_literal(choice) for choice in column.choices)
        unknown = f"{column.name} is none of {', '.join(column.choices)}"
        faults.append((f"lower({stored}) NOT IN ({texts})", unknown))
    if column.minimum is not None:
        below = f"{column.name} is below {column.minimum:g}"
        faults.append((f"{stored} < {column.minimum}", below))
    if column.maximum is not None:
        above = f"{column.name} is above {column.maximum:g}"
        faults.append((f"{stored} > {column.maximum}", above))
    return faults


def _rounds_to_nothing(column: Column) -> str:
    """SQL for an amount above 0 that is less than half of the smallest one of its currency."""
    stored, given = sql_name(column.stored_name), sql_name(raw_column(column.name))
    return f"{stored} = 0 AND TRY_CAST({given} AS DOUBLE) <> 0"


def _find_value_faults(column: Column, given: object, value: Value | None) -> list[Fault]:
    """The faults of one value of an event, in the order of `_value_conditions`."""
    name = column.name
    if given is None:
        return [Fault(name, "is missing")] if column.required else []
    if value is None:
        if column.kind is Kind.TIME and isinstance(given, str):
            return [Fault(name, "is no time", given)]
        return [Fault(name, f"is no {_KIND_NAMES[column.kind]}")]
    faults = []
    if isinstance(value, str):
        if len(value) > column.max_length:
            faults.append(_text_too_long(column))
        elif column.is_id and len(value.encode(errors="replace")) > _MAX_ID_BYTES:
            faults.append(_id_too_long(column))
        if not is_storable(value):
            faults.append(text_not_storable(column))
    elif column.minimum is not None and isinstance(value, int | float) and value < column.minimum:
        faults.append(Fault(name, f"is below {column.minimum:g}"))
    return faults


def find_attribute_faults(attributes: Mapping[str, object]) -> list[Fault]:
    """Return what is wrong with the attributes of a row together."""
    try:
        content = attributes_content(attributes)
    except ValueError:
        return [Fault(ATTRIBUTES, "hold a number that is none")]
    faults = []
    if len(content) > MAX_ATTRIBUTES:
        faults.append(_attributes_too_long())
    if "\\u0000" in content or not is_storable(content):
        faults.append(_attributes_not_storable())
    return faults


def _find_event_faults(row: EventRow, rules: EventRules) -> list[Fault]:
    """The faults of an event that concern its meaning; the twin of `_event_conditions`."""
    faults, latest = [], rules.latest
    zone = row["zone"]
    if isinstance(zone, str) and rules.zones is not None and zone not in rules.zones.known:
        faults.append(Fault("zone", "is unknown", zone))
    occurred_at, event_type, quantity = row["occurred_at"], row["event_type"], row["quantity"]
    if isinstance(occurred_at, datetime):
        if occurred_at < EARLIEST_EVENT:
            faults.append(Fault("occurred_at", "lies before 1970"))
        if occurred_at > latest:
            faults.append(Fault("occurred_at", "lies in the future"))
    if isinstance(event_type, str) and event_type not in tuple(EventType):
        faults.append(Fault("event_type", "is unknown", event_type))
    if event_type in _COUNTED and isinstance(quantity, float) and quantity <= 0:
        faults.append(Fault("quantity", "is not above 0"))
    if row["line_amount_minor"] is None and isinstance(row["unit_price_minor"], float):
        units = quantity if isinstance(quantity, float) else 1.0
        if row["unit_price_minor"] * units > MAX_LINE_AMOUNT_MINOR:
            faults.append(Fault("unit_price", "times quantity is too large"))
    return faults


def _event_conditions(present: Collection[str]) -> list[tuple[str, str]]:
    types = ", ".join(sql_literal(event_type) for event_type in EventType)
    counted = ", ".join(sql_literal(event_type) for event_type in _COUNTED)
    faults = [(f"event_type NOT IN ({types})", "event_type is unknown")]
    if "quantity" in present:
        none_moved = f"event_type IN ({counted}) AND quantity <= 0"
        faults.append((none_moved, "quantity is not above 0"))
    if "unit_price" in present:
        units = "coalesce(quantity, 1)" if "quantity" in present else "1"
        no_line = "line_amount_minor IS NULL AND " if "line_amount" in present else ""
        too_large = f"{no_line}unit_price_minor * {units} > {MAX_LINE_AMOUNT_MINOR}"
        faults.append((too_large, "unit_price times quantity is too large"))
    return faults


def amounts_sql() -> str:
    """SQL that works out the two amounts of an event from each other, for `SELECT * REPLACE`.

    The twin of `_complete_amounts`.
    """
    line = "TRY_CAST(round_even(unit_price_minor * quantity, 0) AS BIGINT)"
    return (
        f"coalesce(line_amount_minor, {line}) AS line_amount_minor, "
        "coalesce(unit_price_minor, line_amount_minor / nullif(quantity, 0)) AS unit_price_minor"
    )


def _complete_amounts(row: EventRow) -> None:
    """Set the amount of an event that was not given from the other one."""
    line, unit, quantity = row["line_amount_minor"], row["unit_price_minor"], row["quantity"]
    if not isinstance(quantity, float):
        return
    if line is None and isinstance(unit, float):
        row["line_amount_minor"] = round(unit * quantity)
    elif unit is None and isinstance(line, int) and quantity != 0:
        row["unit_price_minor"] = line / quantity


def _text_too_long(column: Column) -> Fault:
    return Fault(column.name, f"is longer than {column.max_length} characters")


def _id_too_long(column: Column) -> Fault:
    return Fault(column.name, f"is longer than {_MAX_ID_BYTES} bytes")


def text_not_storable(column: Column) -> Fault:
    """Return the fault of a text that `is_storable` refuses."""
    return Fault(column.name, "holds a character that cannot be kept")


def _attributes_too_long() -> Fault:
    return Fault(ATTRIBUTES, f"are longer than {MAX_ATTRIBUTES} characters")


def _attributes_not_storable() -> Fault:
    return Fault(ATTRIBUTES, "hold a character that cannot be kept")


def is_storable(text: str) -> bool:
    """Whether a database keeps the text: none keeps NUL, and half a surrogate pair is no
    character."""
    return "\x00" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def _dump_attributes(attributes: Mapping[str, object]) -> str | None:
    if not attributes:
        return None
    return json.dumps(attributes, ensure_ascii=False, allow_nan=False, sort_keys=True)
