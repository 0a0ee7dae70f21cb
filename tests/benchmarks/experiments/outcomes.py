"""Simulated outcomes of units, many experiments at once, as the sums that an analysis reads.

conversion      5 % of units buy
revenue         5 % buy, for a lognormal amount (log standard deviation 1): zeros and a heavy tail
click-through   clicks / impressions of a visitor; who sees more also clicks more often
known clicks    the same of visitors who like to click more or less; 30 % are new, the others have
                a past with the same taste and activity
spend           orders x the unit's own price; 30 % of units are new, the others have a past with
                the same price and taste
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Protocol

import numpy as np

from experiments.analysis.estimates import UnitMoments
from experiments.analysis.power import OutcomeKind
from experiments.analysis.sums import COLUMNS
from features.contracts.arrays import AnyArray, Float64Array, Int64Array

_DEFAULTS = {"base": 1.0, "prior_base": 1.0, "prior_value": 0.0, "is_new": 0.0}


@dataclass(frozen=True)
class Draws:
    """Sums of one variant in R experiments after each of L looks.

    n          units at each look. [L]
    totals     [R, L, columns]
    products   [R, L, columns, columns]
    """

    n: Int64Array
    totals: Float64Array
    products: Float64Array

    def __add__(self, other: Draws) -> Draws:
        return Draws(self.n + other.n, self.totals + other.totals, self.products + other.products)

    def compute_moments(self) -> UnitMoments:
        """Return means and covariances of the columns. [R, L, ...]"""
        n = self.n[:, None]
        means = self.totals / n
        outer = self.totals[..., :, None] * means[..., None, :]
        return UnitMoments(means, (self.products - outer) / (n[..., None] - 1))


class UnitOutcome(Protocol):
    """A simulated metric."""

    @property
    def name(self) -> str:
        """Name in the tables."""
        ...

    @property
    def kind(self) -> OutcomeKind:
        """How its variance follows an effect."""
        ...

    def compute_truth(self, effect: float) -> float:
        """Return the true mean or ratio with a relative effect."""
        ...

    def draw(self, rng: np.random.Generator, shape: tuple[int, int, int], effect: float) -> Draws:
        """Return the sums of shape = experiments R, looks L, units between looks."""
        ...


def sum_columns(columns: dict[str, AnyArray]) -> Draws:
    """Return the running sums of columns of units [R, L, units]."""
    n_experiments, n_looks, n_units = columns["value"].shape
    n = n_units * np.arange(1, n_looks + 1)
    totals = {name: column.sum(axis=-1).cumsum(axis=-1) for name, column in columns.items()}
    products = {
        (left, right): np.einsum("rlu,rlu->rl", columns[left], columns[right]).cumsum(axis=-1)
        for left, right in combinations_with_replacement(columns, 2)
    }
    return fill_constants(n, totals, products, (n_experiments, n_looks))


def fill_constants(
    n: Int64Array,
    totals: dict[str, AnyArray],
    products: dict[tuple[str, str], AnyArray],
    shape: tuple[int, int],
) -> Draws:
    """Return sums with the constant columns added, as `experiments.analysis.sums` has them."""
    all_totals = np.zeros((*shape, len(COLUMNS)))
    all_products = np.zeros((*shape, len(COLUMNS), len(COLUMNS)))
    for row, name in enumerate(COLUMNS):
        all_totals[..., row] = totals.get(name, n * _DEFAULTS.get(name, 0.0))
    for row, left in enumerate(COLUMNS):
        for column, right in enumerate(COLUMNS):
            known = products.get((left, right), products.get((right, left)))
            if known is None and left in totals:
                known = _DEFAULTS[right] * all_totals[..., row]
            elif known is None:
                known = _DEFAULTS[left] * all_totals[..., column]
            all_products[..., row, column] = known
    return Draws(n, all_totals, all_products)


@dataclass(frozen=True)
class Conversion:
    """Whether a unit buys; an effect moves the rate."""

    name: str = "conversion"
    kind: OutcomeKind = "proportion"
    rate: float = 0.05

    def compute_truth(self, effect: float) -> float:
        return self.rate * (1 + effect)

    def draw(self, rng: np.random.Generator, shape: tuple[int, int, int], effect: float) -> Draws:
        buyers = rng.binomial(shape[2], self.compute_truth(effect), shape[:2]).cumsum(axis=-1)
        n = shape[2] * np.arange(1, shape[1] + 1)
        return fill_constants(n, {"value": buyers}, {("value", "value"): buyers}, shape[:2])


@dataclass(frozen=True)
class Revenue:
    """Amount of a unit's purchase; an effect scales the amounts."""

    name: str = "revenue"
    kind: OutcomeKind = "amount"
    rate: float = 0.05
    log_mean: float = 3.0
    log_sd: float = 1.0

    def compute_truth(self, effect: float) -> float:
        return self.rate * math.exp(self.log_mean + self.log_sd**2 / 2) * (1 + effect)

    def compute_variance(self) -> float:
        """Return the variance of a unit without an effect."""
        squares = self.rate * math.exp(2 * self.log_mean + 2 * self.log_sd**2)
        return squares - self.compute_truth(0.0) ** 2

    def draw(self, rng: np.random.Generator, shape: tuple[int, int, int], effect: float) -> Draws:
        buyers = rng.binomial(shape[2], self.rate, shape[:2])  # [R, L]
        log_amounts = rng.normal(self.log_mean, self.log_sd, int(buyers.sum()))
        amounts = np.exp(log_amounts) * (1 + effect)
        ends = buyers.cumsum()
        sums = []
        for values in (amounts, amounts**2):
            running = np.concatenate([[0.0], values.cumsum()])[ends].reshape(shape[:2])
            before = np.concatenate([[0.0], running[:-1, -1]])
            sums.append(running - before[:, None])
        n = shape[2] * np.arange(1, shape[1] + 1)
        return fill_constants(n, {"value": sums[0]}, {("value", "value"): sums[1]}, shape[:2])


