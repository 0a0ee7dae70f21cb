"""Turns the rows of a file into rows of a canonical table, and says of every other row why it is
not one.

Everything happens in SQL over whole columns. The input is a DuckDB table `raw` whose columns are
all text, with file and row of where each row stood.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from configs.settings import Settings
from features.contracts.money import minor_digits
from features.contracts.tables import (
    ATTRIBUTES,
    DEFAULT_ZONE,
    EVENTS,
    Column,
    EventType,
    Kind,
    TableSchema,
)
from features.sources.raw import FILE, ROW, literal, quoted

_KIND_NAMES = {
    Kind.TIME: "time",
    Kind.NUMBER: "number",
    Kind.INTEGER: "whole number",
    Kind.FLAG: "true or false",
    Kind.MONEY: "amount of money",
    Kind.UNIT_MONEY: "amount of money",
}
# Times and numbers beyond these are slips of a keyboard; an open end may be written as the year
# 9999.
_FIRST_TIME, _LAST_TIME = "1900-01-01 00:00:00+00", "9999-12-31 12:00:00+00"
_LARGEST = 1e12
# When something was seen to be; plans (promotions, prices) may lie ahead.
_OBSERVED_AT = {"events": "occurred_at", "stock": "at", "competitor_prices": "observed_at"}
# Pairs of times of which the first must lie before the second.
_SPANS = (("starts_at", "ends_at"), ("valid_from", "valid_to"))


@dataclass(frozen=True)
class Validated:
    """`good` is in stored schema, keys distinct; `bad` has file, row, reasons (joined by "; ") and
    raw (JSON)."""

    good: pa.Table
    bad: pa.Table
    duplicates: int
    attributes: list[str]


def validate(
    duck: Any, schema: TableSchema, present: list[str], settings: Settings, *, now: datetime
) -> Validated:
    """Checks the table `raw`, whose columns besides file and row are `present`."""
    known = [column for column in schema.columns if column.name in present]
    extras = [name for name in present if name not in {column.name for column in schema.columns}]
    typed = [
        f"{_typed(column, schema, present, settings)} AS {quoted(column.stored_name)}"
        for column in known
    ]
    typed.append(f"{_extras(extras)} AS {ATTRIBUTES}")
    reasons = [
        f"CASE WHEN {condition} THEN {literal(reason)} END"
        for condition, reason in _faults(schema, known, now)
    ]
    raw = ", ".join(f"{literal(name)}, {quoted(name)}" for name in present)
    duck.execute(
        f"CREATE OR REPLACE TEMP TABLE typed AS SELECT {FILE}, {ROW}, {', '.join(typed)}, {_raw_values(known)} FROM raw"
    )
    joined = (
        f"array_to_string(list_filter([{', '.join(reasons) or 'NULL'}], x -> x IS NOT NULL), '; ')"
    )
    duck.execute(f"CREATE OR REPLACE TEMP TABLE judged AS SELECT *, {joined} AS reasons FROM typed")
    stored = ", ".join(_stored(schema, {column.name for column in known}))
    duck.execute(
        f"CREATE OR REPLACE TEMP TABLE kept AS SELECT {FILE}, {ROW}, {stored} FROM judged WHERE reasons = ''"
    )
    if schema is EVENTS:
        _identify_events(duck, schema)
    duplicates = _drop_repeated(duck, schema)
    names = ", ".join(quoted(name) for name in schema.arrow.names)
    good = (
        duck.sql(f"SELECT {names} FROM kept ORDER BY {FILE}, {ROW}")
        .to_arrow_table()
        .cast(schema.arrow)
    )
    bad = duck.sql(
        f'SELECT r.{FILE} AS file, r.{ROW} AS "row", b.reasons, json_object({raw})::VARCHAR AS raw FROM raw r JOIN ('
        f"SELECT {FILE}, {ROW}, reasons FROM judged WHERE reasons <> '' UNION ALL SELECT * FROM repeated) b "
        f"ON r.{FILE} = b.{FILE} AND r.{ROW} = b.{ROW} ORDER BY 1, 2"
    ).to_arrow_table()
    return Validated(good, bad, duplicates, extras)


def _typed(column: Column, schema: TableSchema, present: list[str], settings: Settings) -> str:
    """SQL for the typed value, null where the text is none of the kind."""
    value = _value(column.name)
    if column.kind is Kind.TEXT:
        return value
    if column.kind is Kind.TIME:
        time = f"TRY_CAST({value} AS TIMESTAMPTZ)"
        return f"CASE WHEN {time} >= '{_FIRST_TIME}' AND {time} < '{_LAST_TIME}' THEN {time} END"
    if column.kind is Kind.INTEGER:
        return (
            f"CASE WHEN TRY_CAST({value} AS DOUBLE) % 1 = 0 THEN TRY_CAST({value} AS INTEGER) END"
        )
    if column.kind is Kind.FLAG:
        return f"TRY_CAST({value} AS BOOLEAN)"
    number = f"TRY_CAST({value} AS DOUBLE)"
    finite = f"CASE WHEN abs({number}) < {_LARGEST} THEN {number} END"
    if column.kind is Kind.NUMBER:
        return finite
    scale = _scale(schema, present, settings)
    if column.kind is Kind.UNIT_MONEY:
        return f"({finite}) * {scale}"
    # The decimal is exact, so that half a cent is seen as such and goes to the even cent.
    return f"TRY_CAST(round_even((TRY_CAST({value} AS DECIMAL(24, 6)) * {scale})::DOUBLE, 0) AS BIGINT)"


def _scale(schema: TableSchema, present: list[str], settings: Settings) -> str:
    """SQL for minor units in one major unit of the row's zone."""
    default = 10 ** minor_digits(settings.zone(DEFAULT_ZONE).currency)
    zones = {zone: 10 ** minor_digits(each.currency) for zone, each in settings.zones.items()}
    if (
        not zones
        or "zone" not in present
        or not any(column.name == "zone" for column in schema.columns)
    ):
        return str(default)
    cases = " ".join(f"WHEN {literal(zone)} THEN {scale}" for zone, scale in zones.items())
    return f"(CASE coalesce({_value('zone')}, {literal(DEFAULT_ZONE)}) {cases} ELSE {default} END)"


