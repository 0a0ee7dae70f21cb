"""Placebo tests of a price response: what cannot have moved demand must show no effect on it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from features.contracts.arrays import Float64Array
from models.pricing.response.double_ml import Residuals
from models.pricing.response.fit import ElasticityConfig, FittedElasticities, fit_with_residuals
from models.pricing.response.treatments import DEPTH, REGULAR, combine_treatments


@dataclass(frozen=True)
class Placebo:
    """A slope that should be 0, its standard error, and the pooled slope of the true prices."""

    slope: float
    error: float
    true_slope: float

    @property
    def fails(self) -> bool:
        """Whether the slope is further from 0 than three standard errors, and than a tenth of the
        true prices' slope.
        """
        return abs(self.slope) > max(3 * self.error, abs(self.true_slope) / 10)


def fit_permuted_prices(
    fitted: FittedElasticities, config: ElasticityConfig, rng: np.random.Generator
) -> Placebo:
    """Return the pooled slope of a fit in which each series' prices are put in random order."""
    panel = fitted.panel
    keys = np.where(panel.observed, rng.random(panel.units.shape), np.inf)
    # Observed weeks in random order, then the others; and observed weeks in time order.
    shuffled_weeks = np.argsort(keys, axis=1, kind="stable")
    observed_weeks = np.argsort(~panel.observed, axis=1, kind="stable")

    def shuffle(values: Float64Array) -> Float64Array:
        shuffled = values.copy()
        in_random_order = np.take_along_axis(values, shuffled_weeks, axis=1)
        np.put_along_axis(shuffled, observed_weeks, in_random_order, axis=1)
        return shuffled

    permuted = replace(
        panel,
        log_price=shuffle(panel.log_price),
        log_list=shuffle(panel.log_list),
        log_ratio=shuffle(panel.log_ratio),
        announced=shuffle(panel.announced),
        log_cost=None,
        margin=None,
    )
    slope, error = _fit_pooled_price(fit_with_residuals(permuted, config).residuals)
    return Placebo(slope, error, _fit_true_slope(fitted))


def fit_next_weeks_price(fitted: FittedElasticities) -> Placebo:
    """Return the pooled slope on the price of the week after, given the week's own price.

    Shoppers cannot respond to a price that is still to come.
    """
    residuals = fitted.residuals
    weights, price = residuals.weights, _sum_prices(residuals)
    both_known = (weights[:, :-1] > 0) & (weights[:, 1:] > 0)
    next_price = np.zeros(price.shape)
    next_price[:, :-1] = np.where(both_known, price[:, 1:], 0.0)
    # The part of the next week's price that this week's price predicts is taken out.
    own = (weights * price * next_price).sum(1) / np.maximum((weights * price**2).sum(1), 1e-9)
    next_price = np.where(weights > 0, next_price - own[:, None] * price, 0.0)
    unexplained = residuals.units_residual - combine_treatments(
        fitted.model.columns["own_responses"], residuals.treatments_residual
    )
    slope, error = _fit_pooled_slope(weights, next_price, unexplained)
    return Placebo(slope, error, _fit_true_slope(fitted))


def _fit_true_slope(fitted: FittedElasticities) -> float:
    return _fit_pooled_price(fitted.residuals)[0]


def _sum_prices(residuals: Residuals) -> Float64Array:
    """Return residual log prices (S, W), whatever part of them is a reduction."""
    treatments = residuals.treatments_residual
    return np.asarray(treatments[REGULAR] + treatments[DEPTH])


def _fit_pooled_price(residuals: Residuals) -> tuple[float, float]:
    return _fit_pooled_slope(residuals.weights, _sum_prices(residuals), residuals.units_residual)


def _fit_pooled_slope(
    weights: Float64Array, price: Float64Array, units: Float64Array
) -> tuple[float, float]:
    """Return one slope for all series, and its standard error clustered by series."""
    spread = float((weights * price**2).sum())
    if spread < 1e-9:
        return 0.0, 0.0
    slope = float((weights * price * units).sum()) / spread
    scores = (weights * price * (units - slope * price)).sum(1)
    return slope, float(np.sqrt((scores**2).sum())) / spread
