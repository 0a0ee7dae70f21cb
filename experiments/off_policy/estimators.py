"""Estimates of what another policy would have earned on logged slates: inverse propensity scores,
self-normalised, and doubly robust."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from experiments.off_policy.logged_slates import Level, LoggedSlates, compute_weights
from features.contracts.arrays import Float64Array, Int64Array
from features.contracts.errors import BadInput

Method = Literal["ips", "snips", "dr"]
CONFIDENCE = 0.95
MIN_EFFECTIVE_SIZE = 100.0
# The weights have mean 1 where the log can show all that the target shows. How far they may be from
# it: this share, and so many standard errors.
_MEAN_WEIGHT_TOLERANCE = 0.05
_STANDARD_ERRORS = 4.0


@dataclass(frozen=True)
class RewardModel:
    """Rewards by a model, for doubly robust estimates; it need not be right.

    logged    (S, K) predicted for the item at the rank
    target    (S, K) predicted for the rank under the target, given the ranks before: the mean over
              the items that the target may choose
    """

    logged: Float64Array
    target: Float64Array


@dataclass(frozen=True)
class Overlap:
    """How well logged slates stand for those of the target.

    effective_size   of as many slates of the target itself the mean would be as precise (Kish)
    mean_weight      1 where the log can show all that the target shows
    obstacle         why no estimate is given; None where one is
    """

    effective_size: float
    mean_weight: float
    obstacle: str | None


@dataclass(frozen=True)
class PolicyValue:
    """The mean reward of a slate under the target, with its 95 % confidence interval."""

    value: float
    low: float
    high: float
    n_slates: int
    n_units: int
    overlap: Overlap


@dataclass(frozen=True)
class _RatioSum:
    """An estimate as a sum over columns of sum(numerator) / sum(denominator), both (S, columns)."""

    numerator: Float64Array
    denominator: Float64Array

    def compute_value(self) -> float:
        return float((self.numerator.sum(0) / self.denominator.sum(0)).sum())

    def compute_influence(self) -> Float64Array:
        """Return (S,) what each slate adds to the error of the value, by the delta method."""
        total = self.denominator.sum(0)
        ratio = self.numerator.sum(0) / total
        influence: Float64Array = ((self.numerator - ratio * self.denominator) / total).sum(1)
        return influence


def estimate_value(
    slates: LoggedSlates,
    method: Method = "snips",
    level: Level = "cascade",
    model: RewardModel | None = None,
) -> PolicyValue:
    """Return the value of the target; the interval counts units as independent, slates not.

    Its width follows a t distribution whose degrees of freedom fall with the kurtosis of the units'
    influence: few heavy weights leave the variance itself uncertain. It reaches further to the side
    to which the influence is skewed. Raises BadInput where the log has no overlap with the target
    (see `measure_overlap`), or "dr" has no model.
    """
    overlap = measure_overlap(slates, level)
    if overlap.obstacle is not None:
        raise BadInput(overlap.obstacle, where="off-policy estimate")
    parts = _build_parts(slates, method, level, model)
    value = parts.compute_value()
    by_unit = _sum_by_unit(slates.unit, parts.compute_influence()[:, None])[:, 0]
    n_units = len(by_unit)
    squares = by_unit**2
    error = math.sqrt(squares.sum() * n_units / max(n_units - 1, 1))
    quantile = _find_quantile(squares)
    below, above = _find_skewed_quantiles(by_unit, quantile)
    low, high = value - above * error, value - below * error
    return PolicyValue(value, low, high, len(slates.unit), n_units, overlap)


def bootstrap_interval(
    slates: LoggedSlates,
    rng: np.random.Generator,
    method: Method = "snips",
    level: Level = "cascade",
    n_samples: int = 1_000,
) -> tuple[float, float]:
    """Return the 95 % percentile interval of an IPS or SNIPS value over resampled units."""
    parts = _build_parts(slates, method, level, None)
    numerator = _sum_by_unit(slates.unit, parts.numerator)  # [units, columns]
    denominator = _sum_by_unit(slates.unit, parts.denominator)
    n_units = len(numerator)
    counts = rng.multinomial(n_units, np.full(n_units, 1 / n_units), n_samples)
    values = ((counts @ numerator) / (counts @ denominator)).sum(1)  # [samples]
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)


def measure_overlap(slates: LoggedSlates, level: Level = "cascade") -> Overlap:
    """Return how much the log says of the target, at the rank where it says least."""
    weights, _ = compute_weights(slates, level)
    if not weights.size or not weights.any(axis=0).all():
        reason = "the log has no slate that the target would show"
        return Overlap(0.0, 0.0, reason)
    sizes = weights.sum(0) ** 2 / (weights**2).sum(0)
    means = weights.mean(0)
    worst = int(np.argmax(np.abs(means - 1)))
    effective_size, mean_weight = float(sizes.min()), float(means[worst])
    deviations = _sum_by_unit(slates.unit, weights[:, worst : worst + 1] - mean_weight)
    error = float(np.sqrt((deviations**2).sum())) / len(weights)
    allowed = max(_MEAN_WEIGHT_TOLERANCE, _STANDARD_ERRORS * error)
    obstacle = None
    if mean_weight < 1 - allowed:
        obstacle = f"{1 - mean_weight:.0%} of what the target shows cannot occur in the log"
    elif mean_weight > 1 + allowed:
        obstacle = (
            f"the weights have mean {mean_weight:.2f}, not 1: "
            "the probabilities are not those of the log and the target"
        )
    elif effective_size < MIN_EFFECTIVE_SIZE:
        obstacle = (
            f"the log counts as {effective_size:.0f} slates of the target, "
            f"fewer than {MIN_EFFECTIVE_SIZE:.0f}"
        )
    return Overlap(effective_size, mean_weight, obstacle)


def _build_parts(
    slates: LoggedSlates, method: Method, level: Level, model: RewardModel | None
) -> _RatioSum:
    weights, before = compute_weights(slates, level)
    earned = weights * slates.earned
    if method == "snips":
        return _RatioSum(earned, weights)
    total = earned.sum(1)
    if method == "dr":
        if model is None:
            raise BadInput("a doubly robust estimate needs a reward model", where="method")
        predicted = before * model.target - weights * model.logged
        total = total + np.where(slates.shown, predicted, 0.0).sum(1)
    return _RatioSum(total[:, None], np.ones((len(total), 1)))


def _sum_by_unit(unit: Int64Array, values: Float64Array) -> Float64Array:
    """Return the sums (units, columns) of the rows (S, columns) of each unit."""
    units, number = np.unique(unit, return_inverse=True)
    sums = np.zeros((len(units), values.shape[1]))
    np.add.at(sums, number, values)
    return sums


def _find_quantile(squares: Float64Array) -> float:
    """Return the quantile of t for a variance that is the sum of these squares (units,).

    Degrees of freedom: 2 variance² / (variance of the variance), as of Satterthwaite.
    """
    total, n_units = float(squares.sum()), len(squares)
    spread = float((squares**2).sum()) - total**2 / n_units
    freedom = n_units - 1.0
    if spread > 0:
        freedom = min(freedom, 2 * total**2 / spread)
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, max(freedom, 1.0)))


def _find_skewed_quantiles(influence: Float64Array, quantile: float) -> tuple[float, float]:
    """Return the quantiles of a mean's error over its standard error, for the influence (units,).

    A mean whose units are skewed to the right mostly lies below its expectation, with too small an
    error: its transform of third degree is symmetric (Hall, On the removal of skewness by
    transformation, JRSS B 1992).

    >>> _find_skewed_quantiles(np.array([-1.0, 1.0]), 2.0)
    (-2.0, 2.0)
    >>> low, high = _find_skewed_quantiles(np.array([-1.0] * 90 + [9.0] * 10), 2.0)
    >>> round(low, 2), round(high, 2)
    (-2.6, 1.69)
    """
    variance = float((influence**2).sum())
    skewness = float((influence**3).sum()) / variance**1.5 if variance > 0 else 0.0
    if abs(skewness) < 1e-9:
        return -quantile, quantile
    low, high = (
        3 / skewness * (math.cbrt(1 + skewness * (x - skewness / 6)) - 1)
        for x in (-quantile, quantile)
    )
    return low, high