def _faults(schema: TableSchema, known: list[Column], now: datetime) -> list[tuple[str, str]]:
    """Conditions over the table `typed` that make a row bad, each with its reason."""
    faults: list[tuple[str, str]] = []
    for column in known:
        stored, given = quoted(column.stored_name), quoted(f"raw {column.name}")
        if column.required:
            faults.append((f"{given} IS NULL", f"{column.name} is missing"))
        if column.kind is not Kind.TEXT:
            faults.append(
                (
                    f"{given} IS NOT NULL AND {stored} IS NULL",
                    f"{column.name} is no {_KIND_NAMES[column.kind]}",
                )
            )
        if column.minimum is not None:
            faults.append(
                (f"{stored} < {column.minimum}", f"{column.name} is below {column.minimum:g}")
            )
        if column.maximum is not None:
            faults.append(
                (f"{stored} > {column.maximum}", f"{column.name} is above {column.maximum:g}")
            )
    names = {column.name for column in known}
    for first, last in _SPANS:
        if {first, last} <= names:
            faults.append((f"{last} <= {first}", f"{last} is not after {first}"))
    seen_at = _OBSERVED_AT.get(schema.name)
    if seen_at is not None:
        faults.append(
            (
                f"{quoted(seen_at)} > TIMESTAMPTZ '{now.isoformat()}'",
                f"{seen_at} lies in the future",
            )
        )
    if schema is EVENTS:
        types = ", ".join(literal(each) for each in EventType)
        faults.append((f"event_type NOT IN ({types})", "event_type is unknown"))
        faults.append(
            (
                "event_type IN ('purchase', 'refund') AND " + _no_quantity(names),
                "quantity is not above 0",
            )
        )
    return faults


def _no_quantity(names: set[str]) -> str:
    return "quantity <= 0" if "quantity" in names else "false"


