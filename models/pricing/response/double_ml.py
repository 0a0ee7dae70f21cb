"""Double machine learning: residuals of prices and units, predicted from other weeks.

Chernozhukov et al., Double/debiased machine learning for treatment and structural parameters,
Econometrics Journal 2018: the regression of unit residuals on price residuals gives the response,
free of first-order errors of the two predictions, as long as each week is predicted by a model
that was fitted on other weeks. Prices are three treatments here (`treatments`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float64Array
from models.pricing.response.controls import Controls, average_other_weeks
from models.pricing.response.group_regression import (
    Levels,
    apply_coefficients,
    centre_series,
    estimate_common_movement,
    fit_nested_ridge,
)
from models.pricing.response.panel import PricePanel
from models.pricing.response.treatments import N_TREATMENTS, build_treatments, combine_treatments
from models.pricing.response.working_response import WorkingResponse

# Prior variance of the common movement of log units from week to week.
COMMON_VARIANCE = 0.5
# Weight of the prior that a group's effects equal those of the wider group.
STRENGTH = 100.0
# Weeks after which the other weeks' information on an item's level of demand falls to 1 / e.
_LEVEL_MEMORY = 12.0


@dataclass(frozen=True)
class Residuals:
    """(S, W) each, treatments (3, S, W); 0 where a week is no observation.

    treatments, units   less the mean of the series, the common movement, and the weeks around
    treatments_residual, units_residual   also without what the controls predict from other weeks
    level               what was taken from the units: the mean of the series, the common movement,
                        and the weeks around
    """

    weights: Float64Array
    controls: Controls
    treatments: Float64Array
    units: Float64Array
    treatments_residual: Float64Array
    units_residual: Float64Array
    level: Float64Array


def residualise(
    panel: PricePanel,
    response: WorkingResponse,
    levels: Levels,
    controls: tuple[tuple[str, ...], Float64Array],
    n_folds: int,
) -> Residuals:
    """Return the residuals, cross-fitted over `n_folds` blocks of consecutive weeks.

    `controls` are names and values (F, S, W) as `build_controls` returns them.
    """
    weights = response.weights
    names, raw = controls
    targets = np.stack(
        [
            remove_levels(values, weights, levels)
            for values in (*build_treatments(panel), response.values)
        ]
    )
    residual_controls = np.zeros(raw.shape)
    for row, control in enumerate(raw):
        residual_controls[row] = remove_levels(control, weights, levels)
    remainder = targets.copy()
    for block in np.array_split(np.arange(panel.n_weeks), n_folds):
        other_weeks = np.setdiff1d(np.arange(panel.n_weeks), block)
        coefficients = fit_nested_ridge(
            residual_controls[:, :, other_weeks],
            targets[:, :, other_weeks],
            weights[:, other_weeks],
            levels.nested,
            STRENGTH,
        )
        for row, of_target in enumerate(coefficients):
            explained = apply_coefficients(of_target, residual_controls[:, :, block])
            remainder[row][:, block] -= explained
    remainder = np.where(weights > 0, remainder, 0.0)
    return Residuals(
        weights=weights,
        controls=Controls(names, raw, residual_controls),
        treatments=targets[:N_TREATMENTS],
        units=targets[N_TREATMENTS],
        treatments_residual=remainder[:N_TREATMENTS],
        units_residual=remainder[N_TREATMENTS],
        level=response.values - targets[N_TREATMENTS],
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


def fit_control_effects(
    residuals: Residuals, responses: Float64Array, levels: Levels
) -> Float64Array:
    """Return the effect (S, F) of each control on log units, given price responses (S, 3)."""
    remainder = residuals.units - combine_treatments(responses, residuals.treatments)
    coefficients = fit_nested_ridge(
        residuals.controls.residual, remainder[None], residuals.weights, levels.nested, STRENGTH
    )
    return np.asarray(coefficients[0])
