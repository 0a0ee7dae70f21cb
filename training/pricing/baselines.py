"""Simpler predictions that a price response must beat, on the same prices and promotions.

One slope for all, by category, own, empirical Bayes; and empirical Bayes with what promotions add
by category, which knows the same calendar as the price response does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import BoolArray, Float64Array, Int64Array
from features.contracts.categories import codes
from models.pricing.response.panel import PricePanel
from training.pricing.empirical_bayes import shrink_slopes

POOLED = "pooled"
CATEGORY = "category"
OWN = "own OLS"
OWN_CHANGES = "own OLS of changes"
EMPIRICAL_BAYES = "empirical Bayes"
WITH_PROMOTIONS = "empirical Bayes with promotions"
_JOINT_STEPS = 4  # slopes and effects of promotions, in turn
_RIDGE_WEEKS = 5.0  # weight of the prior that promotions of a category have no effect


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


@dataclass(frozen=True)
class CalendarBaseline:
    """Slopes (S,), and what each kind of promotion adds to log units at full reach (K, S)."""

    slopes: Float64Array
    lifts: Float64Array


@dataclass(frozen=True)
class Baselines:
    """Slopes (S,) by baseline, and the baseline that knows the promotions."""

    slopes: dict[str, Float64Array]
    calendar: CalendarBaseline

    @classmethod
    def fit(cls, panel: PricePanel) -> Baselines:
        """Fit all baselines on the weeks of a panel."""
        return cls(fit_baseline_slopes(panel), fit_calendar_baseline(panel))


def fit_calendar_baseline(panel: PricePanel) -> CalendarBaseline:
    """Return empirical-Bayes slopes with the effects of promotions by category.

    In turn: effects of the kinds by least squares over a category's weeks, given the slopes; and
    slopes of what the effects leave, shrunk towards the category's mean.
    """
    sold, category = panel.sold, codes(panel.category, 2)
    price, units = _centre(panel.log_price, sold), _centre(_log_units(panel), sold)
    reach = np.zeros((0, *price.shape))
    if len(panel.reach):
        reach = np.stack([_centre(of_kind, sold) for of_kind in panel.reach])
    lifts = np.zeros((len(reach), len(category)))
    pooled = fit_baseline_slopes(panel)[POOLED][0]
    slopes = np.full(len(category), pooled)
    for _ in range(_JOINT_STEPS):
        remainder = units - slopes[:, None] * price
        lifts = _fit_lifts(reach, np.where(sold, remainder, 0.0), category)
        net_units = units - np.einsum("ks,ksw->sw", lifts, reach)
        own, variances = _fit_least_squares(price, np.where(sold, net_units, 0.0), sold, pooled)
        slopes, _ = shrink_slopes(own, variances, [category])
    return CalendarBaseline(slopes, lifts)


def _fit_lifts(reach: Float64Array, remainder: Float64Array, category: Int64Array) -> Float64Array:
    """Return effects (K, S) by category of reach (K, S, W) on the remainder (S, W)."""
    n_kinds, n = len(reach), int(category.max()) + 1
    grams, targets = np.zeros((n, n_kinds, n_kinds)), np.zeros((n, n_kinds))
    np.add.at(grams, category, np.einsum("ksw,jsw->skj", reach, reach, optimize=True))
    np.add.at(targets, category, np.einsum("ksw,sw->sk", reach, remainder, optimize=True))
    system = grams + _RIDGE_WEEKS * np.eye(n_kinds)
    effects = np.linalg.solve(system, targets[:, :, None])[:, :, 0]
    return np.asarray(effects[category].T)


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
