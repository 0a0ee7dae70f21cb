"""What a shop's usual margins say of its price response: of own slopes, and of the nests.

Prices that were set to earn fit the response that is left when the nest has gained its part
(Lerner, The concept of monopoly, 1934). So margins say little of slopes or of nests alone, and much
of both together: where the nests gain more than was thought, own slopes are steeper, and what a
price change earns stays the same.

S series, G groups (the finest categories), Z points at which the diversion of the nests is tried.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array
from models.pricing.response.own_responses import OwnResponses
from models.pricing.response.shrink_responses import (
    IMPLIED_SPREAD,
    IMPLIED_STRENGTH,
    GroupSlopes,
    ShrunkenResponses,
    find_group_slopes,
    shrink_responses,
)

# Standard errors of the diversion around its expectation.
_POINTS = np.linspace(-2.5, 2.5, 21)
# Spreads of implied slopes around the true ones that are tried, as shares of the usual one.
_SPREADS = np.geomspace(0.1, 4.0, 15)


@dataclass(frozen=True)
class MarginEvidence:
    """Responses given the usual margins, and what these say of the nests.

    shift, spread   mean and standard deviation of the diversion by regular prices, in standard
                    errors from what the sales say of it
    moved           (S,) by how much regular responses are steeper (below 0) where the diversion is
                    one `spread` larger
    """

    shrunken: ShrunkenResponses
    shift: float
    spread: float
    moved: Float64Array

    @classmethod
    def without(cls, shrunken: ShrunkenResponses) -> MarginEvidence:
        """Return what is known without margins."""
        return cls(shrunken, 0.0, 1.0, np.zeros(len(shrunken.mean)))


def read_margins(
    own: OwnResponses,
    tree: Sequence[Int64Array],
    imply_slopes: Callable[[float], Float64Array],
    *,
    nested: bool,
) -> MarginEvidence:
    """Return the responses given the slopes (G,) that margins imply, NaN where unknown.

    `imply_slopes` returns them for a diversion so many standard errors above its expectation; they
    are the same for all where nothing is `nested`.
    """
    if not nested:
        return MarginEvidence.without(shrink_responses(own, tree, imply_slopes(0.0)))
    slopes = find_group_slopes(own, tree)
    log_likelihood = np.array(
        [_measure_likelihood(slopes, imply_slopes(float(point))) for point in _POINTS]
    )
    log_weight = log_likelihood - _POINTS**2 / 2
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    shift = float(weight @ _POINTS)
    spread = float(np.sqrt(weight @ (_POINTS - shift) ** 2))
    below, above = (
        shrink_responses(own, tree, imply_slopes(shift + sign * spread)).mean[:, 0]
        for sign in (-1, 1)
    )
    shrunken = shrink_responses(own, tree, imply_slopes(shift))
    return MarginEvidence(shrunken, shift, spread, (above - below) / 2)


def _measure_likelihood(slopes: GroupSlopes, implied: Float64Array) -> float:
    """Return the logarithm of the likelihood of implied slopes (G,), less a constant.

    They differ from the true ones by a spread that nobody knows: an inverse chi-square distribution
    around the usual one.
    """
    known = np.isfinite(implied)
    if not known.any():
        return 0.0
    distance = implied[known] - slopes.mean[known]
    covariance = np.diag(slopes.own_variance[known]) + slopes.common_variance
    values = []
    for ratio in _SPREADS:
        total = covariance + np.eye(len(distance)) * (ratio * IMPLIED_SPREAD) ** 2
        _, log_determinant = np.linalg.slogdet(total)
        fit = distance @ np.linalg.solve(total, distance)
        prior = -IMPLIED_STRENGTH * (np.log(ratio) + 1 / (2 * ratio**2))
        values.append(prior - (log_determinant + fit) / 2)
    return float(np.logaddexp.reduce(values))
