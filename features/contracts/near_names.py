"""The valid names that a name which nobody knows may have been meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LEAST_LIKENESS = 0.7


def find_near_names(name: str, valid: Iterable[str]) -> list[str]:
    """Return the valid names most like `name`; several where they are equally like it.

    Case, blanks and punctuation do not count.

    >>> find_near_names("listprice", ["list_price", "unit_price"])
    ['list_price']
    >>> find_near_names("price", ["list_price", "size", "unit_price"])
    ['list_price', 'unit_price']
    >>> find_near_names("cashier", ["list_price"])
    []
    """
    letters = _keep_letters(name)
    likeness = {
        candidate: difflib.SequenceMatcher(None, letters, _keep_letters(candidate)).ratio()
        for candidate in valid
    }
    most = max(likeness.values(), default=0.0)
    if most < _LEAST_LIKENESS:
        return []
    return sorted(candidate for candidate, ratio in likeness.items() if ratio == most)


def _keep_letters(name: str) -> str:
    """Return the letters and digits of a name; the name itself where it has none."""
    return "".join(filter(str.isalnum, name.casefold())) or name
