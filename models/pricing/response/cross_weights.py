"""Cross weights: how strongly each item's price moves the units of the others of its family.

Either all items weigh the same, or each by its share of the sales. The shop's sales decide which,
by one coefficient for all families: with many coefficients the choice would follow the noise.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from features.contracts.arrays import Float64Array
from models.pricing.response.controls import sum_over_family
from models.pricing.response.double_ml import remove_levels
from models.pricing.response.group_regression import Groups, Levels, centre_series
from models.pricing.response.panel import PricePanel

Weighting = Literal["equal", "sales"]
WEIGHTINGS: tuple[Weighting, ...] = get_args(Weighting)


def compute_cross_weights(panel: PricePanel, levels: Levels, weighting: Weighting) -> Float64Array:
    """Return the cross weight of each series (S,).

    equal   one over the number of others in the family
    sales   the share of the family's mean weekly units
    """
    family = levels.family or Groups.from_values(np.arange(len(panel.units)))
    if weighting == "equal":
        n = family.sum_by_group(np.ones(len(panel.units)))
        return np.asarray(1 / np.maximum(n - 1, 1))[family.codes]
    n_observed = np.maximum(panel.observed.sum(1), 1)
    mean_units = np.asarray((panel.units * panel.observed).sum(1) / n_observed)
    return np.asarray(mean_units / np.maximum(family.sum_by_group(mean_units)[family.codes], 1e-9))


def choose_cross_weights(
    panel: PricePanel, levels: Levels, unexplained: Float64Array, weights: Float64Array
) -> Float64Array:
    """Return the cross weights (S,) of the weighting that explains more of the units.

    `unexplained` (S, W) is what a fit without families leaves of the log units.
    """

    def measure_explained(cross_weights: Float64Array) -> float:
        price = centre_series(np.where(weights > 0, panel.log_price, 0.0), weights)
        family_price = remove_levels(sum_over_family(price, cross_weights, levels), weights, levels)
        spread = float((weights * family_price**2).sum())
        if spread <= 0:
            return 0.0
        return float((weights * family_price * unexplained).sum()) ** 2 / spread

    candidates = (compute_cross_weights(panel, levels, weighting) for weighting in WEIGHTINGS)
    return max(candidates, key=measure_explained)
