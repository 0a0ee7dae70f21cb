"""The part of a promotion's response that is demand which was coming anyway.

Promotions are planned for weeks in which more is sold than usual, so a part of what is sold in them
is not their effect. Demand that was foreseen has begun before: units in the week before a promotion
show it, when nobody can respond to the promotion yet (Freyaldenhoven, Hansen and Shapiro, Pre-event
trends in the panel event-study design, American Economic Review 2019).

S series over W weeks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float64Array
from models.pricing.response.double_ml import Residuals, remove_levels
from models.pricing.response.group_regression import Levels
from models.pricing.response.panel import PricePanel
from models.pricing.response.shrink_responses import PUBLISHED_SPREAD
from models.pricing.response.treatments import (
    ANNOUNCED,
    DEPTH,
    N_TREATMENTS,
    build_treatments,
)

# Of what raises demand in a week about so much is there in the week before: an assumption, as the
# noise of single weeks hides it; and how far what follows from it may be off, a share of it.
_MEMORY, _ERROR_OF_MEMORY = 0.6, 0.33
_WEEKS_BEFORE = 4
# A promotion has an effect of its own: at least so much of its response is left.
_LEAST_LEFT = 0.5
_REDUCTIONS = [DEPTH, ANNOUNCED]
# What is foreseen varies by no more than the responses themselves do between shops. It decides
# where the sales say nothing, as of depth and step where all reductions are of one depth.
_PRIOR_SPREAD = PUBLISHED_SPREAD[_REDUCTIONS]
_RIDGE = 1e-6


@dataclass(frozen=True)
class ForeseenDemand:
    """The part of the responses (3,) to treatments that is foreseen demand, and its error."""

    mean: Float64Array
    error: Float64Array

    def take_from(self, responses: Float64Array) -> Float64Array:
        """Return responses (S, 3) without what was foreseen; at least half of each is left."""
        most = (1 - _LEAST_LEFT) * np.maximum(np.sign(self.mean) * responses, 0.0)
        return np.asarray(responses - np.sign(self.mean) * np.minimum(np.abs(self.mean), most))


def measure_foreseen_demand(
    panel: PricePanel,
    residuals: Residuals,
    unexplained: Float64Array,
    levels: Levels,
    responses: Float64Array,
) -> ForeseenDemand:
    """Measure foreseen demand by residual log units (S, W) that nothing explains; `responses` (3,)
    are the mean ones.

    Errors are clustered by series. Where fewer units than usual are sold before a promotion, as
    shoppers who know of it wait, nothing is taken from its response.
    """
    weights = residuals.weights.copy()
    weights[:, -_WEEKS_BEFORE:] = 0.0  # what is promoted after the last week is not known
    coming = [_add_weeks_to_come(values) for values in build_treatments(panel)[_REDUCTIONS]]
    design = np.stack(
        [
            *(remove_levels(values, weights, levels) for values in coming),
            *residuals.treatments[_REDUCTIONS],
        ]
    )
    products = np.einsum("asw,sw,bsw->ab", design, weights, design, optimize=True)
    n = len(_REDUCTIONS)
    prior_precision = np.diag(np.append(1 / _PRIOR_SPREAD**2, np.full(n, _RIDGE)))
    inverse = np.linalg.inv(products + prior_precision)
    coefficients = inverse @ np.einsum("asw,sw,sw->a", design, weights, unexplained, optimize=True)
    missed = unexplained - np.einsum("a,asw->sw", coefficients, design)
    scores = np.einsum("asw,sw,sw->as", design, weights, missed, optimize=True)
    errors = scores @ scores.T + prior_precision
    variance = np.maximum(np.diag(inverse @ errors @ inverse), 0.0)
    sign, variance = np.sign(responses[_REDUCTIONS]), variance[:n]
    foreseen = np.maximum(sign * coefficients[:n], 0.0)
    # Little where it may be chance (James and Stein, Estimation with quadratic loss, 1961).
    foreseen *= np.maximum(1 - variance / np.maximum(foreseen**2, 1e-12), 0.0)
    mean, error = np.zeros((2, N_TREATMENTS))
    mean[_REDUCTIONS] = sign * foreseen
    error[_REDUCTIONS] = np.hypot(np.sqrt(variance), foreseen * _ERROR_OF_MEMORY)
    return ForeseenDemand(mean, error)


def _add_weeks_to_come(values: Float64Array) -> Float64Array:
    """Return the sums of the values (S, W) of the weeks to come, each as far as it shows already.

    >>> _add_weeks_to_come(np.array([[0.0, 0.0, 1.0, 0.0]])).round(2).tolist()
    [[0.36, 0.6, 0.0, 0.0]]
    """
    total = np.zeros(values.shape)
    for weeks in range(1, _WEEKS_BEFORE + 1):
        total[:, :-weeks] += _MEMORY**weeks * values[:, weeks:]
    return total
