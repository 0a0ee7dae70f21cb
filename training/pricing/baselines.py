"""Simpler ways to foretell a price change: what a price response must beat."""

from __future__ import annotations

import numpy as np

from features.contracts.arrays import BoolArray, Float64Array
from features.contracts.categories import codes
from models.pricing.response.panel import PricePanel
from models.pricing.response.shrinkage import shrink_slopes

POOLED, CATEGORY, OWN, OWN_CHANGES, EMPIRICAL_BAYES = (
    "pooled",
    "category",
    "own OLS",
    "own OLS of changes",
    "empirical Bayes",
)


def baseline_slopes(earlier: PricePanel) -> dict[str, Float64Array]:
    """A slope per series: one for all, one per category, own least squares, and own drawn to the
    category.

    Least squares as everyone has it: every week weighs the same, and nothing else is taken out.
    """
    price, units, both = changes(earlier)
    price, units = np.where(both, price, 0.0), np.where(both, units, 0.0)
    pooled = float((price * units).sum() / max(float((price**2).sum()), 1e-12))
    category = codes(earlier.category, 2)
    n = int(category.max()) + 1
    spread = np.bincount(category, (price**2).sum(1), n)
    moved = spread > 1e-4
    by_category = np.bincount(category, (price * units).sum(1), n) / np.maximum(spread, 1e-9)
    of_changes, _ = _least_squares(price, units, both, pooled)
    sold = earlier.sold
    levels = _centred(earlier.log_price, sold), _centred(_log_units(earlier), sold)
    own, variances = _least_squares(*levels, sold, pooled)
    drawn, _ = shrink_slopes(own, variances, [category])
    return {
        POOLED: np.full(len(category), pooled),
        CATEGORY: np.where(moved, by_category, pooled)[category],
        OWN: own,
        OWN_CHANGES: of_changes,
        EMPIRICAL_BAYES: drawn,
    }


def changes(panel: PricePanel) -> tuple[Float64Array, Float64Array, BoolArray]:
    """(S, W - 1) moves of log price and log units from week to week, and whether something was sold
    in both weeks."""
    sold = panel.sold
    return (
        np.diff(panel.log_price, axis=1),
        np.diff(_log_units(panel), axis=1),
        sold[:, 1:] & sold[:, :-1],
    )


def _log_units(panel: PricePanel) -> Float64Array:
    return np.asarray(np.log(np.where(panel.sold, panel.units, 1.0)))


def _centred(values: Float64Array, known: BoolArray) -> Float64Array:
    mean = np.where(known, values, 0.0).sum(1) / np.maximum(known.sum(1), 1)
    return np.where(known, values - mean[:, None], 0.0)


def _least_squares(
    price: Float64Array, units: Float64Array, known: BoolArray, otherwise: float
) -> tuple[Float64Array, Float64Array]:
    """Least squares per series (S,) and its variance; `otherwise` where the price hardly moved."""
    spread = (price**2).sum(1)
    moved = spread > 1e-4
    slopes = np.where(moved, (price * units).sum(1) / np.maximum(spread, 1e-9), otherwise)
    residual = np.where(known, units - slopes[:, None] * price, 0.0)
    variances = (residual**2).sum(1) / np.maximum(known.sum(1) - 2, 1) / np.maximum(spread, 1e-9)
    return slopes, np.where(moved, np.maximum(variances, 1e-6), 1e4)
