"""Moves of a price that its brand shares or not: what shoppers do when no other price moves.

When a supplier raises its prices, all shops that sell the brand do. Shoppers then find it no
cheaper elsewhere, so the moves of a whole brand show a response that is flatter than that to a
price which this shop alone changes (costs that competitors share are passed through further: Weyl
and Fabinger, Pass-through as an economic tool, Journal of Political Economy 2013). Moves within a
brand are free of it. Whether a shop's brands show this, and how far, is learnt from the difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array
from models.pricing.response.double_ml import Residuals
from models.pricing.response.group_regression import Groups, Levels
from models.pricing.response.panel import PricePanel
from models.pricing.response.treatments import REGULAR, combine_treatments

# Before the data: competitors move along in half of the shops, and then slopes look flatter by
# about so much (a third of a cost passed through by others, at an elasticity of -2).
_CHANCE_SHARED, _USUAL_DIFFERENCE = 0.5, 0.6
_DIFFERENCES = np.linspace(0.0, 3.0, 121)
_MIN_CLUSTERS = 5  # that move apart, in effect
# Variance of the regular slopes of the items of a group: an item whose own moves say more than that
# has its slope from them, another one from the moves of all.
_ITEM_VARIANCE = 0.36


@dataclass(frozen=True)
class SharedMoves:
    """By how much the moves that a brand shares make regular slopes look flatter, by series (S,).

    correction   0 or below, to be added to slopes
    variance     of the correction
    evidence     from 0 to 1: how far the shop's own weeks show that competitors move along
    """

    correction: Float64Array
    variance: Float64Array
    evidence: Float64Array


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
        return SharedMoves(*np.zeros((3, n)))
    regular = residuals.treatments_residual[REGULAR]
    weights = np.where((panel.brand != "")[:, None], residuals.weights, 0.0)
    explained = combine_treatments(responses, residuals.treatments_residual)
    unexplained = residuals.units_residual - explained
    names = np.char.add(np.char.add(zone.codes.astype(str), "\x1f"), panel.brand.astype(str))
    brands = Groups.from_values(names)
    total = np.maximum(brands.sum_by_group(weights), 1e-12)
    shared = (brands.sum_by_group(weights * regular) / total)[brands.codes]
    own = _measure_errors(weights * (regular - shared), regular, unexplained, np.arange(n), zone)
    common = _measure_errors(weights * shared, regular, unexplained, brands.codes, zone)
    learnt = [
        _learn_difference(difference, variance)
        for difference, variance in zip(
            common.error - own.error, common.variance + own.variance, strict=True
        )
    ]
    mean, deviation, evidence = np.array(learnt).T
    share = _find_shares(
        (weights * shared * regular).sum(1), (residuals.weights * regular**2).sum(1), zone
    )
    return SharedMoves(
        correction=-share * (mean * evidence)[zone.codes],
        variance=(share * deviation[zone.codes]) ** 2,
        evidence=evidence[zone.codes],
    )


def _find_shares(shared: Float64Array, total: Float64Array, zone: Groups) -> Float64Array:
    """Return which share of what a slope rests on are moves that a brand shares (S,).

    shared, total   (S,) what these moves, and all, say of a slope: one over the variance of an
                    error. As far as a series says little itself, its slope is that of its zone
    """
    of_zone = zone.sum_by_group(shared) / np.maximum(zone.sum_by_group(total), 1e-12)
    known_alone = _ITEM_VARIANCE * total / (1 + _ITEM_VARIANCE * total)
    of_series = shared / np.maximum(total, 1e-12)
    share = known_alone * of_series + (1 - known_alone) * of_zone[zone.codes]
    return np.asarray(np.clip(share, 0.0, 1.0))


@dataclass(frozen=True)
class _Errors:
    """Errors of regular slopes by one part of the prices, by zone (Z,).

    variance   of the errors; infinite where too few clusters move
    """

    error: Float64Array
    variance: Float64Array


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
    return _Errors(error, np.where(enough, variance, np.inf))


class _Difference(NamedTuple):
    """Mean and standard deviation of the true difference, and the evidence for it, from 0 to 1."""

    mean: float
    deviation: float
    evidence: float


def _learn_difference(difference: float, variance: float) -> _Difference:
    """Return what a measured difference says of the true one.

    0 where nothing is known of it (an infinite variance). It is 0, or half normal (spike and slab:
    Mitchell and Beauchamp, Bayesian variable selection in linear regression, JASA 1988). What was
    believed before is no evidence: it counts as far as the chance of a difference has grown.
    """
    if not np.isfinite(variance):
        return _Difference(0.0, 0.0, 0.0)
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
    chance = float(slab.sum() / total)
    evidence = max((chance - _CHANCE_SHARED) / (1 - _CHANCE_SHARED), 0.0)
    return _Difference(mean, float(np.sqrt(max(square - mean**2, 0.0))), evidence)
