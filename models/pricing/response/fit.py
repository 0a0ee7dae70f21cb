"""Fits a price response: one slope of log units on log price per item and zone.

What else explains prices and units is taken out first, predicted from other weeks (`double_ml`);
each slope is then shrunk towards its category's and department's (`shrinkage`). Units are fitted as
counts where prices are listed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array
from features.contracts.categories import codes
from features.contracts.errors import BadInput
from models.pricing.response.cross_weights import choose_cross_weights, compute_cross_weights
from models.pricing.response.double_ml import (
    Residuals,
    build_log_response,
    build_poisson_response,
    fit_control_effects,
    residualise,
)
from models.pricing.response.elasticity import ElasticityModel
from models.pricing.response.group_regression import Levels, apply_coefficients
from models.pricing.response.instruments import correct_with_costs
from models.pricing.response.panel import PricePanel
from models.pricing.response.shrinkage import shrink_slopes

_NO_EVIDENCE = 1e4  # the variance of a slope about which nothing is known
_SCORING_STEPS = 4  # the first on log units, the others on counts


@dataclass(frozen=True)
class ElasticityConfig:
    """How a price response is fitted.

    noise             variance of log units beyond the Poisson part 1 / units
    min_weeks         selling weeks that a slope needs
    min_change        a price change is larger than this in log price from one week to the next
    category_depths   levels of the category path towards which slopes are shrunk
    n_folds           blocks of weeks; each is predicted by models fitted on the others
    """

    noise: float = 0.1
    min_weeks: int = 8
    min_change: float = 0.05
    category_depths: tuple[int, ...] = (2, 1)
    n_folds: int = 4


@dataclass(frozen=True)
class FittedElasticities:
    """A model, and the panel and residuals that its slopes were last fitted on."""

    model: ElasticityModel
    panel: PricePanel
    residuals: Residuals


def fit_elasticities(panel: PricePanel, config: ElasticityConfig) -> ElasticityModel:
    """Fit all series that sold in at least `min_weeks` weeks. BadInput when there is none."""
    return fit_with_residuals(panel, config).model


def fit_with_residuals(panel: PricePanel, config: ElasticityConfig) -> FittedElasticities:
    """Fit as `fit_elasticities` does, and return what the slopes were fitted on as well."""
    sells_enough = panel.sold.sum(1) >= config.min_weeks
    if not sells_enough.any():
        raise BadInput(
            f"no item sold in {config.min_weeks} weeks or more, so no price response can be fitted",
            hint="Import more history, or lower min_weeks with --set",
        )
    panel = panel.select_series(sells_enough)
    levels = Levels.from_panel(panel, config.category_depths)
    fit = _fit_cross_weights_and_slopes(panel, levels, config)
    residuals, slopes = fit.residuals, fit.slopes
    mean, variance = correct_with_costs(panel, residuals, levels, slopes.mean, slopes.variance)
    error = np.sqrt(variance)
    price_range = _measure_price_range(panel, config.min_change)
    model = ElasticityModel(
        panel.item_ids,
        panel.zones,
        controls=residuals.controls.names,
        elasticity=mean,
        error=error,
        own=slopes.own,
        own_error=np.sqrt(slopes.own_variance),
        n_changes=price_range.n_changes,
        lowest=price_range.lowest,
        highest=price_range.highest,
        grade=_grade_evidence(mean, error, price_range),
        effects=slopes.effects,
        family=panel.family,
        pull=fit.cross_weights,
    )
    return FittedElasticities(model, panel, residuals)


@dataclass(frozen=True)
class _Slopes:
    """Price slopes with their variances (S,), and effects of the controls (S, F).

    own    of each series alone; mean: shrunk towards its category's
    """

    own: Float64Array
    own_variance: Float64Array
    mean: Float64Array
    variance: Float64Array
    effects: Float64Array


@dataclass(frozen=True)
class _SlopeFit:
    """Cross weights, the slopes fitted with them, their data, and unexplained log units (S, W)."""

    cross_weights: Float64Array
    residuals: Residuals
    slopes: _Slopes
    unexplained: Float64Array


def _fit_cross_weights_and_slopes(
    panel: PricePanel, levels: Levels, config: ElasticityConfig
) -> _SlopeFit:
    """Fit as if no item had a family, choose cross weights by what that leaves, and fit again."""
    equal_weights = compute_cross_weights(panel, levels, "equal")
    alone = _fit_with_cross_weights(panel, replace(levels, family=None), equal_weights, config)
    if levels.family is None:
        return alone
    cross_weights = choose_cross_weights(panel, levels, alone.unexplained, alone.residuals.weights)
    return _fit_with_cross_weights(panel, levels, cross_weights, config)


def _fit_with_cross_weights(
    panel: PricePanel, levels: Levels, cross_weights: Float64Array, config: ElasticityConfig
) -> _SlopeFit:
    log_response = response = build_log_response(panel, config.noise)
    for _ in range(_SCORING_STEPS):
        residuals = residualise(panel, response, levels, cross_weights, config.n_folds)
        slopes = _fit_slopes(residuals, levels, panel, config)
        explained = slopes.mean[:, None] * residuals.price + apply_coefficients(
            slopes.effects, residuals.controls.residual
        )
        response = build_poisson_response(
            panel, log_response, residuals.level + explained, config.noise
        )
    return _SlopeFit(cross_weights, residuals, slopes, residuals.units - explained)


def _fit_slopes(
    residuals: Residuals, levels: Levels, panel: PricePanel, config: ElasticityConfig
) -> _Slopes:
    """Fit the slopes in two steps.

    First on the residuals of units and price: right on average, whatever the controls do to both.
    From it follow the effects of the controls, which many series share and which are known well.
    With these taken from the units, each series' slope is fitted on all changes of its price, also
    those that come with a promotion: more precise, and as unbiased.
    """
    tree = [codes(panel.category, depth) for depth in config.category_depths]
    first_slopes, first_variances = fit_own_slopes(
        residuals.weights, residuals.price_residual, residuals.units_residual
    )
    first_mean, _ = shrink_slopes(first_slopes, first_variances, tree, relative=True)
    first_effects = fit_control_effects(residuals, first_mean, levels)
    net_units = residuals.units - apply_coefficients(first_effects, residuals.controls.residual)
    own, own_variance = fit_own_slopes(residuals.weights, residuals.price, net_units)
    mean, variance = shrink_slopes(own, own_variance, tree, relative=True)
    return _Slopes(
        own=own,
        own_variance=own_variance,
        mean=mean,
        variance=variance,
        effects=fit_control_effects(residuals, mean, levels),
    )


def fit_own_slopes(
    weights: Float64Array, price: Float64Array, units: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Return each series' weighted least-squares slope of units on price (S,), and its variance.

    All arguments (S, W).
    """
    spread = (weights * price**2).sum(1)
    slopes = (weights * price * units).sum(1) / np.maximum(spread, 1e-9)
    n_weeks = (weights > 0).sum(1)
    noise = (weights * (units - slopes[:, None] * price) ** 2).sum(1) / np.maximum(n_weeks - 2, 1)
    pooled = float((noise * n_weeks).sum() / max(n_weeks.sum(), 1))
    # The noise of a short series is itself uncertain: it borrows ten weeks of the pooled one.
    noise = (noise * n_weeks + pooled * 10) / (n_weeks + 10)
    price_moved = spread > 1e-4
    variances = np.where(price_moved, noise / np.maximum(spread, 1e-9), _NO_EVIDENCE)
    return np.where(price_moved, slopes, 0.0), np.maximum(variances, 1e-9)


