"""How far the sales of items together are from their forecasts: the control of a price effect.

n items. Units of an item are counts with mean `expected` × exp(shift) and variance mean +
dispersion × mean². The shift is common to the items: what moved demand as a whole, and what the
forecasts missed together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float64Array

_STEPS = 50
_TOLERANCE = 1e-10
_FARTHEST = 3.0  # a category that sells 20 times its forecast is another category
_PRIOR_ITEMS = 10.0  # items that the forecast's own dispersion counts for


@dataclass(frozen=True)
class CommonShift:
    """The logarithm of actual over expected demand, its standard error, and the items it is from.

    Without items `log` is 0 and `error` infinite.
    """

    log: float
    error: float
    n_items: int


NO_SHIFT = CommonShift(0.0, math.inf, 0)


def estimate_common_shift(
    units: Float64Array, expected: Float64Array, dispersion: Float64Array
) -> CommonShift:
    """Return the common shift of n items, each weighted by what its count can say.

    The root of the quasi-score: sum of (units - mean) / (1 + dispersion × mean) = 0 (McCullagh and
    Nelder, Generalized linear models, 1989, chapter 9). Items that sold nothing are no difficulty.

    Two items that sell twice what was expected, 50 and 25 instead of 25 and 12.5:

    >>> shift = estimate_common_shift(np.array([50.0, 25.0]), np.array([25.0, 12.5]), np.zeros(2))
    >>> round(math.exp(shift.log), 6), round(shift.error**-2, 6)
    (2.0, 75.0)
    """
    known = expected > 0
    units, expected, dispersion = units[known], expected[known], dispersion[known]
    if not len(units):
        return NO_SHIFT
    log = 0.0
    for _ in range(_STEPS):
        mean = expected * math.exp(log)
        weight = 1.0 / (1.0 + dispersion * mean)
        step = float(((units - mean) * weight).sum() / (mean * weight).sum())
        before = log
        log = float(np.clip(log + np.clip(step, -1.0, 1.0), -_FARTHEST, _FARTHEST))
        if abs(log - before) < _TOLERANCE:
            break
    mean = expected * math.exp(log)
    information = float((mean / (1.0 + dispersion * mean)).sum())
    return CommonShift(log, 1.0 / math.sqrt(information), len(units))


def combine_with_forecast(shift: CommonShift, common_error: float) -> CommonShift:
    """Return the shift as the forecast and the controls together know it.

    `common_error` is the standard deviation of what forecasts miss together: with few controls the
    forecast counts, with many the controls do. The mean weighted by precision.

    >>> both = combine_with_forecast(CommonShift(0.3, 0.1, 9), 0.1)
    >>> round(both.log, 6), round(both.error**2, 6)
    (0.15, 0.005)
    """
    if math.isinf(shift.error):
        return CommonShift(0.0, common_error, 0)
    weight = weigh_controls(shift, common_error)
    return CommonShift(weight * shift.log, math.sqrt(weight) * shift.error, shift.n_items)


def weigh_controls(shift: CommonShift, common_error: float) -> float:
    """Return the share of the control that comes from the controls, the rest is the forecast's."""
    if math.isinf(shift.error):
        return 0.0
    return common_error**2 / (common_error**2 + shift.error**2)


def measure_excess(units: Float64Array, expected: Float64Array, dispersion: Float64Array) -> float:
    """Return the variance of n counts around their means as a multiple of the one assumed.

    Few items are shrunk towards 1: the assumed variance counts for ten.
    """
    known = expected > 0
    if not known.any():
        return 1.0
    mean = expected[known]
    squares = (units[known] - mean) ** 2 / (mean + dispersion[known] * mean**2)
    # One mean was estimated from the same items.
    freedom = max(len(mean) - 1, 0)
    return float((squares.sum() * freedom / len(mean) + _PRIOR_ITEMS) / (freedom + _PRIOR_ITEMS))
