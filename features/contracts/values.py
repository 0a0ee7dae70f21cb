"""The values of a canonical table as they are read from a file and from JSON.

Each reader is written twice, as SQL over a text column (DuckDB, session time zone UTC) and as
Python for a JSON value; both give the same value to the last bit.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

from features.contracts.clock import parse_time
from features.contracts.errors import BadInput
from features.contracts.tables import Column, Kind
from features.contracts.texts import sql_name

# Times and numbers beyond these are slips of a keyboard; an open end may be written as the year
# 9999.
_FIRST_TIME = datetime(1900, 1, 1, tzinfo=UTC)
_LAST_TIME = datetime(9999, 12, 31, 12, tzinfo=UTC)
_LARGEST = 1e12
_MAX_INTEGER = 2**31 - 1
# Amounts of money are read to this many decimals.
_MONEY_DECIMALS = 6

Value = str | float | int | bool | datetime


def read_value(kind: Kind, given: object, scale: int) -> Value | None:
    """Return the typed value of a JSON value, None when it is none of the kind.

    `scale` is how many minor units make one major unit. The twin of `value_sql`.
    """
    if kind is Kind.TEXT:
        return given if isinstance(given, str) else None
    if kind is Kind.TIME:
        return _read_time(given)
    if kind is Kind.FLAG:
        return given if isinstance(given, bool) else None
    number = _read_number(given)
    if number is None:
        return None
    if kind is Kind.NUMBER:
        return number
    if kind is Kind.INTEGER:
        return int(number) if number % 1 == 0 and abs(number) <= _MAX_INTEGER else None
    if kind is Kind.UNIT_MONEY:
        return number * scale
    return _read_money(str(given), scale)


def value_sql(column: Column, scale: str) -> str:
    """SQL for the typed value of a text column, null where the text is none of its kind.

    The twin of `read_value`.
    """
    value = text_sql(column.name)
    if column.kind is Kind.TEXT:
        return value
    if column.kind is Kind.TIME:
        time = f"TRY_CAST({value} AS TIMESTAMPTZ)"
        within = f"{time} >= '{_FIRST_TIME}' AND {time} < '{_LAST_TIME}'"
        return f"CASE WHEN {within} THEN {time} END"
    if column.kind is Kind.INTEGER:
        return (
            f"CASE WHEN TRY_CAST({value} AS DOUBLE) % 1 = 0 THEN TRY_CAST({value} AS INTEGER) END"
        )
    if column.kind is Kind.FLAG:
        return f"TRY_CAST({value} AS BOOLEAN)"
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


def text_sql(name: str) -> str:
    """SQL for the text of a column without blanks around it, null when nothing is left."""
    return f"nullif(trim({sql_name(name)}), '')"


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


def _read_time(given: object) -> datetime | None:
    if not isinstance(given, str):
        return None
    try:
        moment = parse_time(given)
    except BadInput:
        return None
    return moment if _FIRST_TIME <= moment < _LAST_TIME else None


def _read_number(given: object) -> float | None:
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        return None
    if isinstance(given, str) and not given.isascii():
        return None
    try:
        number = float(given)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and abs(number) < _LARGEST else None


def _read_money(text: str, scale: int) -> int | None:
    """The amount as it was written, in minor units, half to even: 0.1 is a tenth."""
    try:
        decimal = Decimal(text).quantize(Decimal(1).scaleb(-_MONEY_DECIMALS), ROUND_HALF_UP)
    except InvalidOperation:
        return None
    parts = 10**_MONEY_DECIMALS
    total = abs(int(decimal.scaleb(_MONEY_DECIMALS))) * scale
    # DuckDB turns a decimal that no double holds exactly into one in two steps.
    exact: float = total / parts if total <= 2**53 else total // parts + total % parts / parts
    minor = round(exact)
    return -minor if decimal < 0 else minor
