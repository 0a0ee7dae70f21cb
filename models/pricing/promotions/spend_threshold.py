"""Spend x, save y (满减): who reaches the threshold, who spends more to reach it, what it costs.

Without the offer the spend of an order is lognormal. Under it an order that would spend s below the
threshold x spends x with probability exp(-(x - s) / (stretch * y)), y being what is saved:
`stretch` is the mean gap that is closed, as a multiple of the saving. This is the bunching at a
notch (Kleven and Waseem, Using Notches to Uncover Optimization Frictions, QJE 2013) with one
parameter.

F   values of `stretch`, one for each possible future
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from scipy.special import ndtr

from features.contracts.arrays import Float64Array, Int64Array

# Bins of spend, as multiples of the threshold; who spends more to reach it is in the bin above 1.
EDGES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.5, math.inf)
_ABOVE = EDGES.index(1.0)
_MAX_MULTIPLES = 60
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(48)
_LOG_STRETCH = np.linspace(math.log(0.01), math.log(20), 121)
_SHIFTS = np.linspace(-0.4, 0.4, 33)  # of the mean log spend during a campaign
_SHIFT_SD = 0.15


@dataclass(frozen=True)
class SpendOffer:
    """Whoever spends `threshold` saves `saving` (minor units); once for each multiple of it where
    it `repeats`."""

    threshold: float
    saving: float
    repeats: bool = False


@dataclass(frozen=True)
class Stretch:
    """How far orders stretch: its median, and the standard error of its log."""

    value: float
    log_error: float


# Where no past campaign is known: on average half of the saving is added, within a factor of 3.6
# in four of five cases.
PRIOR_STRETCH = Stretch(0.5, 1.0)


@dataclass(frozen=True)
class ThresholdOutcome:
    """Means per order under an offer (F,).

    qualifying   share of the orders that reach the threshold, of which `stretching` did because of
                 the offer
    added        spend that was added to reach it, minor units
    saved        what is given away, minor units
    """

    qualifying: Float64Array
    stretching: Float64Array
    added: Float64Array
    saved: Float64Array


@dataclass(frozen=True)
class SpendOrders:
    """The lognormal spend of orders, minor units: mean and standard deviation of its log."""

    log_mean: float
    log_sd: float

    @classmethod
    def from_mean(cls, mean: float, log_sd: float) -> Self:
        """Return the distribution with this mean."""
        return cls(math.log(mean) - log_sd**2 / 2, log_sd)

    @property
    def mean(self) -> float:
        """Mean spend."""
        return math.exp(self.log_mean + self.log_sd**2 / 2)

    def share_from(self, spend: Float64Array | float) -> Float64Array:
        """Return the share of orders that spend at least so much."""
        with np.errstate(divide="ignore"):
            return np.asarray(ndtr((self.log_mean - np.log(spend)) / self.log_sd))

    def compute_density(self, spend: Float64Array) -> Float64Array:
        """Return the density at each spend."""
        z = (np.log(spend) - self.log_mean) / self.log_sd
        scale = spend * self.log_sd * math.sqrt(2 * math.pi)
        return np.asarray(np.exp(-(z**2) / 2) / scale)

    def count_thresholds(self, offer: SpendOffer) -> float:
        """Return how often an order is given the saving on average, without stretching."""
        multiples = range(1, (_MAX_MULTIPLES if offer.repeats else 1) + 1)
        return sum(float(self.share_from(multiple * offer.threshold)) for multiple in multiples)

    def apply_offer(self, offer: SpendOffer, stretch: Float64Array) -> ThresholdOutcome:
        """Return what orders do under an offer, for each value of `stretch` (F,)."""
        first_gain, gains, added = np.zeros((3, len(stretch)))
        for multiple in range(1, (_MAX_MULTIPLES if offer.repeats else 1) + 1):
            low, high = (multiple - 1) * offer.threshold, multiple * offer.threshold
            if multiple > 1 and float(self.share_from(low)) < 1e-7:
                break
            moved, gap = self._stretch_between(low, high, stretch * offer.saving)
            first_gain = moved if multiple == 1 else first_gain
            gains, added = gains + moved, added + gap
        share = float(self.share_from(offer.threshold))
        return ThresholdOutcome(
            qualifying=share + first_gain,
            stretching=first_gain,
            added=added,
            saved=offer.saving * (self.count_thresholds(offer) + gains),
        )

    def share_of_bins(self, offer: SpendOffer, stretch: Float64Array) -> Float64Array:
        """Return the share of orders in each bin of EDGES (F, bins) under an offer, at its first
        threshold."""
        edges = np.array(EDGES[:-1]) * offer.threshold
        above = np.append(self.share_from(np.maximum(edges, 1e-9)), 0.0)
        shares = np.tile(-np.diff(above), (len(stretch), 1))
        for number in range(_ABOVE):
            moved, _ = self._stretch_between(
                edges[number], edges[number + 1], stretch * offer.saving, offer.threshold
            )
            shares[:, number] -= moved
            shares[:, _ABOVE] += moved
        return np.asarray(np.maximum(shares, 1e-12))

    def _stretch_between(
        self, low: float, high: float, reach: Float64Array, target: float | None = None
    ) -> tuple[Float64Array, Float64Array]:
        """Return the share of orders between two spends that stretch to `target`, and what they add
        on average over all orders (F,).

        `reach` (F,): the mean gap that is closed, minor units; `target` is `high` if not given.
        """
        target = high if target is None else target
        reach = np.maximum(reach, 1e-9)
        start = np.clip(target - 40 * reach, max(low, 1e-9), high)  # beyond, nobody stretches
        half = (high - start) / 2
        spend = start[:, None] + half[:, None] * (_NODES + 1)  # (F, nodes)
        gap = target - spend
        moved = self.compute_density(spend) * np.exp(-gap / reach[:, None])
        weights = _WEIGHTS * half[:, None]
        return (moved * weights).sum(1), (moved * gap * weights).sum(1)


@dataclass(frozen=True)
class PastOffer:
    """A past campaign: its offer, the spend of orders without it, and the number of orders in each
    bin of EDGES during it (bins,)."""

    offer: SpendOffer
    orders: SpendOrders
    counts: Int64Array


def learn_stretch(past: Sequence[PastOffer], prior: Stretch = PRIOR_STRETCH) -> Stretch:
    """Return how far orders stretch, from the bunching above the thresholds of past campaigns.

    The posterior on a grid of its log, with a normal prior there. A campaign may also attract
    orders that spend more or less: the mean of their log spend may shift (normal around 0), and is
    integrated out. Where the saving repeats, orders beyond one and a half thresholds are left out,
    since they may stretch to the next.
    """
    stretch = np.exp(_LOG_STRETCH)
    log_posterior = -(((_LOG_STRETCH - math.log(prior.value)) / prior.log_error) ** 2) / 2
    for campaign in past:
        n_bins = len(EDGES) - 1 - campaign.offer.repeats
        counts = campaign.counts[:n_bins]
        log_likelihood = np.full((len(_SHIFTS), len(stretch)), -np.inf)
        for number, shift in enumerate(_SHIFTS):
            orders = replace(campaign.orders, log_mean=campaign.orders.log_mean + shift)
            shares = orders.share_of_bins(campaign.offer, stretch)[:, :n_bins]
            log_shares = np.log(shares / shares.sum(1, keepdims=True))
            log_likelihood[number] = log_shares @ counts - (shift / _SHIFT_SD) ** 2 / 2
        log_posterior = log_posterior + np.logaddexp.reduce(log_likelihood, axis=0)
    weights = np.exp(log_posterior - log_posterior.max())
    weights /= weights.sum()
    mean = float(weights @ _LOG_STRETCH)
    return Stretch(math.exp(mean), math.sqrt(float(weights @ (_LOG_STRETCH - mean) ** 2)))
