"""Simpler slopes that a price response must beat: pooled, by category, own, empirical Bayes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import BoolArray, Float64Array
from features.contracts.categories import codes
from models.pricing.response.panel import PricePanel
from training.pricing.empirical_bayes import shrink_slopes

POOLED = "pooled"
CATEGORY = "category"
OWN = "own OLS"
OWN_CHANGES = "own OLS of changes"
EMPIRICAL_BAYES = "empirical Bayes"


@dataclass(frozen=True)
class WeeklyChanges:
    """(S, W - 1) changes of log price and log units from week to week.

    sold_in_both   whether something was sold in both weeks; else the changes mean nothing
    """

    price: Float64Array
    units: Float64Array
    sold_in_both: BoolArray


def compute_weekly_changes(panel: PricePanel) -> WeeklyChanges:
    """Return the changes of all series of a panel."""
    sold = panel.sold
    return WeeklyChanges(
        price=np.diff(panel.log_price, axis=1),
        units=np.diff(_log_units(panel), axis=1),
        sold_in_both=sold[:, 1:] & sold[:, :-1],
    )


def fit_baseline_slopes(panel: PricePanel) -> dict[str, Float64Array]:
    """Return by baseline a slope of log units on log price per series (S,).

    One for all, one per category, own least squares, and the latter shrunk towards the category.
    Plain least squares: every week weighs the same, and nothing else is taken out.
    """
    changes = compute_weekly_changes(panel)
    both = changes.sold_in_both
    price, units = np.where(both, changes.price, 0.0), np.where(both, changes.units, 0.0)
    pooled = float((price * units).sum() / max(float((price**2).sum()), 1e-12))
    category = codes(panel.category, 2)
    n = int(category.max()) + 1
    spread = np.bincount(category, (price**2).sum(1), n)
    price_moved = spread > 1e-4
    category_slopes = np.bincount(category, (price * units).sum(1), n) / np.maximum(spread, 1e-9)
    of_changes, _ = _fit_least_squares(price, units, both, pooled)
    sold = panel.sold
    own, variances = _fit_least_squares(
        _centre(panel.log_price, sold), _centre(_log_units(panel), sold), sold, pooled
    )
    shrunk, _ = shrink_slopes(own, variances, [category])
    return {
        POOLED: np.full(len(category), pooled),
        CATEGORY: np.where(price_moved, category_slopes, pooled)[category],
        OWN: own,
        OWN_CHANGES: of_changes,
        EMPIRICAL_BAYES: shrunk,
    }


def _log_units(panel: PricePanel) -> Float64Array:
    return np.asarray(np.log(np.where(panel.sold, panel.units, 1.0)))


def _centre(values: Float64Array, known: BoolArray) -> Float64Array:
    """Return values less the mean of their series (S, W); 0 where unknown."""
    mean = np.where(known, values, 0.0).sum(1) / np.maximum(known.sum(1), 1)
    return np.where(known, values - mean[:, None], 0.0)


def _fit_least_squares(
    price: Float64Array, units: Float64Array, known: BoolArray, default: float
) -> tuple[Float64Array, Float64Array]:
    """Return a slope per series (S,) and its variance; `default` where the price hardly moved."""
    spread = (price**2).sum(1)
    price_moved = spread > 1e-4
    slopes = np.where(price_moved, (price * units).sum(1) / np.maximum(spread, 1e-9), default)
    residual = np.where(known, units - slopes[:, None] * price, 0.0)
    variances = (residual**2).sum(1) / np.maximum(known.sum(1) - 2, 1) / np.maximum(spread, 1e-9)
    return slopes, np.where(price_moved, np.maximum(variances, 1e-6), 1e4)
