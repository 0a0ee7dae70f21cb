"""What the price regression explains: log units, or the working values of counts.

Weeks without a sale are information: where prices are listed they are counts of 0, and where a
price is known only from sales the counts are truncated at 0, and are fitted as such. In logs alone
such weeks are lost, which shrinks the slopes of slow items towards 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float64Array
from models.pricing.response.panel import PricePanel

_LEAST, _LARGEST = -4.0, 15.0  # log means; beyond them exponentials mean nothing
_ABOVE_MOST = 1.0  # how far the log mean of a week may lie above the most that a series ever sold


@dataclass(frozen=True)
class WorkingResponse:
    """The target of the regression: log units or their working values, with weights; (S, W)."""

    values: Float64Array
    weights: Float64Array


def build_log_response(panel: PricePanel, noise: float) -> WorkingResponse:
    """Return the log units of weeks with a sale, weighted by 1 / (1 / units + noise).

    A week of few units carries little information on log units.
    """
    units = np.where(panel.sold, panel.units, 1.0)
    weights = np.where(panel.sold, 1 / (1 / units + noise), 0.0)
    return WorkingResponse(np.log(units), weights)


def build_count_response(panel: PricePanel, fitted: Float64Array, noise: float) -> WorkingResponse:
    """Return the working values of a Fisher scoring step for counts; `fitted` (S, W) log means.

    Quasi-likelihood of Poisson form (McCullagh and Nelder, Generalized linear models, 2.5) with
    `noise`, the variance of log means. With mean m the working value is fitted + (units - m) / m,
    of weight 1 / (1 / m + noise). Where prices are known from sales only, units are those of a
    Poisson distribution truncated at 0: expected value m / (1 - exp(-m)), variance and slope
    v = expected × (1 + m - expected).
    """
    fitted = _limit_means(panel, fitted)
    mean = np.exp(fitted)
    listed = panel.listed[:, None]
    expected = np.where(listed, mean, mean / -np.expm1(-mean))
    slope = np.where(listed, mean, expected * (1 + mean - expected))
    values = fitted + (panel.units - expected) / slope
    weights = np.where(panel.observed, 1 / (1 / slope + noise), 0.0)
    return WorkingResponse(np.where(panel.observed, values, 0.0), weights)


def _limit_means(panel: PricePanel, fitted: Float64Array) -> Float64Array:
    """Return log means (S, W) of which none is far above what the series ever sold in a week.

    A scoring step overshoots where a week sold much more than its mean. A mean that is far too high
    has the largest weight of all, lifts the weeks around it and other series with the common
    movement, and the steps diverge.
    """
    most = np.where(panel.observed, panel.units, 0.0).max(1, initial=0.0)
    largest = np.log(np.maximum(most, 1.0)) + _ABOVE_MOST
    return np.clip(fitted, _LEAST, np.minimum(largest, _LARGEST)[:, None])


def measure_misfits(panel: PricePanel, predicted: Float64Array, noise: float) -> Float64Array:
    """Return minus the log-likelihood of each series' units (S,), less a constant.

    Negative binomial with the variance mean + noise × mean², truncated at 0 where prices are known
    from sales only; `predicted` (S, W) are log means.
    """
    mean = np.exp(np.clip(predicted, _LEAST, _LARGEST))
    size = 1 / max(noise, 1e-6)
    log_zero = -size * np.log1p(mean / size)  # of a week without a sale
    log_likelihood = panel.units * np.log(mean / (mean + size)) + log_zero
    truncated = log_likelihood - np.log(-np.expm1(log_zero))
    log_likelihood = np.where(panel.listed[:, None], log_likelihood, truncated)
    return np.asarray(-np.where(panel.observed, log_likelihood, 0.0).sum(1))