@dataclass(frozen=True)
class ClickThrough:
    """Clicks by impressions; an effect scales the rate of clicks."""

    name: str = "click-through"
    kind: OutcomeKind = "count"
    activity: float = 2.0  # scale of a gamma distribution of shape 2
    base_rate: float = 0.03
    rate_by_activity: float = 0.01
    taste_variance: float = 0.0  # of a factor of the rate of clicks, gamma with mean 1
    share_new: float | None = None  # None: the past is not used

    def compute_truth(self, effect: float) -> float:
        mean, square = 2 * self.activity, 6 * self.activity**2
        clicks = self.base_rate * (1 + mean) + self.rate_by_activity * (mean + square)
        return (1 + effect) * clicks / (1 + mean)

    def draw(self, rng: np.random.Generator, shape: tuple[int, int, int], effect: float) -> Draws:
        activity = rng.gamma(2.0, self.activity, shape)
        rate = self.base_rate + self.rate_by_activity * activity
        if self.taste_variance:
            rate *= rng.gamma(1 / self.taste_variance, self.taste_variance, shape)
        clicks, impressions = self._draw_clicks(rng, activity, rate * (1 + effect))
        columns = {"value": clicks, "base": impressions}
        if self.share_new is not None:
            is_new = (rng.random(shape) < self.share_new).astype(float)
            prior_clicks, prior_impressions = self._draw_clicks(rng, activity, rate)
            columns |= {
                "prior_value": prior_clicks * (1 - is_new),
                "prior_base": prior_impressions * (1 - is_new),
                "is_new": is_new,
            }
        return sum_columns(columns)

    @staticmethod
    def _draw_clicks(
        rng: np.random.Generator, activity: Float64Array, rate: Float64Array
    ) -> tuple[Float64Array, Float64Array]:
        impressions = 1 + rng.poisson(activity)
        clicks = rng.binomial(impressions, np.minimum(rate, 1.0))
        return clicks.astype(float), impressions.astype(float)


KNOWN_CLICKS = ClickThrough("known clicks", taste_variance=0.5, share_new=0.3)


@dataclass(frozen=True)
class Spend:
    """Orders times a price of the unit's own; an effect scales the orders."""

    name: str = "spend"
    kind: OutcomeKind = "amount"
    orders: float = 2.0  # mean of an exponential distribution of orders expected of a unit
    log_sd: float = 0.5
    share_new: float = 0.3

    def compute_truth(self, effect: float) -> float:
        return self.orders * math.exp(self.log_sd**2 / 2) * (1 + effect)

    def compute_correlation(self) -> float:
        """Return the correlation of outcome and past of units that have a past."""
        squared_price = math.exp(2 * self.log_sd**2)
        shared = squared_price * 2 * self.orders**2 - self.compute_truth(0.0) ** 2
        return shared / (shared + squared_price * self.orders)

    def draw(self, rng: np.random.Generator, shape: tuple[int, int, int], effect: float) -> Draws:
        taste = self.orders * rng.standard_exponential(shape)
        price = np.exp(self.log_sd * rng.standard_normal(shape))
        is_new = (rng.random(shape) < self.share_new).astype(float)
        value = rng.poisson(taste * (1 + effect)) * price
        prior_value = rng.poisson(taste) * price * (1 - is_new)
        columns = {"value": value, "prior_value": prior_value}
        return sum_columns(columns | ({"is_new": is_new} if self.share_new else {}))
