"""The one form of a number in text, for files, HTTP, the command line and YAML.

ASCII digits, at most one point, and a small exponent, as spreadsheets and programs write it.
Python and DuckDB read more (`１２`, `12_0`), and the arithmetic of a huge exponent takes minutes:
the form is checked before anything is computed.
"""

from __future__ import annotations

import re
from decimal import Decimal

# Read alike by Python and by DuckDB (RE2).
NUMBER_FORM = r"[+-]?([0-9]{1,18}(\.[0-9]{0,60})?|\.[0-9]{1,60})([eE][+-]?[0-9]{1,2})?"
# In minor units it still fits 64 bits, whatever the currency.
_LIMIT = 10**15

_FORM = re.compile(NUMBER_FORM)


def parse_decimal(text: str) -> Decimal | None:
    """Return the number that a text writes; None where it is none, or absurdly large.

    >>> parse_decimal("1.50"), parse_decimal("2e-1")
    (Decimal('1.50'), Decimal('0.2'))
    >>> [parse_decimal(text) for text in ("12_0", "１２", "9E+999990", "1e15", "NaN", "")]
    [None, None, None, None, None, None]
    """
    if _FORM.fullmatch(text) is None:
        return None
    number = Decimal(text)
    return number if abs(number) < _LIMIT else None
