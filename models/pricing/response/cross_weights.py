"""How strongly each item's price moves the others of its family: all alike, or the more the more it
sells.

Which holds in a shop is told by its sales, by one coefficient for all families: many coefficients
follow the noise, and what they explain beside the truth hides which way is nearer to it.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from features.contracts.arrays import Float64Array
from models.pricing.response.controls import neighbours
from models.pricing.response.double_ml import rest
from models.pricing.response.group_regression import Groups, Levels, centred
from models.pricing.response.panel import PricePanel

Sharing = Literal["equal", "sales"]
SHARINGS: tuple[Sharing, ...] = get_args(Sharing)


def pulls(panel: PricePanel, levels: Levels, sharing: Sharing) -> Float64Array:
    """(S,) how strongly each item's price moves the others of its family: all alike, or by its
    share of the sales."""
    family = levels.family or Groups.of(np.arange(len(panel.units)))
    if sharing == "equal":
        n = family.sums(np.ones(len(panel.units)))
        return np.asarray(1 / np.maximum(n - 1, 1))[family.codes]
    size = np.asarray((panel.units * panel.seen).sum(1) / np.maximum(panel.seen.sum(1), 1))
    return np.asarray(size / np.maximum(family.sums(size)[family.codes], 1e-9))


def told_by_sales(
    panel: PricePanel, levels: Levels, left: Float64Array, weights: Float64Array
) -> Float64Array:
    """`pulls` of the way that explains most of what is `left` (S, W) of the units where no family
    is looked at."""

    def told(pull: Float64Array) -> float:
        price = centred(np.where(weights > 0, panel.log_price, 0.0), weights)
        moved = rest(neighbours(price, pull, levels), weights, levels)
        spread = float((weights * moved**2).sum())
        return float((weights * moved * left).sum()) ** 2 / spread if spread > 0 else 0.0

    return max((pulls(panel, levels, sharing) for sharing in SHARINGS), key=told)
