"""Differences of quantiles where a unit has several values, such as the latencies of a visitor.

Method: Deng, Knoblich and Lu, "Applying the Delta Method in Metric Analytics" (KDD 2018), section
4. The share of values up to the quantile is a ratio of sums over units, whose error by the delta
method knows that values of a unit are alike. The quantiles at that share plus and minus its error
are an interval for the quantile. Two of them give the interval of the difference (Zou and Donner
2008), which need not be symmetric.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from experiments.analysis.estimates import estimate_metric
from experiments.analysis.moments import Moments
from experiments.analysis.statistics import CONFIDENCE, Difference
from experiments.analysis.sums import UnitSums
from features.contracts.arrays import Float64Array, Int64Array
from features.contracts.errors import BadInput


@dataclass(frozen=True)
class QuantileEstimate:
    """A quantile of the values of `n` units, with an interval of the same confidence."""

    n: int
    value: float
    low: float
    high: float


def estimate_quantile(
    values: npt.ArrayLike,
    units: npt.ArrayLike,
    probability: float,
    confidence: float = CONFIDENCE,
) -> QuantileEstimate | None:
    """Return the quantile of all values, with its interval; None with fewer than two units.

    values   of all units of a variant. [values]
    units    the unit of each value, any hashable type. [values]
    """
    if not 0 < probability < 1:
        raise BadInput(f"{probability:g} is not in (0, 1)", where="probability of a quantile")
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    codes = np.unique(np.asarray(units), return_inverse=True)[1]
    n_units = int(codes.max()) + 1 if len(codes) else 0
    if n_units < 2:
        return None
    quantile = _read(ordered, probability)
    error = _compute_share_error(np.asarray(values) <= quantile, codes)
    margin = float(ndtri((1 + confidence) / 2)) * error
    return QuantileEstimate(
        n=n_units,
        value=quantile,
        low=_read(ordered, probability - margin),
        high=_read(ordered, probability + margin),
    )


def compare_quantiles(
    treatment: QuantileEstimate, control: QuantileEstimate, confidence: float = CONFIDENCE
) -> Difference:
    """Return treatment minus control; both intervals have that confidence.

    The p-value is that of a normal distribution whose error is the distance from the difference to
    the end of the interval that lies towards 0.
    """
    value = treatment.value - control.value
    low = value - math.hypot(treatment.value - treatment.low, control.high - control.value)
    high = value + math.hypot(treatment.high - treatment.value, control.value - control.low)
    reach = value - low if value > 0 else high - value
    if reach == 0:
        return Difference(value, low, high, 1.0 if value == 0 else 0.0)
    score = abs(value) / reach * float(ndtri((1 + confidence) / 2))
    return Difference(value, low, high, float(2 * ndtr(-score)))


def describe_by_moments(estimate: QuantileEstimate, confidence: float = CONFIDENCE) -> Moments:
    """Return moments with the quantile as mean and the error of its interval.

    In large samples a quantile is the mean of influences of units, so that sequential tests and
    guardrails of moments apply to it.
    """
    error = (estimate.high - estimate.low) / 2 / float(ndtri((1 + confidence) / 2))
    return Moments(estimate.n, estimate.value, error**2 * estimate.n)


def _compute_share_error(is_below: npt.NDArray[np.bool_], codes: Int64Array) -> float:
    """Return the standard error of the share of values that are below, over clusters `codes`."""
    counts = np.bincount(codes)
    below = np.bincount(codes, weights=is_below).astype(np.int64)
    sums = UnitSums.from_units({"value": below, "base": counts})
    moments = estimate_metric({"": sums})[""]
    return math.sqrt((moments.variance or 0.0) / moments.n)


def _read(ordered: Float64Array, probability: float) -> float:
    """Return the quantile of sorted values; the least or largest value beyond 0 and 1."""
    return float(np.quantile(ordered, min(max(probability, 0.0), 1.0)))
