"""Double machine learning: residuals of prices and units, predicted from other weeks.

Chernozhukov et al., Double/debiased machine learning for treatment and structural parameters,
Econometrics Journal 2018: the regression of unit residuals on price residuals gives the response,
free of first-order errors of the two predictions, as long as each week is predicted by a model
that was fitted on other weeks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float64Array
from models.pricing.response.controls import Controls, average_other_weeks, build_controls
from models.pricing.response.group_regression import (
    Levels,
    apply_coefficients,
    centre_series,
    estimate_common_movement,
    fit_nested_ridge,
)
from models.pricing.response.panel import PricePanel

# Prior variance of the common movement of log units from week to week.
COMMON_VARIANCE = 0.5
# Weight of the prior that a group's effects equal those of the wider group.
STRENGTH = 100.0
# Weeks after which the other weeks' information on an item's level of demand falls to 1 / e.
_LEVEL_MEMORY = 12.0


@dataclass(frozen=True)
class WorkingResponse:
    """The target of the regression: log units or their working values, with weights; (S, W)."""

    values: Float64Array
    weights: Float64Array


@dataclass(frozen=True)
class Residuals:
    """(S, W) each; 0 where a week is no observation.

    price, units   less the mean of the series, the common movement, and the weeks around
    price_residual, units_residual   also without what the controls predict from other weeks
    level          what was taken from the units: the mean of the series, the common movement, and
                   the weeks around
    """

    weights: Float64Array
    controls: Controls
    price: Float64Array
    units: Float64Array
    price_residual: Float64Array
    units_residual: Float64Array
    level: Float64Array


def build_log_response(panel: PricePanel, noise: float) -> WorkingResponse:
    """Return the log units of weeks with a sale, weighted by 1 / (1 / units + noise).

    A week of few units carries little information on log units.
    """
    units = np.where(panel.sold, panel.units, 1.0)
    weights = np.where(panel.sold, 1 / (1 / units + noise), 0.0)
    return WorkingResponse(np.log(units), weights)


def build_poisson_response(
    panel: PricePanel, log_response: WorkingResponse, fitted: Float64Array, noise: float
) -> WorkingResponse:
    """Return the working values of a Fisher scoring step for counts, zeros among them.

    Quasi-likelihood of Poisson form: where prices are listed the working value is
    fitted + (units - mean) / mean, of weight 1 / (1 / mean + noise) (McCullagh and Nelder,
    Generalized linear models, 2.5). Elsewhere a week without a sale has no price, and log units
    stay.
    """
    mean = np.exp(np.clip(fitted, -4.0, 15.0))
    counted = panel.observed & panel.listed[:, None]
    values = np.where(counted, fitted + (panel.units - mean) / mean, log_response.values)
    weights = np.where(
        counted,
        1 / (1 / mean + noise),
        np.where(panel.listed[:, None], 0.0, log_response.weights),
    )
    return WorkingResponse(values, weights)


def residualise(
    panel: PricePanel,
    response: WorkingResponse,
    levels: Levels,
    cross_weights: Float64Array,
    n_folds: int,
) -> Residuals:
    """Return the residuals, cross-fitted over `n_folds` blocks of consecutive weeks.

    `cross_weights` (S,) as in `build_controls`.
    """
    weights = response.weights
    centred_price = centre_series(np.where(weights > 0, panel.log_price, 0.0), weights)
    names, raw = build_controls(panel, centred_price, levels, cross_weights)

    price, units = (
        remove_levels(values, weights, levels) for values in (panel.log_price, response.values)
    )
    residual_controls = np.stack([remove_levels(control, weights, levels) for control in raw])
    controls = Controls(names, raw, residual_controls)
    remainder = np.stack([price, units])
    for block in np.array_split(np.arange(panel.n_weeks), n_folds):
        other_weeks = np.setdiff1d(np.arange(panel.n_weeks), block)
        coefficients = fit_nested_ridge(
            controls.residual[:, :, other_weeks],
            np.stack([price[:, other_weeks], units[:, other_weeks]]),
            weights[:, other_weeks],
            levels.nested,
            STRENGTH,
        )
        for target in range(2):
            remainder[target][:, block] -= apply_coefficients(
                coefficients[target], controls.residual[:, :, block]
            )
    remainder = np.where(weights > 0, remainder, 0.0)
    return Residuals(
        weights=weights,
        controls=controls,
        price=price,
        units=units,
        price_residual=remainder[0],
        units_residual=remainder[1],
        level=response.values - units,
    )


def remove_levels(values: Float64Array, weights: Float64Array, levels: Levels) -> Float64Array:
    """Return values (S, W) less the series mean, the common movement and the weeks around.

    0 where the weight is 0.
    """
    centred = centre_series(np.where(weights > 0, values, 0.0), weights)
    common = estimate_common_movement(centred, weights, levels, COMMON_VARIANCE)
    alone = np.where(weights > 0, centred - common, 0.0)
    drift = average_other_weeks(alone, weights, _LEVEL_MEMORY)
    return np.where(weights > 0, alone - drift, 0.0)


def fit_control_effects(residuals: Residuals, slopes: Float64Array, levels: Levels) -> Float64Array:
    """Return the effect (S, F) of each control on log units, given price slopes (S,)."""
    remainder = residuals.units - slopes[:, None] * residuals.price
    coefficients = fit_nested_ridge(
        residuals.controls.residual, remainder[None], residuals.weights, levels.nested, STRENGTH
    )
    return np.asarray(coefficients[0])
