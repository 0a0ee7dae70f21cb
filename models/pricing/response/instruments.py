"""Costs as instruments: a price that follows its cost changed for a reason shoppers do not know."""

from __future__ import annotations

import numpy as np

from features.contracts.arrays import Float64Array
from models.pricing.response.double_ml import COMMON_VARIANCE, STRENGTH, Residuals
from models.pricing.response.group_regression import (
    Levels,
    apply_coefficients,
    centre_series,
    estimate_common_movement,
    fit_nested_ridge,
)
from models.pricing.response.own_moves import measure_shared_moves
from models.pricing.response.panel import PricePanel
from models.pricing.response.treatments import REGULAR, combine_treatments

_CHANCE = 2.0  # standard errors of the slopes' common error that count as chance
_STRONG = 10.0  # the least F of costs on prices (Staiger and Stock, Econometrica 1997)


def correct_slopes(
    panel: PricePanel, residuals: Residuals, levels: Levels, responses: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Return the error common to the regular slopes of a series' zone (S,), and its variance.

    To be added to slopes and variances. Where competitors move along with a brand's prices, what
    moves a brand's costs moves theirs: costs are no instrument then.
    """
    moves = measure_shared_moves(panel, residuals, levels, responses)
    by_cost, cost_variance = correct_with_costs(panel, residuals, levels, responses)
    return (
        moves.correction + (1 - moves.evidence) * by_cost,
        moves.variance + (1 - moves.evidence) ** 2 * cost_variance,
    )


def correct_with_costs(
    panel: PricePanel,
    residuals: Residuals,
    levels: Levels,
    responses: Float64Array,
) -> tuple[Float64Array, Float64Array]:
    """Return the error common to the regular slopes of a series' zone (S,), and its variance.

    To be added to slopes and variances; 0 where nothing is to be corrected.

    Where the `responses` (S, 3) are right, the units that the price leaves unexplained are
    uncorrelated with costs. A correlation beyond chance (two standard errors; Hausman, Econometrica
    1978) is the slopes' common error. Nothing changes without costs, or where prices hardly follow
    them.
    """
    if panel.log_cost is None:
        return np.zeros(len(responses)), np.zeros(len(responses))
    weights = np.where(np.isfinite(panel.log_cost), residuals.weights, 0.0)
    cost = _residualise_cost(panel.log_cost, weights, residuals, levels)
    regular = residuals.treatments_residual[REGULAR]
    unexplained = residuals.units_residual - combine_treatments(
        responses, residuals.treatments_residual
    )
    zone = levels.zone
    # Sums by zone: variance of the cost, its covariance with the price, and noise per week.
    cost_square = zone.sum_by_group((weights * cost**2).sum(1))
    covariance = zone.sum_by_group((weights * cost * regular).sum(1))
    n = np.maximum(zone.sum_by_group((weights > 0).sum(1).astype(np.float64)), 1)
    price_noise = zone.sum_by_group((weights * regular**2).sum(1)) / n
    noise = zone.sum_by_group((weights * unexplained**2).sum(1)) / n
    strong = covariance**2 > _STRONG * price_noise * cost_square
    safe_covariance = np.where(strong, covariance, 1.0)
    reduced_form = zone.sum_by_group((weights * cost * unexplained).sum(1))
    error = np.where(strong, reduced_form / safe_covariance, 0.0)
    variance = np.where(strong, noise * cost_square / safe_covariance**2, 0.0)
    beyond_chance = np.where(
        strong, np.maximum(1 - _CHANCE**2 * variance / np.maximum(error**2, 1e-12), 0.0), 0.0
    )
    return (beyond_chance * error)[zone.codes], (beyond_chance * variance)[zone.codes]


def _residualise_cost(
    log_cost: Float64Array, weights: Float64Array, residuals: Residuals, levels: Levels
) -> Float64Array:
    """Return log costs (S, W) without series means, common movements and what controls explain."""
    cost = centre_series(np.where(weights > 0, log_cost, 0.0), weights)
    common = estimate_common_movement(cost, weights, levels, COMMON_VARIANCE)
    cost = np.where(weights > 0, cost - common, 0.0)
    controls = residuals.controls.residual
    coefficients = fit_nested_ridge(controls, cost[None], weights, levels.nested, STRENGTH)[0]
    return np.asarray(cost - apply_coefficients(coefficients, controls))
