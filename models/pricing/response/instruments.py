"""Costs as instruments: a price that follows its cost moved for a reason that shoppers do not
know."""

from __future__ import annotations

import numpy as np

from features.contracts.arrays import Float64Array
from models.pricing.response.double_ml import COMMON_VARIANCE, STRENGTH, Residuals
from models.pricing.response.group_regression import (
    Levels,
    centred,
    coefficients,
    common,
    explained,
)
from models.pricing.response.panel import PricePanel

_CHANCE = 2.0  # standard errors of the slopes' common error that are no error
_STRONG = 10.0  # the least F of costs on prices (Staiger and Stock, Econometrica 1997)


def corrected(
    panel: PricePanel,
    residuals: Residuals,
    levels: Levels,
    slopes: Float64Array,
    variances: Float64Array,
) -> tuple[Float64Array, Float64Array]:
    """Slopes (S,) and their variances, moved by what costs say is wrong with all slopes of the zone
    together.

    Where the slopes are right, what is left of the units after the price's part has nothing to do
    with costs. What it has beyond chance (two standard errors; Hausman, Econometrica 1978) is the
    slopes' common error. Nothing happens without costs, or where prices hardly follow them.
    """
    if panel.log_cost is None:
        return slopes, variances
    weights = np.where(np.isfinite(panel.log_cost), residuals.weights, 0.0)
    cost = centred(np.where(weights > 0, panel.log_cost, 0.0), weights)
    cost = np.where(weights > 0, cost - common(cost, weights, levels, COMMON_VARIANCE), 0.0)
    found = coefficients(residuals.controls.residual, cost[None], weights, levels.nested, STRENGTH)[
        0
    ]
    cost = cost - explained(found, residuals.controls.residual)
    rest = residuals.units_left - slopes[:, None] * residuals.price_left
    zone = levels.zone
    size = zone.sums((weights * cost**2).sum(1))
    moved = zone.sums((weights * cost * residuals.price_left).sum(1))
    n = np.maximum(zone.sums((weights > 0).sum(1).astype(np.float64)), 1)
    price_noise = zone.sums((weights * residuals.price_left**2).sum(1)) / n
    noise = zone.sums((weights * rest**2).sum(1)) / n
    strong = moved**2 > _STRONG * price_noise * size
    error = np.where(
        strong, zone.sums((weights * cost * rest).sum(1)) / np.where(strong, moved, 1.0), 0.0
    )
    variance = np.where(strong, noise * size / np.where(strong, moved, 1.0) ** 2, 0.0)
    kept = np.where(
        strong, np.maximum(1 - _CHANCE**2 * variance / np.maximum(error**2, 1e-12), 0.0), 0.0
    )
    return slopes + (kept * error)[zone.codes], variances + (kept * variance)[zone.codes]
