"""Randomised evidence: slopes that price tests measured, beside those learnt from past prices.

A past price moved for reasons, and part of what its slope is wrong by is common to a category or to
the whole shop. A price that a test drew moved for no reason, so its slope has only its own error.
Both are joined by their precision, as normal variables with the errors they have in common: a test
of some items also corrects the items that nobody tested (Gelman et al., Bayesian data analysis,
2013, chapter 15).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array, ObjectArray
from models.pricing.response.panel import PricePanel

_LEAST_OWN_SHARE = 0.02  # of a variance, which is not common to other series


@dataclass(frozen=True)
class MeasuredSlopes:
    """What price tests measured, one row per test of an item (T,).

    slope, error           d ln units / d ln price of the item alone, and its standard error
    first_week, end_week   the weeks of the test, columns of the panel; `end_week` is the one after
    """

    item_ids: ObjectArray
    zones: ObjectArray
    slope: Float64Array
    error: Float64Array
    first_week: Int64Array
    end_week: Int64Array


@dataclass(frozen=True)
class UncertainSlopes:
    """Slopes of S series, and what their errors have in common.

    mean, variance               (S,)
    shop_error, category_error   (S,) parts of the standard error: common to all series, and the
                                 further one common to the series of a category
    category                     (S,) codes
    """

    mean: Float64Array
    variance: Float64Array
    shop_error: Float64Array
    category_error: Float64Array
    category: Int64Array

    def compute_covariance(self, rows: Int64Array, columns: Int64Array) -> Float64Array:
        """Return the covariances (R, C) of the errors of some series with those of others."""
        scale = self._limit_common_part()
        of_shop, of_category = self.shop_error * scale, self.category_error * scale
        same_category = self.category[rows][:, None] == self.category[columns][None, :]
        covariance = np.outer(of_shop[rows], of_shop[columns])
        covariance = covariance + same_category * np.outer(of_category[rows], of_category[columns])
        same = rows[:, None] == columns[None, :]
        return np.where(same, self.variance[rows][:, None], covariance)

    def _limit_common_part(self) -> Float64Array:
        common = self.shop_error**2 + self.category_error**2
        most = (1 - _LEAST_OWN_SHARE) * self.variance
        return np.sqrt(np.minimum(1.0, most / np.maximum(common, 1e-12)))


def add_measured_slopes(
    prior: UncertainSlopes, series: Int64Array, slope: Float64Array, error: Float64Array
) -> UncertainSlopes:
    """Return the slopes given those measured with independent errors at some `series` (T,).

    Two equally sure values of one series, -1 and -3, with variance 1 each: -2 with half of it.

    >>> prior = UncertainSlopes(*(np.array([v]) for v in (-1.0, 1.0, 0.0, 0.0)), np.array([0]))
    >>> after = add_measured_slopes(prior, np.array([0]), np.array([-3.0]), np.array([1.0]))
    >>> after.mean.tolist(), after.variance.tolist()
    ([-2.0], [0.5])
    """
    if not len(series):
        return prior
    every = np.arange(len(prior.mean))
    with_measured = prior.compute_covariance(every, series)
    total = with_measured[series] + np.diag(error**2)
    gain = np.linalg.solve(total, with_measured.T).T
    mean = prior.mean + gain @ (slope - prior.mean[series])
    variance = prior.variance - (gain * with_measured).sum(1)
    return replace(
        prior,
        mean=mean,
        variance=np.maximum(variance, 1e-9),
        shop_error=_reduce(prior.shop_error, np.zeros_like(prior.category), series, total),
        category_error=_reduce(prior.category_error, prior.category, series, total),
    )


def _reduce(
    loading: Float64Array, group: Int64Array, series: Int64Array, total: Float64Array
) -> Float64Array:
    """Return what is left of an error (S,) that the series of a group have in common."""
    n_groups = int(group.max()) + 1
    measured = np.zeros((len(series), n_groups))
    measured[np.arange(len(series)), group[series]] = loading[series]
    explained = (measured * np.linalg.solve(total, measured)).sum(0)
    return np.asarray(loading * np.sqrt(np.clip(1 - explained, 0.0, 1.0))[group])


def hide_test_weeks(panel: PricePanel, tested: MeasuredSlopes) -> PricePanel:
    """Return the panel without the prices of tested items in the weeks of their tests.

    So no sale counts twice: as a past one, and as one of the test.
    """
    hidden = np.zeros(panel.units.shape, bool)
    row_of = _index_series(panel)
    for test, key in enumerate(zip(tested.item_ids, tested.zones, strict=True)):
        if key in row_of:
            hidden[row_of[key], tested.first_week[test] : tested.end_week[test]] = True
    return replace(panel, log_price=np.where(hidden, np.nan, panel.log_price))


def select_measured(
    panel: PricePanel, tested: MeasuredSlopes
) -> tuple[Int64Array, Float64Array, Float64Array]:
    """Return series (T,) of the panel, slopes and errors of the tests whose item it holds."""
    row_of = _index_series(panel)
    keys = list(zip(tested.item_ids, tested.zones, strict=True))
    known = np.array([key in row_of for key in keys], bool)
    series = np.array([row_of[key] for key in keys if key in row_of], np.int64)
    return series, tested.slope[known], tested.error[known]


def _index_series(panel: PricePanel) -> dict[tuple[str, str], int]:
    keys = zip(panel.item_ids.tolist(), panel.zones.tolist(), strict=True)
    return {key: row for row, key in enumerate(keys)}