def _stored(schema: TableSchema, names: set[str]) -> list[str]:
    """SQL for every stored column, with defaults, and with amounts of an event worked out from each
    other."""
    stored = []
    for column in schema.columns:
        name = quoted(column.stored_name)
        value = name if column.name in names else "NULL"
        if column.default is not None:
            default = (
                literal(column.default)
                if isinstance(column.default, str)
                else str(column.default).lower()
            )
            value = f"coalesce({value}, {default})"
        stored.append(f"({value})::{_SQL_TYPES[column.kind]} AS {name}")
    return [*stored, ATTRIBUTES]


_SQL_TYPES = {
    Kind.TEXT: "VARCHAR",
    Kind.TIME: "TIMESTAMPTZ",
    Kind.NUMBER: "DOUBLE",
    Kind.INTEGER: "INTEGER",
    Kind.FLAG: "BOOLEAN",
    Kind.MONEY: "BIGINT",
    Kind.UNIT_MONEY: "DOUBLE",
}


def _identify_events(duck: Any, schema: TableSchema) -> None:
    """Amounts from each other; an event without an id gets the hash of its row and its ordinal
    among identical rows."""
    content = ", ".join(
        f"coalesce({quoted(n)}::VARCHAR, '')" for n in schema.arrow.names if n != "event_id"
    )
    duck.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE kept AS SELECT * REPLACE (
            coalesce(event_id, sha256(concat_ws(chr(31), {content}, row_number() OVER (
                PARTITION BY event_id, {content} ORDER BY {FILE}, {ROW})))) AS event_id,
            coalesce(line_amount_minor, TRY_CAST(round_even(unit_price_minor * quantity, 0) AS BIGINT))
                AS line_amount_minor,
            coalesce(unit_price_minor, line_amount_minor / nullif(quantity, 0)) AS unit_price_minor
        ) FROM kept
        """
    )


def _drop_repeated(duck: Any, schema: TableSchema) -> int:
    """Keeps the last row of each key. Earlier rows that say the same are counted, others go to the
    table `repeated`."""
    key = ", ".join(quoted(name) for name in schema.key)
    names = ", ".join(quoted(name) for name in schema.arrow.names)
    duck.execute(
        f"CREATE OR REPLACE TEMP TABLE ranked AS SELECT *, "
        f"row_number() OVER (PARTITION BY {key} ORDER BY {FILE} DESC, {ROW} DESC) AS place, hash({names}) AS content, "
        f"first(hash({names})) OVER (PARTITION BY {key} ORDER BY {FILE} DESC, {ROW} DESC) AS last_content FROM kept"
    )
    what = " and ".join(schema.key)
    duck.execute(
        f"CREATE OR REPLACE TEMP TABLE repeated AS SELECT {FILE}, {ROW}, {literal(f'a later row has the same {what}')} "
        "AS reasons FROM ranked WHERE place > 1 AND content <> last_content"
    )
    same = duck.sql(
        "SELECT count(*) FROM ranked WHERE place > 1 AND content = last_content"
    ).fetchone()
    duck.execute("CREATE OR REPLACE TEMP TABLE kept AS SELECT * FROM ranked WHERE place = 1")
    return int(same[0])


def _raw_values(known: list[Column]) -> str:
    return ", ".join(f"{_value(column.name)} AS {quoted(f'raw {column.name}')}" for column in known)


def _extras(names: list[str]) -> str:
    if not names:
        return "NULL::VARCHAR"
    pairs = ", ".join(f"{literal(name)}, {_value(name)}" for name in names)
    return f"nullif(json_merge_patch('{{}}', json_object({pairs}))::VARCHAR, '{{}}')"


def _value(name: str) -> str:
    return f"nullif(trim({quoted(name)}), '')"


def summarise(reasons: list[str]) -> dict[str, int]:
    """How often each single reason was given.

    >>> summarise(["a; b", "a"])
    {'a': 2, 'b': 1}
    """
    counts: dict[str, int] = {}
    for joined in reasons:
        for reason in joined.split("; "):
            counts[reason] = counts.get(reason, 0) + 1
    return counts
