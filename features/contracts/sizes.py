"""Pack sizes of the catalogue ("14.5 OZ", "6 x 330 ml", "20 CT") as comparable amounts."""

from __future__ import annotations

import re
from dataclasses import dataclass

_UNITS = {
    "g": {
        "g": 1.0,
        "gr": 1.0,
        "kg": 1000.0,
        "mg": 0.001,
        "oz": 28.349523125,
        "lb": 453.59237,
        "lbs": 453.59237,
    },
    "ml": {
        "ml": 1.0,
        "cl": 10.0,
        "dl": 100.0,
        "l": 1000.0,
        "lt": 1000.0,
        "ltr": 1000.0,
        "liter": 1000.0,
        "fl oz": 29.5735295625,
        "pt": 473.176473,
        "qt": 946.352946,
        "gal": 3785.411784,
        "gl": 3785.411784,
    },
    "count": {"ct": 1.0, "pc": 1.0, "pcs": 1.0, "pk": 1.0, "pack": 1.0, "ea": 1.0, "dz": 12.0},
}
_KNOWN = {name: (unit, factor) for unit, names in _UNITS.items() for name, factor in names.items()}
_PATTERN = re.compile(r"(?:(\d+)\s*(?:x|×|/|pk)\s*)?(\d+(?:[.,]\d+)?)\s*([a-z][a-z. ]*)")


@dataclass(frozen=True)
class Size:
    """An amount in g, ml or pieces (`unit`); sizes of different units cannot be compared."""

    amount: float
    unit: str


def parse_size(text: str | None) -> Size | None:
    """Return the size in a text, None where there is none.

    >>> parse_size("6 x 330 ml"), parse_size("1 LB") == parse_size("16 OZ"), parse_size("large")
    (Size(amount=1980.0, unit='ml'), True, None)
    """
    match = _PATTERN.fullmatch((text or "").strip().lower())
    if match is None:
        return None
    times, number, unit_text = match.groups()
    name = " ".join(unit_text.replace(".", " ").split())
    if name not in _KNOWN:
        return None
    unit, factor = _KNOWN[name]
    amount = int(times or 1) * float(number.replace(",", ".")) * factor
    return Size(round(amount, 6), unit) if amount > 0 else None
