"""p-values adjusted for the number of tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def adjust_holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return p-values that bound the probability of any false rejection (Holm 1979).

    >>> adjust_holm([0.01, 0.04, 0.03])
    (0.03, 0.06, 0.06)
    """
    values = np.asarray(p_values, dtype=float)  # [tests]
    order = np.argsort(values, kind="stable")
    factors = np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.maximum.accumulate(values[order] * factors)
    return tuple(np.minimum(adjusted, 1.0).tolist())


def adjust_benjamini_hochberg(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return p-values that bound the share of false rejections (Benjamini and Hochberg 1995).

    >>> adjust_benjamini_hochberg([0.01, 0.02, 0.03])
    (0.03, 0.03, 0.03)
    """
    values = np.asarray(p_values, dtype=float)  # [tests]
    order = np.argsort(values, kind="stable")
    factors = len(values) / np.arange(1, len(values) + 1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum.accumulate((values[order] * factors)[::-1])[::-1]
    return tuple(np.minimum(adjusted, 1.0).tolist())
