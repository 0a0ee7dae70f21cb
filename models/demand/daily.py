"""Daily forecasts of series that sell on most days: the weekly forecast, broken down by weekday.

A series' share of each weekday is drawn to its category's, that one to its zone's (Dirichlet
shrinkage). How strongly is what makes the last known weeks likeliest, given the weeks before: where
items have weekdays of their own, these count. Public holidays, the days before them and the first
days of a month have a factor of their own. The days of a week sum to its mean. Around each day's
mean lies a count distribution, fitted on the days of past origins. Reference: Minka (2000),
Estimating a Dirichlet distribution.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from features.contracts.arrays import Float64Array, Int8Array, Int64Array
from models.demand.uncertainty.backtest_calibration import NEAR
from models.demand.uncertainty.counts import Counts, fit_counts

WEEKDAYS = 7
# Kinds of day: one like any other, a public holiday, the day before one, and else one of the first
# of a month.
USUAL, HOLIDAY, EVE, MONTH_BEGINS = range(4)
_MEMORY = 26  # weeks that profiles are read from
_JUDGED = 4  # weeks that choose how strongly profiles are drawn together
# Units that a profile needs to count as much as that above.
_STRENGTHS = (30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0)
_USUAL_DAYS = 2.0  # usual days that a kind's factor is drawn to


@dataclass(frozen=True)
class DayConfig:
    """A series is dense, and forecast by day, that sold on `min_share_days` of the days of the last
    `weeks` weeks."""

    min_share_days: float = 0.5
    weeks: int = 8


@dataclass(frozen=True)
class DaySales:
    """What sold on each day: rows of series, day and units, days without a sale left out.

    series    place in the weekly panel, of `n_series`
    day       0 is the first day of the panel's first week
    kinds     Z × T × 7 kind of each day of the weeks known and to come, by zone
    zones     N, the place of each series' zone in `kinds`
    groups    N, the code of each series' category within its zone
    """

    n_series: int
    n_known: int
    series: Int64Array
    day: Int64Array
    units: Float64Array
    kinds: Int8Array
    zones: Int64Array
    groups: Int64Array

    def known_until(self, n_known: int) -> DaySales:
        """The sales as they stood after `n_known` weeks; the calendar stays."""
        seen = self.day < n_known * WEEKDAYS
        parts = (self.series[seen], self.day[seen], self.units[seen])
        return DaySales(self.n_series, n_known, *parts, self.kinds, self.zones, self.groups)

    def weeks(self, first: int, end: int) -> Float64Array:
        """N × 7 units by weekday, summed over the weeks from `first` to before `end`."""
        seen = (self.day >= first * WEEKDAYS) & (self.day < end * WEEKDAYS)
        place = self.series[seen] * WEEKDAYS + self.day[seen] % WEEKDAYS
        sums = np.bincount(place, weights=self.units[seen], minlength=self.n_series * WEEKDAYS)
        return np.asarray(sums.reshape(self.n_series, WEEKDAYS), np.float64)

    def of(self, series: Int64Array, first: int, end: int) -> Float64Array:
        """S × weeks × 7 units of some series, from week `first` to before `end`."""
        place = np.full(self.n_series, -1)
        place[series] = np.arange(len(series))
        seen = (
            (self.day >= first * WEEKDAYS) & (self.day < end * WEEKDAYS) & (place[self.series] >= 0)
        )
        result = np.zeros((len(series), (end - first) * WEEKDAYS))
        np.add.at(
            result, (place[self.series[seen]], self.day[seen] - first * WEEKDAYS), self.units[seen]
        )
        return result.reshape(len(series), end - first, WEEKDAYS)

    def dense(self, config: DayConfig) -> Int64Array:
        """Series that sold on enough of the last days."""
        n_weeks = min(config.weeks, self.n_known)
        seen = (self.day >= (self.n_known - n_weeks) * WEEKDAYS) & (self.units > 0)
        sold = np.bincount(self.series[seen], minlength=self.n_series)
        return np.flatnonzero(sold >= max(config.min_share_days * n_weeks * WEEKDAYS, 1))


@dataclass(frozen=True)
class DayProfiles:
    """Of each series the share of each weekday, N × 7, and of each zone a factor by kind of day, Z
    × kinds."""

    shares: Float64Array
    factors: Float64Array

    def shares_of(self, sales: DaySales, series: Int64Array, weeks: Int64Array) -> Float64Array:
        """S × weeks × 7: what share of its week each day gets; each week sums to 1."""
        zone = sales.zones[series]
        factor = self.factors[zone[:, None, None], sales.kinds[zone][:, weeks]]
        weight = self.shares[series][:, None] * factor
        return np.asarray(weight / weight.sum(axis=2, keepdims=True), np.float64)


@dataclass(frozen=True)
class DayCounts:
    """Distributions of a day's units around its mean, in near weeks and in those beyond."""

    near: Counts
    far: Counts

    def at(self, step: int) -> Counts:
        """The distribution `step` weeks ahead."""
        return self.near if step <= NEAR else self.far


