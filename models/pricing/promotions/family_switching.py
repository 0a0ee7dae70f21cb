"""Units that promoted items take from each other and from the rest of their family.

F   possible futures
k   items of one family
"""

from __future__ import annotations

import numpy as np

from features.contracts.arrays import Float64Array

_NEARLY_ALL = 1e-9


def share_family_units(
    units: Float64Array, promoted: Float64Array, switching: float
) -> Float64Array:
    """Return the units (k, F) of a family some items of which are promoted.

    `units` (k, F) without the promotion; `promoted` (k, F) what each item would sell if it alone
    was promoted, equal to `units` where it is not. Of what one item gains alone the share
    `switching` comes from the others, at most all that they sell. The family sells what it sold,
    plus the rest of all gains; buyers share it out by attraction, and each attraction is the one
    that explains what the item sells if promoted alone. So an item promoted alone sells exactly
    `promoted`, items promoted alike sell alike, and nothing falls below 0.

    >>> units, promoted = np.full((2, 1), 100.0), np.full((2, 1), 200.0)
    >>> share_family_units(units, promoted, 0.5).ravel().round(6).tolist()  # 200 + .5 * 200
    [150.0, 150.0]
    """
    total = units.sum(0)
    others = total - units
    gain = promoted - units
    switched = np.minimum(switching * gain, others * (1 - _NEARLY_ALL))
    family_if_alone = total + gain - switched
    share = promoted / np.maximum(family_if_alone, 1e-300)
    attraction = share * others / np.maximum(1 - share, 1e-15)
    # An item without any other keeps what it sells alone.
    alone = others <= _NEARLY_ALL * np.maximum(total, 1e-300)
    weight = np.maximum(np.where(alone, promoted, attraction), 0.0)
    sum_of_weights = np.maximum(weight.sum(0), 1e-300)
    return np.asarray((total + (gain - switched).sum(0)) * weight / sum_of_weights)
