"""Categories: paths like "Department > Category > Type", "" where unknown."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from features.contracts.arrays import Int64Array

SEPARATOR = " > "


def levels(category: str) -> tuple[str, ...]:
    """Return the levels of a category, the widest first; none where it is unknown.

    >>> levels("Grocery > Dairy"), levels("")
    (('Grocery', 'Dairy'), ())
    """
    return tuple(category.split(SEPARATOR)) if category else ()


def prefix(category: str, n_levels: int) -> str:
    """Return the first `n_levels` levels of a category.

    >>> prefix("Grocery > Dairy > Milk", 2)
    'Grocery > Dairy'
    """
    return SEPARATOR.join(category.split(SEPARATOR)[:n_levels])


def codes(categories: Iterable[str], n_levels: int) -> Int64Array:
    """Return a number for each distinct prefix of `n_levels` levels, from 0 in text order.

    >>> codes(["b > x", "a", "b > y"], 1).tolist()
    [1, 0, 1]
    """
    texts = [str(category) for category in categories]
    prefixes = {text: prefix(text, n_levels) for text in set(texts)}
    numbers = {name: number for number, name in enumerate(sorted(set(prefixes.values())))}
    return np.fromiter((numbers[prefixes[text]] for text in texts), np.int64, len(texts))
