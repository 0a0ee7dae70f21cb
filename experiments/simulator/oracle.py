"""The best prices that anyone could set who knew demand: the measure of a suggestion's worth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from experiments.simulator.world import SimulatedShop
from features.contracts.arrays import Int64Array

_ROUNDS = 50


def best_prices(shop: SimulatedShop, ladders: Sequence[Sequence[int]]) -> Int64Array:
    """(N,) prices of highest true profit, each from its item's ladder or kept; what neighbours gain
    is counted.

    One item after the other takes its best price, given the others', until none moves: within a
    family profit has one peak on ladders as narrow as pricing rules make them (a test compares with
    all combinations).
    """
    prices = shop.current_minor.copy()
    for _ in range(_ROUNDS):
        before = prices.copy()
        for item, ladder in enumerate(ladders):
            choices = np.array(sorted({*ladder, int(shop.current_minor[item])}), np.int64)
            sets = np.repeat(prices[:, None], len(choices), axis=1)
            sets[item] = choices
            prices[item] = choices[int(np.argmax(shop.profit_at(sets)))]
        if (prices == before).all():
            break
    return prices


def captured(
    shop: SimulatedShop, prices_minor: npt.ArrayLike, ladders: Sequence[Sequence[int]]
) -> float:
    """Share of the oracle's gain in true profit that `prices_minor` (N,) reaches; below 0 where
    they lose."""
    sets = np.stack(
        [shop.current_minor, np.asarray(prices_minor), best_prices(shop, ladders)], axis=1
    )
    kept, ours, best = shop.profit_at(sets).tolist()
    return float((ours - kept) / (best - kept)) if best > kept else 1.0
