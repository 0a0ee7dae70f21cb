"""The best prices for a known true demand, and the share of their gain that others reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from experiments.simulator.shop import SimulatedShop
from features.contracts.arrays import Int64Array

_ROUNDS = 50


def find_best_prices(shop: SimulatedShop, ladders: Sequence[Sequence[int]]) -> Int64Array:
    """Return the prices (N,) of highest true profit, from each item's ladder or its current price.

    Cross effects are included. One item after the other takes its best price, given the others',
    until none changes: within a family profit has one peak on ladders as narrow as pricing rules
    make them (a test compares with all combinations).
    """
    prices = shop.current_minor.copy()
    for _ in range(_ROUNDS):
        before = prices.copy()
        for item, ladder in enumerate(ladders):
            choices = np.array(sorted({*ladder, int(shop.current_minor[item])}), np.int64)
            price_sets = np.repeat(prices[:, None], len(choices), axis=1)
            price_sets[item] = choices
            prices[item] = choices[int(np.argmax(shop.predict_profit(price_sets)))]
        if (prices == before).all():
            break
    return prices


@dataclass(frozen=True)
class TrueProfits:
    """True expected profit at the current, the suggested and the best prices, minor units."""

    keeping: float
    suggested: float
    best: float

    @property
    def captured(self) -> float:
        """Share of the best prices' gain that the suggested ones reach; below 0 where they lose."""
        if self.best <= self.keeping:
            return 1.0
        return (self.suggested - self.keeping) / (self.best - self.keeping)


def compare_profits(
    shop: SimulatedShop, suggested_minor: npt.ArrayLike, best_minor: npt.ArrayLike
) -> TrueProfits:
    """Return the true profits at suggested prices (N,) and at the best ones (N,)."""
    price_sets = [shop.current_minor, np.asarray(suggested_minor), np.asarray(best_minor)]
    keeping, suggested, best = shop.predict_profit(np.stack(price_sets, axis=1)).tolist()
    return TrueProfits(keeping, suggested, best)
