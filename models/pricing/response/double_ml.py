"""Double machine learning: prices and units less what else explains them, foretold from other
weeks.

Chernozhukov et al., Double/debiased machine learning for treatment and structural parameters,
Econometrics Journal 2018: what is left of the units on what is left of the price gives the
response, without the error of the two explanations in first order, as long as each week is
explained by a model that was fitted on other weeks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float64Array
from models.pricing.response.controls import Controls, around, raw_controls
from models.pricing.response.group_regression import (
    Levels,
    centred,
    coefficients,
    common,
    explained,
)
from models.pricing.response.panel import PricePanel

COMMON_VARIANCE = (
    0.5  # of the common movement of log units from week to week, before the data are seen
)
STRENGTH = 100.0  # weight of a group's departure from the wider group's effects at 0
_AROUND = (
    12.0  # weeks, in which what the others tell of how demand for an item stands falls to 1 / e
)


@dataclass(frozen=True)
class Response:
    """What is explained: log units, or their working values, with the weight of each week; both (S,
    W)."""

    values: Float64Array
    weights: Float64Array


@dataclass(frozen=True)
class Residuals:
    """(S, W) each; 0 where a week says nothing.

    price, units   less the mean of the series, what is common to others, and the weeks around
    price_left, units_left   without what the controls foretell from other weeks, too
    level          what was taken from the units: the mean of the series, what is common, and the
                   weeks around
    """

    weights: Float64Array
    controls: Controls
    price: Float64Array
    units: Float64Array
    price_left: Float64Array
    units_left: Float64Array
    level: Float64Array


def first_response(panel: PricePanel, noise: float) -> Response:
    """Log units of the weeks that sold something. A week of few units says little about log
    units."""
    units = np.where(panel.sold, panel.units, 1.0)
    weights = np.where(panel.sold, 1 / (1 / units + noise), 0.0)
    return Response(np.log(units), weights)


def counted_response(
    panel: PricePanel, first: Response, fitted: Float64Array, noise: float
) -> Response:
    """Poisson form: a step of Fisher scoring towards the quasi-likelihood of counts, zeros among
    them.

    Where prices are listed the working value is fitted + (units - mean) / mean, of weight 1 / (1 /
    mean + noise) (McCullagh and Nelder, Generalized linear models, 2.5); elsewhere a week without a
    sale has no price, and log units stay.
    """
    mean = np.exp(np.clip(fitted, -4.0, 15.0))
    counted = panel.seen & panel.listed[:, None]
    values = np.where(counted, fitted + (panel.units - mean) / mean, first.values)
    weights = np.where(
        counted, 1 / (1 / mean + noise), np.where(panel.listed[:, None], 0.0, first.weights)
    )
    return Response(values, weights)


def residualise(
    panel: PricePanel, response: Response, levels: Levels, pull: Float64Array, n_folds: int
) -> Residuals:
    """Cross-fitted over `n_folds` blocks of consecutive weeks; `pull` (S,) as in `raw_controls`."""
    weights = response.weights
    centre = centred(np.where(weights > 0, panel.log_price, 0.0), weights)
    names, raw = raw_controls(panel, centre, levels, pull)

    price, units = (rest(values, weights, levels) for values in (panel.log_price, response.values))
    controls = Controls(names, raw, np.stack([rest(control, weights, levels) for control in raw]))
    left = np.stack([price, units])
    for block in np.array_split(np.arange(panel.n_weeks), n_folds):
        others = np.setdiff1d(np.arange(panel.n_weeks), block)
        known, targets = (
            controls.residual[:, :, others],
            np.stack([price[:, others], units[:, others]]),
        )
        found = coefficients(known, targets, weights[:, others], levels.nested, STRENGTH)
        for place in range(2):
            left[place][:, block] -= explained(found[place], controls.residual[:, :, block])
    left = np.where(weights > 0, left, 0.0)
    return Residuals(weights, controls, price, units, left[0], left[1], response.values - units)


def rest(values: Float64Array, weights: Float64Array, levels: Levels) -> Float64Array:
    """(S, W) less the mean of the series, what is common to others, and the weeks around; 0 where
    nothing is said."""
    centre = centred(np.where(weights > 0, values, 0.0), weights)
    alone = np.where(weights > 0, centre - common(centre, weights, levels, COMMON_VARIANCE), 0.0)
    return np.where(weights > 0, alone - around(alone, weights, _AROUND), 0.0)


def effects(residuals: Residuals, slopes: Float64Array, levels: Levels) -> Float64Array:
    """(S, F) effect of each control on log units, given the slope on log price of each series."""
    rest = residuals.units - slopes[:, None] * residuals.price
    found = coefficients(
        residuals.controls.residual, rest[None], residuals.weights, levels.nested, STRENGTH
    )
    return np.asarray(found[0])
