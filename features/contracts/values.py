"""The values of a canonical table as they are read from a file and from JSON.

Each reader is written twice, as SQL over a text column (DuckDB, session time zone UTC) and as
Python for a JSON value; both give the same value to the last bit.
"""

from __future__ import annotations

from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

from features.contracts.numbers import NUMBER_FORM, parse_decimal
from features.contracts.tables import Column, Kind
from features.contracts.texts import sql_literal, sql_name
from features.contracts.times import read_time, time_sql

# Numbers beyond this are slips of a keyboard.
_LARGEST = 10**12
_MAX_INTEGER = 2**31 - 1
# Amounts of money are read to this many decimals.
_MONEY_DECIMALS = 6

_FLAGS = {
    **dict.fromkeys(("true", "t", "yes", "y", "1", "1.0"), True),
    **dict.fromkeys(("false", "f", "no", "n", "0", "0.0"), False),
}

Value = str | float | int | bool | datetime


def read_value(kind: Kind, given: object, scale: int) -> Value | None:
    """Return the typed value of a JSON value, None when it is none of the kind.

    `scale` is how many minor units make one major unit. The twin of `value_sql`.
    """
    if kind is Kind.TEXT:
        return given if isinstance(given, str) else None
    if kind is Kind.TIME:
        return read_time(given) if isinstance(given, str) else None
    if kind is Kind.FLAG:
        return given if isinstance(given, bool) else _FLAGS.get(str(given).lower())
    decimal = _read_decimal(given)
    if decimal is None:
        return None
    number = float(decimal)
    if kind is Kind.NUMBER:
        return number
    if kind is Kind.INTEGER:
        return int(number) if number % 1 == 0 and abs(number) <= _MAX_INTEGER else None
    if kind is Kind.UNIT_MONEY:
        return number * scale
    return _read_money(decimal, scale)


def value_sql(column: Column, scale: str) -> str:
    """SQL for the typed value of a cleaned text column, null where the text is none of its kind.

    The twin of `read_value`.
    """
    value = sql_name(column.name)
    if column.kind is Kind.TEXT:
        return value
    if column.kind is Kind.TIME:
        return time_sql(value)
    if column.kind is Kind.FLAG:
        cases = " ".join(f"WHEN '{text}' THEN {flag}" for text, flag in _FLAGS.items())
        return f"CASE lower({value}) {cases} END"
    value = f"CASE WHEN regexp_full_match({value}, {sql_literal(NUMBER_FORM)}) THEN {value} END"
    if column.kind is Kind.INTEGER:
        return (
            f"CASE WHEN TRY_CAST({value} AS DOUBLE) % 1 = 0 THEN TRY_CAST({value} AS INTEGER) END"
        )
    number = f"TRY_CAST({value} AS DOUBLE)"
    in_range = f"abs({number}) < {_LARGEST}"
    if column.kind is Kind.NUMBER:
        return f"CASE WHEN {in_range} THEN {number} END"
    if column.kind is Kind.UNIT_MONEY:
        return f"CASE WHEN {in_range} THEN {number} END * {scale}"
    # The decimal is exact, so that half a cent is seen as such and goes to the even cent.
    decimal = f"TRY_CAST({value} AS DECIMAL(24, {_MONEY_DECIMALS}))"
    minor = f"TRY_CAST(round_even(({decimal} * {scale})::DOUBLE, 0) AS BIGINT)"
    return f"CASE WHEN {in_range} THEN {minor} END"


def raw_column(name: str) -> str:
    """The name under which the text of a column stands beside its typed value."""
    return f"raw {name}"


def as_sql_text(value: Value | None) -> str:
    """The text that DuckDB writes of a stored value with the session time zone UTC."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        fraction = f".{value.microsecond:06}".rstrip("0") if value.microsecond else ""
        return f"{value:%Y-%m-%d %H:%M:%S}{fraction}+00"
    return str(value)


def _read_decimal(given: object) -> Decimal | None:
    """Return the number as it was written: 0.1 is a tenth."""
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        return None
    # The text of a whole number without end takes long to write.
    if isinstance(given, int) and abs(given) >= _LARGEST:
        return None
    number = parse_decimal(str(given))
    return None if number is None or abs(float(number)) >= _LARGEST else number


def _read_money(decimal: Decimal, scale: int) -> int:
    """Return the amount in minor units, half to even."""
    decimal = decimal.quantize(Decimal(1).scaleb(-_MONEY_DECIMALS), ROUND_HALF_UP)
    parts = 10**_MONEY_DECIMALS
    total = abs(int(decimal.scaleb(_MONEY_DECIMALS))) * scale
    # DuckDB turns a decimal that no double holds exactly into one in two steps.
    exact: float = total / parts if total <= 2**53 else total // parts + total % parts / parts
    minor = round(exact)
    return -minor if decimal < 0 else minor
