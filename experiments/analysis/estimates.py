"""Means and ratios of the variants of an experiment, adjusted by what units did before (CUPED).

A metric is R = mean(value) / mean(base), where base is 1 for a mean. By the delta method (Deng,
Knoblich and Lu 2018) the error of R is that of a mean of unit influences (value - R base) /
mean(base). CUPED (Deng, Xu, Kohavi and Walker 2013) subtracts from them what the influences of the
pre-period explain: theta times the prior influence, and theta_new times the indicator of units
without a past, so that these keep a mean of their own. Both thetas are the least-squares
coefficients over the units of all variants together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.analysis.moments import NO_VALUES, Moments
from experiments.analysis.sums import UnitSums, add_sums
from features.contracts.arrays import Float64Array

_COLLINEAR = 1e-10
"""Eigenvalues of the correlation matrix of covariates below this share count as 0."""
_ROUNDING = 1e-12
"""A variance below this share of the terms that it is the difference of counts as 0."""


@dataclass(frozen=True)
class UnitMoments:
    """Means [..., columns] and sample covariances [..., columns, columns] of `sums.COLUMNS`.

    Leading dimensions are independent data sets.
    """

    means: Float64Array
    covariances: Float64Array


@dataclass(frozen=True)
class Adjustment:
    """What the pre-period explains, from all variants together.

    coefficients   of the prior influence and of `is_new`. [..., 2]
    centre         their means over all units. [..., 2]
    """

    coefficients: Float64Array
    centre: Float64Array


def estimate_metric(sums_by_variant: Mapping[str, UnitSums]) -> dict[str, Moments]:
    """Return mean or ratio of each variant, with the variance of a unit's influence.

    The moments of a variant with an undefined ratio or without units have no mean. Sums with prior
    columns give adjusted estimates. Every test of moments then applies: the squared error of the
    mean is variance / n.
    """
    usable = {
        name: UnitMoments(sums.compute_means(), sums.compute_covariances())
        for name, sums in sums_by_variant.items()
        if sums.n > 1 and sums.compute_means()[1] > 0
    }
    if not usable:
        return {name: _estimate_few(sums) for name, sums in sums_by_variant.items()}
    pooled = add_sums(sums for name, sums in sums_by_variant.items() if name in usable)
    adjustment = fit_adjustment(UnitMoments(pooled.compute_means(), pooled.compute_covariances()))
    estimates = {}
    for name, sums in sums_by_variant.items():
        if name in usable:
            mean, variance = adjust(usable[name], adjustment)
            estimates[name] = Moments(sums.n, float(mean), float(variance))
        else:
            estimates[name] = _estimate_few(sums)
    return estimates


def estimate_prior(sums: UnitSums) -> Moments:
    """Return mean or ratio of the pre-period alone, for tests of imbalance before exposure."""
    if sums.n < 2 or sums.compute_means()[3] <= 0:
        return NO_VALUES
    moments = UnitMoments(sums.compute_means(), sums.compute_covariances())
    ratio, gradient = _linearise(moments, first=2)
    variance = _compute_variance(gradient, moments.covariances)
    return Moments(sums.n, float(ratio), float(variance))


def compute_explained_share(sums_by_variant: Sequence[UnitSums]) -> float:
    """Return the share of the influence variance that the pre-period explains (rho squared)."""
    pooled = add_sums(sums_by_variant)
    if pooled.n < 2 or pooled.compute_means()[1] <= 0:
        return 0.0
    moments = UnitMoments(pooled.compute_means(), pooled.compute_covariances())
    _, raw = adjust(moments, Adjustment(np.zeros(2), np.zeros(2)))
    _, rest = adjust(moments, fit_adjustment(moments))
    return 0.0 if raw <= 0 else float(np.clip(1 - rest / raw, 0.0, 1.0))


def fit_adjustment(pooled: UnitMoments) -> Adjustment:
    """Return the least-squares coefficients of the covariates over all units; 0 without spread."""
    _, outcome = _linearise(pooled, first=0)
    prior_ratio, prior = _linearise(pooled, first=2)
    covariates = np.stack([prior, _select_is_new(prior)], axis=-2)  # [..., 2, columns]
    spread = covariates @ pooled.covariances @ np.swapaxes(covariates, -1, -2)  # [..., 2, 2]
    shared = (covariates @ pooled.covariances @ outcome[..., None])[..., 0]  # [..., 2]
    variances = _compute_variance(covariates, pooled.covariances[..., None, :, :])  # [..., 2]
    is_constant = variances == 0
    scale = np.sqrt(np.where(is_constant, 1.0, variances))
    correlations = spread / (scale[..., :, None] * scale[..., None, :])
    correlations = np.where(
        is_constant[..., :, None] | is_constant[..., None, :], 0.0, correlations
    )
    inverse = np.linalg.pinv(correlations, rcond=_COLLINEAR, hermitian=True)
    coefficients = (inverse @ (shared / scale)[..., None])[..., 0] / scale
    centre = np.stack([prior_ratio, pooled.means[..., 4]], axis=-1)
    return Adjustment(coefficients, centre)


def adjust(moments: UnitMoments, adjustment: Adjustment) -> tuple[Float64Array, Float64Array]:
    """Return the adjusted ratio of a variant and the variance of a unit's influence on it."""
    ratio, outcome = _linearise(moments, first=0)
    prior_ratio, prior = _linearise(moments, first=2)
    theta, theta_new = adjustment.coefficients[..., 0], adjustment.coefficients[..., 1]
    shift = theta * (prior_ratio - adjustment.centre[..., 0]) + theta_new * (
        moments.means[..., 4] - adjustment.centre[..., 1]
    )
    gradient = (
        outcome - theta[..., None] * prior - theta_new[..., None] * _select_is_new(prior)
    )  # [..., columns]
    return ratio - shift, _compute_variance(gradient, moments.covariances)


def _linearise(moments: UnitMoments, *, first: int) -> tuple[Float64Array, Float64Array]:
    """Return the ratio of the columns first and first + 1, and its gradient [..., columns].

    Both are 0 where the denominator is 0.
    """
    value, base = moments.means[..., first], moments.means[..., first + 1]
    is_defined = base != 0
    ratio = np.divide(value, base, out=np.zeros_like(base), where=is_defined)
    gradient = np.zeros_like(moments.means)
    np.divide(1.0, base, out=gradient[..., first], where=is_defined)
    np.divide(-ratio, base, out=gradient[..., first + 1], where=is_defined)
    return ratio, gradient


def _select_is_new(like: Float64Array) -> Float64Array:
    """Return the gradient of the mean of `is_new`. [..., columns]"""
    gradient = np.zeros_like(like)
    gradient[..., 4] = 1.0
    return gradient


def _compute_variance(gradient: Float64Array, covariances: Float64Array) -> Float64Array:
    """Return gradient' covariances gradient; 0 where no more than rounding is left of its terms."""
    variance = np.einsum("...i,...ij,...j->...", gradient, covariances, gradient)
    terms = np.einsum("...i,...ii->...", gradient**2, covariances)
    return np.where(variance > _ROUNDING * terms, variance, 0.0)


def _estimate_few(sums: UnitSums) -> Moments:
    """Return the plain mean of one unit, without a variance; no values where it is undefined."""
    if sums.n != 1 or sums.compute_means()[1] <= 0:
        return Moments(sums.n, None, None) if sums.n else NO_VALUES
    means = sums.compute_means()
    return Moments(1, float(means[0] / means[1]), None)