def fit_profiles(sales: DaySales, dense: Int64Array) -> DayProfiles:
    """From the last known weeks. The strengths are those that suit the `dense` series best."""
    end = sales.n_known
    start, judged = max(end - _MEMORY, 0), max(end - _JUDGED, 1)
    factors = _factors(sales, start)
    chosen = _STRENGTHS[-1], _STRENGTHS[-1]
    if len(dense) and start < judged < end:
        before, after = sales.weeks(start, judged), sales.weeks(judged, end)[dense]
        chosen = max(
            product(_STRENGTHS, _STRENGTHS),
            key=lambda each: float((after * np.log(_shares(sales, before, *each)[dense])).sum()),
        )
    return DayProfiles(_shares(sales, sales.weeks(start, end), *chosen), factors)


def fit_day_counts(
    actual: Float64Array,
    means: Float64Array,
    steps: Int64Array,
    rng: np.random.Generator,
    *,
    enough: int = 1_000,
) -> DayCounts:
    """From R days of past origins, their means and how many weeks ahead they lay."""
    near = fit_counts(actual[steps <= NEAR], means[steps <= NEAR], rng)
    far = steps > NEAR
    return DayCounts(
        near, fit_counts(actual[far], means[far], rng) if far.sum() >= enough else near
    )


def _shares(sales: DaySales, units: Float64Array, category: float, series: float) -> Float64Array:
    """N × 7 shares of N × 7 units: each level drawn to the one above as if by so many more units
    sold like that."""
    n_zones, n_groups = int(sales.zones.max(initial=-1)) + 1, int(sales.groups.max(initial=-1)) + 1
    zone, group = np.zeros((n_zones, WEEKDAYS)), np.zeros((n_groups, WEEKDAYS))
    np.add.at(zone, sales.zones, units)
    np.add.at(group, sales.groups, units)
    above = np.zeros(n_groups, np.int64)
    above[sales.groups] = sales.zones
    whole = _drawn(zone, np.full((1, WEEKDAYS), 1 / WEEKDAYS), 1.0)
    return _drawn(units, _drawn(group, whole[above], category)[sales.groups], series)


def _drawn(units: Float64Array, towards: Float64Array, strength: float) -> Float64Array:
    return np.asarray(
        (units + strength * towards) / (units.sum(axis=1, keepdims=True) + strength), np.float64
    )


def _factors(sales: DaySales, start: int) -> Float64Array:
    """Z × kinds: what a zone sells on such a day over what it would, going by the usual days of the
    same week.

    Drawn to 1 as if by two more days that were like any other.
    """
    n_zones = len(sales.kinds)
    total = np.zeros((n_zones, sales.n_known * WEEKDAYS))
    np.add.at(total, (sales.zones[sales.series], sales.day), sales.units)
    total = total.reshape(n_zones, sales.n_known, WEEKDAYS)[:, start:]
    kinds = sales.kinds[:, start : sales.n_known]
    usual = kinds == USUAL
    weekday = np.where(usual, total, 0.0).sum(axis=1) / np.maximum(usual.sum(axis=1), 1)
    level = np.where(usual, total, 0.0).sum(axis=2) / np.maximum(
        (usual * weekday[:, None]).sum(axis=2), 1e-9
    )
    expected = level[:, :, None] * weekday[:, None]
    ratio = total / np.maximum(expected, 1e-9)
    factors = np.ones((n_zones, MONTH_BEGINS + 1))
    for kind in (HOLIDAY, EVE, MONTH_BEGINS):
        days = (kinds == kind) & (expected > 0)  # of a week without a usual day nothing is known
        factors[:, kind] = ((ratio * days).sum(axis=(1, 2)) + _USUAL_DAYS) / (
            days.sum(axis=(1, 2)) + _USUAL_DAYS
        )
    return factors
