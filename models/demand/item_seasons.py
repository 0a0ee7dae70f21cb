"""How strongly each item follows the movement of its category: 1 as the category does, 0 not.

A peak is not the same for all: of toys some sell ten times as much before Christmas and some not
more than ever. An item whose category sells r times its level sells r ** exponent times its own.
"""

from __future__ import annotations

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array
from models.demand.seasons import sum_by_category

_LEVEL_WEEKS, _STEP = 8, 6  # weeks of a level, and the week after them that is compared with it
_MIN_WEEKS = 26
_LEAST_LEVEL = 0.1  # of a category's weekly units by series, below which nothing is read
_ALIKE_WEEKS = 4.0  # a level that is off is off for so many successive weeks
_LEAST_EXPECTED = 0.05  # units by which errors are divided
_MOST = 1.0  # distance of an exponent from 1
_ROUNDS = 6


def fit_exponents(units: Float64Array, category: Int64Array) -> Float64Array:
    """Return the exponent of each series (N), of N × T units.

    A Poisson regression of what a series sold over its level on the logarithm of what its category
    sold over its own; shrunk to 1 by how far series differ beyond chance.

    >>> sales = np.tile([[10.0], [20.0]], 60)
    >>> sales[1, 40:45] *= 4  # and the first one sells no more than ever
    >>> fit_exponents(sales, np.zeros(2, int)).round(1).tolist()
    [0.2, 1.3]
    """
    n_series, n_weeks = units.shape
    if n_weeks < _MIN_WEEKS:
        return np.ones(n_series)
    level, sold = _compare_with_level(units)
    movement = _measure_movement(level, sold, category)
    variance = _measure_spread(level, sold, movement)
    if variance == 0:
        return np.ones(n_series)
    exponent = np.ones(n_series)
    for _ in range(_ROUNDS):  # Newton's steps to the most likely ones
        expected = level * np.exp(exponent[:, None] * movement)
        gradient = (movement * (sold - expected)).sum(axis=1) - (exponent - 1) / variance
        curvature = (expected * movement**2).sum(axis=1) + 1 / variance
        exponent = 1 + np.clip(exponent - 1 + gradient / curvature, -_MOST, _MOST)
    return exponent


def _measure_movement(
    level: Float64Array, sold: Float64Array, category: Int64Array
) -> Float64Array:
    """Return N × weeks: the logarithm of what the category of a series sold over its level."""
    levels, sales = sum_by_category(level, category), sum_by_category(sold, category)
    moved = (levels > _LEAST_LEVEL) & (sales > 0)
    rise = np.ones_like(levels)
    rise[moved] = sales[moved] / levels[moved]
    return np.asarray(np.log(rise)[category])


def _measure_spread(level: Float64Array, sold: Float64Array, movement: Float64Array) -> float:
    """Return the variance of exponents around 1 beyond chance, over the dispersion of counts."""
    expected = level * np.exp(movement)
    square = (expected * movement**2).sum(axis=1)
    product = (movement * (sold - expected)).sum(axis=1)
    counted = expected > 0
    if not counted.any() or square.sum() <= 0:
        return 0.0
    errors = (sold - expected)[counted] ** 2 / np.maximum(expected[counted], _LEAST_EXPECTED)
    noise = _ALIKE_WEEKS * float(errors.mean())
    measured = square > 0
    spread = (product[measured] ** 2 / square[measured]).sum() - noise * measured.sum()
    return float(max(spread / square.sum(), 0.0) / noise) if noise > 0 else 0.0


def _compare_with_level(units: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return the levels (N × weeks) at all origins, and what sold some weeks after each."""
    sums = np.pad(np.cumsum(units, axis=1), ((0, 0), (1, 0)))
    levels = (sums[:, _LEVEL_WEEKS:] - sums[:, :-_LEVEL_WEEKS]) / _LEVEL_WEEKS
    sold = units[:, _LEVEL_WEEKS + _STEP - 1 :]
    return levels[:, : sold.shape[1]], sold
