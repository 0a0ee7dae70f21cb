"""The trend of a whole zone's sales: its weekly growth, and how it fades in the weeks ahead.

The growth is the slope of a straight line through the logarithm of a zone's last weeks. It counts
as far as it is distinct from noise, as the newer half of these weeks still shows it, and as the
slopes of earlier weeks came true afterwards. A month of strong sales is therefore no trend, nor is
growth that has stopped. Reference: Gardner & McKenzie (1985), Forecasting trends in time series.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float32Array, Float64Array, Int64Array

TREND_WEEKS = 26  # the newest weeks that a trend is read from
_MIN_TREND_WEEKS = 12  # so that one month is at most a third of them
_MIN_RECENT_WEEKS = 6
_ERRORS = 3.0  # standard errors from no trend within which there is none
_RECENT_ERRORS = 1.0  # standard errors by which a trend may exceed that of the newer half
_DAMPING = 0.95  # share of a week's trend that is left a week later
_MOST_ALIKE = 0.9
_MOST_GROWTH = 2.0  # of a zone's level over all weeks ahead
# Slopes of at least this many weeks are compared with the weeks after them, this many weeks ahead;
# a comparison counts half this many weeks later.
_MIN_COMPARED, _COMPARED_STEPS, _HALF_LIFE = 6, 4, 6.0


@dataclass(frozen=True)
class ZoneTrend:
    """Weekly growth of the logarithm of each zone's level, and the row of each of N series."""

    slopes: Float64Array
    zone: Int64Array

    @property
    def is_flat(self) -> bool:
        """Whether no zone has a trend."""
        return not self.slopes.any()

    def past(self, n_known: int) -> Float32Array:
        """Return N × n_known: the trend line of each known week over that of the last one.

        Before the weeks that the trend was read from the line is flat.
        """
        age = np.minimum(np.arange(n_known)[::-1], TREND_WEEKS - 1)
        lines = np.exp(-self.slopes[:, None] * age)
        return np.asarray(lines[self.zone], np.float32)

    def ahead(self, steps: Sequence[int]) -> Float64Array:
        """Return N × steps: the trend line of the weeks ahead over that of the last known one."""
        rise = self.slopes[:, None] * damp_steps(np.array(steps, np.float64))
        return np.asarray(np.exp(np.minimum(rise, np.log(_MOST_GROWTH)))[self.zone], np.float64)


def damp_steps(steps: Float64Array) -> Float64Array:
    """Return how many weeks of the full trend the damped one adds up to after `steps` weeks."""
    return np.asarray(_DAMPING * (1 - _DAMPING**steps) / (1 - _DAMPING), np.float64)


def fit_trend(units: Float64Array) -> float:
    """Return the weekly trend of the logarithm of a zone's T units; 0 where none is supported.

    >>> weeks = np.arange(20)
    >>> round(fit_trend(100 * 1.04**weeks), 3)
    0.039
    >>> fit_trend(np.where(weeks < 16, 100.0, 150.0))
    0.0
    """
    recent = units[-TREND_WEEKS:]
    if len(recent) < _MIN_TREND_WEEKS or recent.min() <= 0:
        return 0.0
    logs = np.log(recent)
    line = _fit_line(logs)
    if line.slope == 0:
        return 0.0
    slope = line.slope * max(0.0, 1 - (_ERRORS * line.common_error / line.slope) ** 2)
    newer = _fit_line(logs[-max(_MIN_RECENT_WEEKS, len(logs) // 2) :])
    direction = float(np.sign(slope))
    supported = direction * newer.slope + _RECENT_ERRORS * newer.error
    slope = direction * min(abs(slope), max(supported, 0.0))
    return slope * _measure_support(np.log(_take_unbroken(units))) if slope else 0.0


def _take_unbroken(units: Float64Array) -> Float64Array:
    """Return the newest weeks, after the last one without a sale."""
    empty = np.flatnonzero(units <= 0)
    return units[empty[-1] + 1 if len(empty) else 0 :][-2 * TREND_WEEKS :]


@dataclass(frozen=True)
class _Line:
    """A straight line through T values, one a week.

    error          standard error of the slope as if the errors of weeks were independent
    common_error   ... and where those of successive weeks are alike
    """

    slope: float
    last: float
    error: float
    common_error: float


def _fit_line(values: Float64Array) -> _Line:
    weeks = np.arange(len(values)) - (len(values) - 1) / 2
    squares = float(weeks @ weeks)
    slope = float(weeks @ values) / squares
    errors = values - values.mean() - slope * weeks
    variance = float(errors @ errors)
    alike = float(errors[1:] @ errors[:-1]) / variance if variance > 0 else 0.0
    alike = min(max(alike, 0.0), _MOST_ALIKE)
    error = np.sqrt(variance / (len(values) - 2) / squares)
    return _Line(
        slope=slope,
        last=float(values.mean() + slope * weeks[-1]),
        error=float(error),
        common_error=float(error * np.sqrt((1 + alike) / (1 - alike))),
    )


def _measure_support(logs: Float64Array) -> float:
    """Return how far slopes at earlier origins came true in the next weeks: 0 not, 1 in full.

    The slope of what the weeks after an origin rose above the end of its line, on what the damped
    trend expected; shrunk to 0 as far as its errors leave it uncertain. Of the logarithms of units.
    """
    n_weeks = len(logs)
    product = square = squared_actual = total = 0.0
    for origin in range(max(_MIN_COMPARED, n_weeks - TREND_WEEKS), n_weeks):
        line = _fit_line(logs[max(origin - TREND_WEEKS, 0) : origin])
        steps = np.arange(1.0, min(_COMPARED_STEPS, n_weeks - origin) + 1)
        expected = line.slope * damp_steps(steps)
        actual = logs[origin : origin + len(steps)] - line.last
        weight = 0.5 ** ((n_weeks - origin - steps) / _HALF_LIFE)
        product += float((weight * expected) @ actual)
        square += float((weight * expected) @ expected)
        squared_actual += float((weight * actual) @ actual)
        total += float(weight.sum())
    if square <= 0:
        return 0.0
    share = min(max(product / square, 0.0), 1.0)
    variance = (squared_actual - 2 * share * product + share**2 * square) / total
    return min(max(product / (square + max(variance, 0.0)), 0.0), 1.0)
