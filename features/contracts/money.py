"""Conversions between money in integer minor units (cents, yen) and major units at the edges."""

from __future__ import annotations

import difflib
from decimal import ROUND_HALF_EVEN, Decimal

from features.contracts.errors import BadInput
from features.contracts.numbers import parse_decimal

_MAX_SHOWN = 32  # characters of a wrong amount in a message
# ISO 4217: the currencies in use, those whose exponent is not 2 apart.
_EXPONENT_0 = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
_EXPONENT_2 = (
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD "
    "CAD CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD "
    "GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD "
    "MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP "
    "PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS "
    "TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG"
)
_EXPONENT_3 = "BHD IQD JOD KWD LYD OMR TND"
# What people write for a code.
_NAMES = {
    "EURO": "EUR",
    "DOLLAR": "USD",
    "YEN": "JPY",
    "POUND": "GBP",
    "YUAN": "CNY",
    "RENMINBI": "CNY",
    "RMB": "CNY",
    "FRANC": "CHF",
    "KRONA": "SEK",
    "KRONOR": "SEK",
    "KRONE": "NOK",
    "ZLOTY": "PLN",
    "RUPEE": "INR",
    "REAL": "BRL",
    "€": "EUR",
    "$": "USD",
    "£": "GBP",
    "¥": "JPY",
}
_EXPONENTS = {
    code: exponent
    for exponent, codes in ((0, _EXPONENT_0), (2, _EXPONENT_2), (3, _EXPONENT_3))
    for code in codes.split()
}


def minor_digits(currency: str) -> int:
    """Return the digits after the decimal point of `currency` (ISO 4217).

    Raises BadInput for a name that is no currency.

    >>> minor_digits("EUR"), minor_digits("JPY"), minor_digits("KWD")
    (2, 0, 3)
    """
    digits = _EXPONENTS.get(currency)
    if digits is None:
        names = {**_NAMES, **{code: code for code in _EXPONENTS}}
        nearest = difflib.get_close_matches(currency.upper(), names, n=1)
        meant = f"Did you mean {names[nearest[0]]!r}?" if nearest else "Use a code such as EUR"
        raise BadInput(f"{currency!r} is no currency of ISO 4217", hint=meant)
    return digits


def currency_of_symbol(text: str) -> str | None:
    """Return the currency of a code or of a symbol that one currency has; None for any other text.

    >>> currency_of_symbol("€"), currency_of_symbol("eur"), currency_of_symbol("kr")
    ('EUR', 'EUR', None)
    """
    code = text.upper()
    return code if code in _EXPONENTS else _NAMES.get(code)


def parse_amount(text: str) -> Decimal:
    """Return an amount in major units. Raises BadInput for a text that is none.

    >>> parse_amount("1.99")
    Decimal('1.99')
    """
    amount = parse_decimal(text)
    if amount is None:
        shown = repr(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}...")
        raise BadInput(f"{shown} is no amount of money", hint="Write a decimal such as 1.99")
    return amount


def to_minor(major: Decimal | str | int, currency: str) -> int:
    """Return integer minor units of an amount in major units, half to even.

    >>> to_minor("1.99", "EUR"), to_minor("120", "JPY")
    (199, 120)
    """
    minor = parse_amount(str(major)).scaleb(minor_digits(currency))
    return int(minor.to_integral_value(rounding=ROUND_HALF_EVEN))


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
