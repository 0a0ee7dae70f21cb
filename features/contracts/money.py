"""Conversions between money in integer minor units (cents, yen) and major units at the edges."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

from features.contracts.errors import BadInput

# ISO 4217 exponents that are not 2 (the list's currencies in use).
_EXPONENTS = {
    **dict.fromkeys(
        [
            "BIF",
            "CLP",
            "DJF",
            "GNF",
            "ISK",
            "JPY",
            "KMF",
            "KRW",
            "PYG",
            "RWF",
            "UGX",
            "VND",
            "VUV",
            "XAF",
            "XOF",
            "XPF",
        ],
        0,
    ),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
}


def minor_digits(currency: str) -> int:
    """Return the digits after the decimal point of `currency` (ISO 4217).

    >>> minor_digits("EUR"), minor_digits("JPY"), minor_digits("KWD")
    (2, 0, 3)
    """
    if len(currency) != 3 or not currency.isalpha() or not currency.isupper():
        raise BadInput(
            f"{currency!r} is no currency", hint="Use a three-letter ISO 4217 code such as EUR"
        )
    return _EXPONENTS.get(currency, 2)


def to_minor(major: Decimal | str | int, currency: str) -> int:
    """Return integer minor units of an amount in major units, half to even.

    >>> to_minor("1.99", "EUR"), to_minor("120", "JPY")
    (199, 120)
    """
    try:
        value = Decimal(major).scaleb(minor_digits(currency))
        return int(value.to_integral_value(rounding=ROUND_HALF_EVEN))
    except (InvalidOperation, ValueError, OverflowError) as error:
        raise BadInput(
            f"{major!r} is no amount of money", hint="Write a decimal such as 1.99"
        ) from error


def mean_to_major(minor: float, currency: str) -> str:
    """Return a mean amount as a decimal string in major units, with two more digits.

    >>> mean_to_major(1234.567, "EUR"), mean_to_major(-0.5, "JPY")
    ('12.3457', '-0.50')
    """
    digits = minor_digits(currency)
    return str(Decimal(repr(minor)).scaleb(-digits).quantize(Decimal(1).scaleb(-digits - 2)))


def to_major(minor: int, currency: str) -> str:
    """Return minor units as a decimal string in major units.

    >>> to_major(199, "EUR"), to_major(-5, "EUR"), to_major(120, "JPY")
    ('1.99', '-0.05', '120')
    """
    digits = minor_digits(currency)
    return str(Decimal(int(minor)).scaleb(-digits).quantize(Decimal(1).scaleb(-digits)))
