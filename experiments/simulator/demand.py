"""The two forms of true demand: expected weekly units at any prices.

N items, W weeks or sets of prices. Log prices are logarithms of minor units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array


class Demand(Protocol):
    """Expected units before the demand of the moment (season, shocks) scales them."""

    @property
    def reference(self) -> Float64Array:
        """(N,) log prices at which the appeal of the items is defined."""
        ...

    @property
    def slopes(self) -> Float64Array:
        """(N,) of log units, or of the utility, on the logarithm of the item's regular price."""
        ...

    def units(self, log_prices: Float64Array, push: Float64Array) -> Float64Array:
        """Return units (N, W) at prices (N, W); `push` (N, W) is the log lift of promotions."""
        ...

    def elasticities(self, log_prices: Float64Array, push: Float64Array) -> Float64Array:
        """Return d ln units of the row's item / d ln price of the column's (N, N).

        At prices (N,) and log lifts (N,).
        """
        ...


@dataclass(frozen=True)
class LogLinear:
    """Log-linear demand: ln units = base + own × gap + sum over the family of cross × their gaps.

    The gap of an item is ln price - reference.

    base, own, reference   (N,)
    cross                  (N, N), 0 on the diagonal and between families

    >>> cross = np.array([[0.0, 0.5], [0.0, 0.0]])
    >>> two = LogLinear(np.log([8.0, 5.0]), np.array([-2.0, -1.0]), cross, np.zeros(2))

    8 / 2² × √4, and 5 / 4:

    >>> two.units(np.log([[2.0], [4.0]]), np.zeros((2, 1))).round(6).ravel().tolist()
    [4.0, 1.25]
    """

    base: Float64Array
    own: Float64Array
    cross: Float64Array
    reference: Float64Array

    @property
    def slopes(self) -> Float64Array:
        return self.own

    def units(self, log_prices: Float64Array, push: Float64Array) -> Float64Array:
        gap = log_prices - self.reference[:, None]
        return np.asarray(
            np.exp(self.base[:, None] + self.own[:, None] * gap + self.cross @ gap + push)
        )

    def elasticities(self, log_prices: Float64Array, push: Float64Array) -> Float64Array:
        return np.asarray(np.diag(self.own) + self.cross + 0 * (log_prices + push)[:, None])


@dataclass(frozen=True)
class Choice:
    """Choice demand: each of a family's shoppers buys the item of highest utility, or nothing.

    A multinomial logit (McFadden, Conditional logit analysis of qualitative choice behavior, 1974).
    Buying nothing has utility 0.

    appeal, slope, reference   (N,): utility = appeal + slope × (ln price - reference) + push
    family                     (N,) number of the item's family
    shoppers                   (F,) who come for each family in a week

    >>> two = Choice(np.zeros(2), np.full(2, -1.0), np.zeros(2), np.zeros(2, int), np.array([90.0]))

    Each of the two and nothing: a third:

    >>> two.units(np.zeros((2, 1)), np.zeros((2, 1))).ravel().tolist()
    [30.0, 30.0]

    1/2 : 1 : 1 of 90:

    >>> two.units(np.log([[2.0], [1.0]]), np.zeros((2, 1))).round(6).ravel().tolist()
    [18.0, 36.0]
    """

    appeal: Float64Array
    slope: Float64Array
    reference: Float64Array
    family: Int64Array
    shoppers: Float64Array

    @property
    def slopes(self) -> Float64Array:
        return self.slope

    def units(self, log_prices: Float64Array, push: Float64Array) -> Float64Array:
        utility = (
            self.appeal[:, None]
            + self.slope[:, None] * (log_prices - self.reference[:, None])
            + push
        )
        weight = np.exp(utility)
        total = np.ones((len(self.shoppers), weight.shape[1]))
        np.add.at(total, self.family, weight)
        return np.asarray(self.shoppers[self.family][:, None] * weight / total[self.family])

    def elasticities(self, log_prices: Float64Array, push: Float64Array) -> Float64Array:
        units = self.units(log_prices[:, None], push[:, None]).ravel()
        shares = units / self.shoppers[self.family]
        # d ln q_i / d ln p_j = slope_j × (1 if i is j, less the share of j, within a family)
        same_family = self.family[:, None] == self.family[None, :]
        own_less_share = np.eye(len(shares)) - same_family * shares[None, :]
        return np.asarray(self.slope[None, :] * own_less_share)
