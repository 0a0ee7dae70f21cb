"""Placebo tests: what cannot have moved demand must be found not to have moved it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from features.contracts.arrays import Float64Array
from models.pricing.response.elasticity import ElasticityConfig, Fitted, fit


@dataclass(frozen=True)
class Placebo:
    """A slope that should be 0, its standard error, and beside it the one slope for all of the true
    prices."""

    slope: float
    error: float
    true_slope: float

    @property
    def fails(self) -> bool:
        """Further from 0 than chance has it (three standard errors), and than a tenth of the true
        prices' slope."""
        return abs(self.slope) > max(3 * self.error, abs(self.true_slope) / 10)


def permuted_prices(fitted: Fitted, config: ElasticityConfig, rng: np.random.Generator) -> Placebo:
    """One slope of the whole fit for all series, when the weeks' prices of each are drawn from a
    hat."""
    panel = fitted.panel
    keys = np.where(panel.seen, rng.random(panel.units.shape), np.inf)
    order = np.argsort(keys, axis=1, kind="stable")  # seen weeks in random order, then the others
    places = np.argsort(
        ~panel.seen, axis=1, kind="stable"
    )  # seen weeks as they come, then the others
    price = panel.log_price.copy()
    np.put_along_axis(price, places, np.take_along_axis(panel.log_price, order, axis=1), axis=1)
    drawn = fit(replace(panel, log_price=price, log_cost=None), config).residuals
    slope, error = _pooled(drawn.weights, drawn.price_left, drawn.units_left)
    return Placebo(slope, error, _true_slope(fitted))


def next_weeks_price(fitted: Fitted) -> Placebo:
    """The slope on the price of the week after, beside the week's own: shoppers cannot answer to
    what is to come."""
    left = fitted.residuals
    slopes = fitted.model.columns["own"][:, None]
    known = (left.weights[:, :-1] > 0) & (left.weights[:, 1:] > 0)
    following = np.zeros(left.price_left.shape)
    following[:, :-1] = np.where(known, left.price_left[:, 1:], 0.0)
    weights = left.weights
    own = (weights * left.price_left * following).sum(1) / np.maximum(
        (weights * left.price_left**2).sum(1), 1e-9
    )
    following = np.where(weights > 0, following - own[:, None] * left.price_left, 0.0)
    slope, error = _pooled(weights, following, left.units_left - slopes * left.price_left)
    return Placebo(slope, error, _true_slope(fitted))


def _true_slope(fitted: Fitted) -> float:
    left = fitted.residuals
    return _pooled(left.weights, left.price_left, left.units_left)[0]


def _pooled(weights: Float64Array, price: Float64Array, units: Float64Array) -> tuple[float, float]:
    """One slope for all series, and its error clustered by series."""
    spread = float((weights * price**2).sum())
    if spread < 1e-9:
        return 0.0, 0.0
    slope = float((weights * price * units).sum()) / spread
    scores = (weights * price * (units - slope * price)).sum(1)
    return slope, float(np.sqrt((scores**2).sum())) / spread
