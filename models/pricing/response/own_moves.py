"""Moves of a price that its brand shares or not: what shoppers do when no other price moves.

When a supplier raises its prices, all shops that sell the brand do. Shoppers then find it no
cheaper elsewhere, so the moves of a whole brand show a response that is flatter than that to a
price which this shop alone changes (costs that competitors share are passed through further: Weyl
and Fabinger, Pass-through as an economic tool, Journal of Political Economy 2013). Moves within a
brand are free of it. Whether a shop's brands show this, and how far, is learnt from the difference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import BoolArray, Float64Array, Int64Array
from models.pricing.response.double_ml import Residuals
from models.pricing.response.group_regression import Groups, Levels
from models.pricing.response.panel import PricePanel
from models.pricing.response.treatments import REGULAR, combine_treatments

# Before the data: competitors move along in half of the shops, and then slopes look flatter by
# about so much (a third of a cost passed through by others, at an elasticity of -2).
_CHANCE_SHARED, _USUAL_DIFFERENCE = 0.5, 0.6
_DIFFERENCES = np.linspace(0.0, 3.0, 121)
_MIN_CLUSTERS = 5  # that move apart, in effect


@dataclass(frozen=True)
class SharedMoves:
    """By how much the moves that a brand shares make regular slopes look flatter, by series (S,).

    correction   0 or below, to be added to slopes
    variance     of the correction
    is_shared    it is more likely than not that competitors move along
    """

    correction: Float64Array
    variance: Float64Array
    is_shared: BoolArray


def measure_shared_moves(
    panel: PricePanel, residuals: Residuals, levels: Levels, responses: Float64Array
) -> SharedMoves:
    """Return the difference that shared moves make in each series' zone; 0 where none can be seen.

    Where the `responses` (S, 3) are right, the units that they leave unexplained are uncorrelated
    with both parts of a price: the mean of its brand in that week, and what sets it apart from
    that. Standard errors are clustered by series and by brand, since the errors of successive weeks
    are alike.
    """
    n, zone = len(responses), levels.zone
    if panel.brand is None:
        return SharedMoves(np.zeros(n), np.zeros(n), np.zeros(n, bool))
    weights = np.where((panel.brand != "")[:, None], residuals.weights, 0.0)
    regular = residuals.treatments_residual[REGULAR]
    explained = combine_treatments(responses, residuals.treatments_residual)
    unexplained = residuals.units_residual - explained
    names = np.char.add(np.char.add(zone.codes.astype(str), "\x1f"), panel.brand.astype(str))
    brands = Groups.from_values(names)
    total = np.maximum(brands.sum_by_group(weights), 1e-12)
    shared = (brands.sum_by_group(weights * regular) / total)[brands.codes]
    own = _measure_errors(weights * (regular - shared), regular, unexplained, np.arange(n), zone)
    common = _measure_errors(weights * shared, regular, unexplained, brands.codes, zone)
    share = common.weight / np.maximum(common.weight + own.weight, 1e-12)
    learnt = [
        _learn_difference(difference, variance)
        for difference, variance in zip(
            common.error - own.error, common.variance + own.variance, strict=True
        )
    ]
    mean, deviation, chance = np.array(learnt).T
    return SharedMoves(
        correction=(-share * mean)[zone.codes],
        variance=((share * deviation) ** 2)[zone.codes],
        is_shared=(chance > 0.5)[zone.codes],
    )


@dataclass(frozen=True)
class _Errors:
    """Errors of regular slopes by one part of the prices, by zone (Z,).

    variance   of the errors; infinite where too few clusters move
    weight     how much of what is known of the slopes this part makes up
    """

    error: Float64Array
    variance: Float64Array
    weight: Float64Array


def _measure_errors(
    weighted: Float64Array,
    regular: Float64Array,
    unexplained: Float64Array,
    clusters: Int64Array,
    zone: Groups,
) -> _Errors:
    """Return the errors by a part of the prices, `weighted` (S, W); `clusters` (S,) err alike."""
    cluster_of = Groups.from_values(clusters)
    zone_of = np.zeros(cluster_of.n, np.int64)
    zone_of[cluster_of.codes] = zone.codes
    of_zone = Groups.from_values(zone_of)
    weight = cluster_of.sum_by_group((weighted * regular).sum(1))
    score = cluster_of.sum_by_group((weighted * unexplained).sum(1))
    total = of_zone.sum_by_group(weight)
    n_clusters = total**2 / np.maximum(of_zone.sum_by_group(weight**2), 1e-12)
    enough = (total > 0) & (n_clusters >= _MIN_CLUSTERS)
    safe_total = np.where(enough, total, 1.0)
    error = np.where(enough, of_zone.sum_by_group(score) / safe_total, 0.0)
    squares = of_zone.sum_by_group((score - weight * error[of_zone.codes]) ** 2)
    variance = squares / safe_total**2 * n_clusters / np.maximum(n_clusters - 1, 1)
    return _Errors(error, np.where(enough, variance, np.inf), total)


def _learn_difference(difference: float, variance: float) -> tuple[float, float, float]:
    """Return mean and standard deviation of the true difference, and the chance that there is one.

    0 where nothing is known of it (an infinite variance). It is 0, or half normal (spike and slab:
    Mitchell and Beauchamp, Bayesian variable selection in linear regression, JASA 1988).
    """
    if not np.isfinite(variance):
        return 0.0, 0.0, 0.0
    step = _DIFFERENCES[1] - _DIFFERENCES[0]
    prior = np.exp(-0.5 * (_DIFFERENCES / _USUAL_DIFFERENCE) ** 2)
    prior *= _CHANCE_SHARED / (prior.sum() * step)
    log_likelihood = -0.5 * (difference - _DIFFERENCES) ** 2 / variance
    log_likelihood -= log_likelihood.max()
    likelihood = np.exp(log_likelihood)
    slab = prior * likelihood * step
    none = (1 - _CHANCE_SHARED) * likelihood[0]
    total = slab.sum() + none
    mean = float(slab @ _DIFFERENCES / total)
    square = float(slab @ _DIFFERENCES**2 / total)
    return mean, float(np.sqrt(max(square - mean**2, 0.0))), float(slab.sum() / total)