@dataclass(frozen=True)
class _PriceRange:
    """(S,) number of price changes, and the 5 % and 95 % quantile of the prices, minor units."""

    n_changes: Int64Array
    lowest: Float64Array
    highest: Float64Array


def _measure_price_range(panel: PricePanel, min_change: float) -> _PriceRange:
    """Count and measure over the observed weeks; a change is larger than `min_change` in logs."""
    price = np.where(panel.observed, panel.log_price, np.nan)
    changed = np.abs(np.diff(price, axis=1)) > min_change
    ascending = np.sort(price, axis=1)  # NaN comes last
    counts = panel.observed.sum(1)
    series = np.arange(len(counts))
    lowest = ascending[series, (0.05 * (counts - 1)).astype(np.int64)]
    highest = ascending[series, np.ceil(0.95 * (counts - 1)).astype(np.int64)]
    return _PriceRange(changed.sum(1).astype(np.int64), np.exp(lowest), np.exp(highest))


def _grade_evidence(
    mean: Float64Array, error: Float64Array, price_range: _PriceRange
) -> Int64Array:
    """Return the index of each series' grade (S,).

    A to D by how often the price changed, how far, and how narrow the interval is; a slope not
    below 0 is D.
    """
    n_changes = price_range.n_changes
    width = np.log(price_range.highest / price_range.lowest)
    grade = np.full(len(mean), 3, np.int64)
    grade[n_changes >= 3] = 2
    grade[(n_changes >= 6) & (width >= 0.08) & (error <= 0.6)] = 1
    grade[(n_changes >= 12) & (width >= 0.15) & (error <= 0.35)] = 0
    grade[mean + error >= 0] = 3
    return grade
