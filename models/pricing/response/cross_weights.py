"""Cross weights of the log-linear form: how strongly an item's price moves others of its nest.

Either all items weigh the same, or each by its share of the sales. The shop's sales decide which,
by one coefficient for all nests: with many coefficients the choice would follow the noise.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from features.contracts.arrays import Float64Array
from models.pricing.response.controls import sum_over_nest
from models.pricing.response.double_ml import remove_levels
from models.pricing.response.group_regression import Levels, centre_series
from models.pricing.response.nests import Nests
from models.pricing.response.panel import PricePanel

Weighting = Literal["equal", "sales"]
_LIMITED_BELOW = 0.5  # of the mean sales of the nest
WEIGHTINGS: tuple[Weighting, ...] = get_args(Weighting)


def compute_cross_weights(nests: Nests, weighting: Weighting) -> Float64Array:
    """Return the cross weight of each series (S,).

    equal   one over the number of others in the nest; in proportion to its sales for an item that
            sells less than half the mean of its nest: it has not that much to take
    sales   its share of the nest's sales
    """
    if weighting == "sales":
        return nests.share
    n = nests.groups.sum_by_group(np.ones(len(nests.share)))[nests.groups.codes]
    limit = np.minimum(n * nests.share / _LIMITED_BELOW, 1.0)
    return np.asarray(limit / np.maximum(n - 1, 1))


def choose_cross_weights(
    panel: PricePanel,
    nests: Nests,
    levels: Levels,
    unexplained: Float64Array,
    weights: Float64Array,
) -> Float64Array:
    """Return the cross weights (S,) of the weighting that explains more of the units.

    `unexplained` (S, W) is what a fit without nests leaves of the log units.
    """

    def measure_explained(cross_weights: Float64Array) -> float:
        price = centre_series(np.where(weights > 0, panel.log_price, 0.0), weights)
        of_others = sum_over_nest(price, cross_weights, nests)
        of_others = remove_levels(of_others, weights, levels)
        spread = float((weights * of_others**2).sum())
        if spread <= 0:
            return 0.0
        return float((weights * of_others * unexplained).sum()) ** 2 / spread

    candidates = (compute_cross_weights(nests, weighting) for weighting in WEIGHTINGS)
    return max(candidates, key=measure_explained)
